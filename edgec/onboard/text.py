"""Text for people: at most 80 columns wide, and without what a terminal could take for a command."""

from __future__ import annotations

import textwrap

WIDTH = 80


def wrapped(text: str) -> str:
    """No line wider than a terminal, but where a path or a number is."""
    return "\n".join(map(_wrapped, text.split("\n")))


def shorten(text: str, width: int = WIDTH - 1) -> str:
    """The text in one line of at most this width, with nothing in it that is not printed."""
    plain = "".join(character if character.isprintable() else " " for character in text).rstrip()
    return plain if len(plain) <= width else plain[: width - 1] + "…"


def _wrapped(line: str) -> str:
    if len(line) <= WIDTH:
        return line
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    lines = textwrap.wrap(line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines) or line
