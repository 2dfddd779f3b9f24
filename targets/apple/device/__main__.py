"""What Python runs when it is started with the archive. It must parse on any Python 3, to say which one it needs."""

import sys

if sys.version_info < (3, 10):  # noqa: UP036 - macOS' own python3 is older than what edgec requires
    print("error: this is Python %d.%d; edgec-mac.pyz needs 3.10 or newer" % sys.version_info[:2], file=sys.stderr)  # noqa: UP031
    raise SystemExit(5)

if sys.argv[1:] == ["--worker"]:
    from edgec_mac.worker import main
else:
    from edgec_mac.cli import main

raise SystemExit(main())
