"""What Python runs when it is started with the archive."""

from edgec_device.cli import main
from edgec_jetson.machine import Jetson

raise SystemExit(main(Jetson()))
