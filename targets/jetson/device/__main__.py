"""What Python runs when it is given the archive."""

from edgec_device.cli import main

raise SystemExit(main())
