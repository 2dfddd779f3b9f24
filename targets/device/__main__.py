"""What Python runs when the steps are started without a family's program: what is active here, on whatever machine this is."""

from edgec_device.overview import main

raise SystemExit(main())
