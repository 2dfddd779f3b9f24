"""What Python runs when it is started with the archive. Without a command it does everything."""

import sys

if sys.argv[1:2] == ["--runner"]:
    from edgec_mac.runner import main as run

    raise SystemExit(run(sys.argv[2], sys.argv[3:]))

from edgec_device.cli import main
from edgec_mac.machine import Mac

raise SystemExit(main(Mac(), sys.argv[1:] or ["run-all"]))
