"""What Python runs when it is started with the archive. It must parse on any Python 3, to say which one it needs."""

import sys

if sys.version_info < (3, 10):  # noqa: UP036 - a machine's own python3 may be older than what NVIDIA's packages need
    print("error: this is Python %d.%d; edgec-rtx.pyz needs 3.10 or newer" % sys.version_info[:2], file=sys.stderr)  # noqa: UP031
    raise SystemExit(5)

if sys.argv[1:2] == ["--runner"]:
    from edgec_rtx.runner import main as run

    raise SystemExit(run(sys.argv[2]))

from edgec_device.cli import main
from edgec_rtx.machine import Rtx

raise SystemExit(main(Rtx()))
