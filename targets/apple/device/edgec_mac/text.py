"""Text for people, at most 80 columns wide, and without what a terminal could take for a command."""

from __future__ import annotations

import sys
import textwrap

WIDTH = 80


def say(text: str = "") -> None:
    """On the standard output, at once."""
    encoding = sys.stdout.encoding or "ascii"
    sys.stdout.write("\n".join(map(_wrapped, text.split("\n"))).encode(encoding, "replace").decode(encoding) + "\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """On the standard error."""
    sys.stdout.flush()
    encoding = sys.stderr.encoding or "ascii"
    sys.stderr.write("\n".join(map(_wrapped, text.split("\n"))).encode(encoding, "replace").decode(encoding) + "\n")
    sys.stderr.flush()


def printable(text: str) -> str:
    """Text from a file or from another program, on one line."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in " ".join(text.split()))


def shorten(text: str, width: int = WIDTH) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _wrapped(line: str) -> str:
    if len(line) <= WIDTH:
        return line
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return "\n".join(textwrap.wrap(line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False))
