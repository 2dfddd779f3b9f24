"""What Python runs when it is started with the archive."""

from edgec_device.cli import main

raise SystemExit(main())
