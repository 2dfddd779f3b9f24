"""What Python runs when it is started with the archive."""

from edgec_device.cli import main
from edgec_device.jetson import Jetson

raise SystemExit(main(Jetson()))
