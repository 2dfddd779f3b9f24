"""Text for people: at most 80 columns wide, and without anything that a terminal would take for a command."""

from __future__ import annotations

import textwrap
from typing import TextIO

WIDTH = 80


def wrapped(text: str) -> str:
    """The text with no line wider than a terminal; only a long path or number is not broken."""
    return "\n".join(map(_wrapped, text.split("\n")))


def write_line(stream: TextIO, text: str) -> None:
    """Write and flush a line; characters that the stream's encoding does not have become question marks."""
    encoding = stream.encoding or "ascii"
    stream.write((text + "\n").encode(encoding, "replace").decode(encoding))
    stream.flush()


def shorten(text: str, width: int = WIDTH - 1) -> str:
    """The text in one line of at most this width, without unprintable characters."""
    plain = "".join(character if character.isprintable() else " " for character in text).rstrip()
    return plain if len(plain) <= width else plain[: width - 1] + "…"


def _wrapped(line: str) -> str:
    if len(line) <= WIDTH:
        return line
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    lines = textwrap.wrap(line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines) or line
