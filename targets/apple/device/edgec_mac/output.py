"""What people see; every line appears at once."""

from __future__ import annotations

import sys

from edgec_onboard.text import wrapped, write_line


def print_line(text: str = "") -> None:
    """Print text to the standard output."""
    write_line(sys.stdout, wrapped(text))


def print_error(text: str) -> None:
    """Print text to the standard error."""
    sys.stdout.flush()
    write_line(sys.stderr, wrapped(text))
