"""The one door to facts about the machine: files of /proc, /sys, /etc and /var, and commands that describe it.

Tests set the environment variable EDGEC_FACTS_ROOT to a folder with a tree like the board's; then every fact, and every command,
comes from there. Nothing that is measured like that is ever called `measured on target` (`evidence.py`).
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

VARIABLE = "EDGEC_FACTS_ROOT"
_PLACES = ("usr/local/sbin", "usr/sbin", "sbin", "usr/local/bin", "usr/bin", "bin")
_COMMAND_TIMEOUT_S = 10


class System:
    """Facts under `root`, which is `/` unless a test says otherwise."""

    def __init__(self, root: str = "/") -> None:
        self.root = Path(root)

    @classmethod
    def from_environment(cls) -> System:
        return cls(os.environ.get(VARIABLE) or "/")

    @property
    def real(self) -> bool:
        return os.path.realpath(str(self.root)) == "/"

    def path(self, absolute: str) -> Path:
        return self.root / absolute.lstrip("/")

    def text(self, absolute: str) -> str | None:
        """Of a file, without surrounding white space and NULs; None if it cannot be read."""
        return read(self.path(absolute))

    def glob(self, pattern: str) -> list[Path]:
        """Paths that match, sorted. Links are not resolved."""
        return sorted(self.root.glob(pattern.lstrip("/")))

    def run(self, name: str, *arguments: str) -> str | None:
        """What the command prints; None if it is missing, fails, or takes too long."""
        for place in _PLACES:
            program = self.root / place / name
            if os.access(str(program), os.X_OK):
                break
        else:
            return None
        try:
            done = subprocess.run(
                [str(program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_COMMAND_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else None


def read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", "replace").strip("\0 \t\r\n")
    except OSError:
        return None


def number(path: Path) -> float | None:
    """The number in a file of /sys; sensors that are switched off give an error or nothing."""
    text = read(path)
    try:
        return float(text.split()[0]) if text else None
    except ValueError:
        return None
