"""All facts about the machine come through here: files in /proc, /sys, /etc and /var, and commands that describe it.

Tests set the environment variable EDGEC_FACTS_ROOT to a folder with a tree like the board's; every fact, and every command, then
comes from there. Figures that are measured like that are never called `measured on target` (`evidence.py`).
"""

from __future__ import annotations

import math
import os
from pathlib import Path

from edgec_onboard.process import output_of
from edgec_onboard.untrusted import Refused, read_bytes

VARIABLE = "EDGEC_FACTS_ROOT"
_FOLDERS = ("usr/local/sbin", "usr/sbin", "sbin", "usr/local/bin", "usr/bin", "bin")
_COMMAND_TIMEOUT_S = 10.0
_MOST_OUTPUT = 1 << 20
_MOST_BYTES = 64 << 20
"""Of one file: dpkg's list of packages is the largest."""
_LARGEST = 1e15
"""No sensor or clock has larger values."""


class System:
    """Facts under `root`, which is `/` unless a test says otherwise."""

    def __init__(self, root: str = "/") -> None:
        self.root = Path(root)

    @classmethod
    def from_environment(cls) -> System:
        """The machine, or what the environment variable says."""
        return cls(os.environ.get(VARIABLE) or "/")

    @property
    def real(self) -> bool:
        """Whether the facts are this machine's."""
        return os.path.realpath(str(self.root)) == "/"

    def path(self, absolute: str) -> Path:
        """An absolute path, under `root`."""
        return self.root / absolute.lstrip("/")

    def text(self, absolute: str) -> str | None:
        """A file's text without surrounding white space and NULs; None if it cannot be read."""
        return read(self.path(absolute))

    def glob(self, pattern: str) -> list[Path]:
        """The matching paths, sorted. Links are not resolved."""
        return sorted(self.root.glob(pattern.lstrip("/")))

    def run(self, name: str, *arguments: str) -> str | None:
        """What the command prints; None if it is missing, fails, or takes too long."""
        program = next(
            (path for path in (self.root / folder / name for folder in _FOLDERS) if os.access(str(path), os.X_OK)), None
        )
        if program is None:
            return None
        return output_of([str(program), *arguments], seconds=_COMMAND_TIMEOUT_S, most_bytes=_MOST_OUTPUT)


def read(path: Path) -> str | None:
    """As `System.text`, for a path that is under the root already."""
    try:
        return read_bytes(path, _MOST_BYTES).decode("utf-8", "replace").strip("\0 \t\r\n")
    except (OSError, Refused):
        return None


def number(path: Path) -> float | None:
    """The number in a file of /sys; None for sensors that are switched off, which give an error or nothing."""
    words = (read(path) or "").split(None, 1)
    try:
        value = float(words[0]) if words else math.inf
    except ValueError:
        return None
    return value if abs(value) < _LARGEST else None
