"""C programs' own view of the network and the clock, put before the system's: libraries for LD_PRELOAD."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def compiled(name: str, folder: Path) -> Path | None:
    """The library of `NAME.c`, made in `folder`; None where there is no compiler, or no LD_PRELOAD."""
    made = folder / f"{name}.so"
    if not sys.platform.startswith("linux"):
        return None
    try:
        subprocess.run(["cc", "-shared", "-fPIC", "-o", made, HERE / f"{name}.c", "-ldl"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return made
