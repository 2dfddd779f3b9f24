"""What people see, at once."""

from __future__ import annotations

import sys
from typing import TextIO

from edgec_onboard.text import wrapped


def say(text: str = "") -> None:
    """On the standard output."""
    _write(sys.stdout, text)


def complain(text: str) -> None:
    """On the standard error."""
    sys.stdout.flush()
    _write(sys.stderr, text)


def _write(stream: TextIO, text: str) -> None:
    encoding = stream.encoding or "ascii"
    stream.write((wrapped(text) + "\n").encode(encoding, "replace").decode(encoding))
    stream.flush()
