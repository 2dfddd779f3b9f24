"""What Python runs when it is started with the archive."""

import sys

if sys.argv[1:2] == ["--runner"]:
    from edgec_cpu.runner import main as run

    raise SystemExit(run(sys.argv[2], sys.argv[3:]))

from edgec_cpu.machine import Cpu
from edgec_device.cli import main

raise SystemExit(main(Cpu()))
