"""Every family's program for its devices as a folder, for type checkers: `python -m edgec.backends.unpack FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from edgec.backends.registry import all_backends

if __name__ == "__main__":
    for family, backend in all_backends().items():
        if backend.program is not None:
            backend.program.unpack(Path(sys.argv[1]) / family)
