"""Text for findings and errors. Names in files may hold anything: they are shown on one line, escaped, and cut."""

from __future__ import annotations

import json
from collections.abc import Iterable

LISTED = 8


def shown(value: object, limit: int = 240) -> str:
    """`value` on one line of at most `limit` characters, everything unprintable escaped: a name must not steer a terminal."""
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(value))
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def listed(names: Iterable[str]) -> str:
    """The first eight names and how many more there are."""
    every = list(names)
    more = f" and {len(every) - LISTED} more" if len(every) > LISTED else ""
    return ", ".join(shown(name, 80) for name in every[:LISTED]) + more


def cut(facts: list[str], most: int = LISTED) -> list[str]:
    """The first `most` facts, and a line that says how many more there are."""
    return facts if len(facts) <= most else [*facts[:most], f"and {len(facts) - most} more"]


def counted(count: int, noun: str) -> str:
    """`1 tensor`, `1,200 tensors`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def dimensions(shape: Iterable[int]) -> str:
    """`384x3x16x16`; a single number is `scalar`."""
    return "x".join(map(str, shape)) or "scalar"


def toml(value: object) -> str:
    """A string, a number, a truth value or a list of these as TOML has it: basic strings are JSON's, but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
