"""Words for findings and errors. Names come out of files from outside: they are shown without control characters, and cut."""

from __future__ import annotations

from collections.abc import Iterable

LISTED = 8


def shown(value: object, limit: int = 240) -> str:
    """`value` on one line, with everything unprintable escaped: a tensor's name must not move the cursor."""
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(value))
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def listed(names: Iterable[str]) -> str:
    """The first eight names and how many more there are."""
    every = list(names)
    more = f" and {len(every) - LISTED} more" if len(every) > LISTED else ""
    return ", ".join(shown(name, 80) for name in every[:LISTED]) + more


def cut(facts: list[str]) -> list[str]:
    """The first eight facts and a line saying how many more there are."""
    return facts if len(facts) <= LISTED else [*facts[:LISTED], f"and {len(facts) - LISTED} more"]


def counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def dimensions(shape: Iterable[int]) -> str:
    """`384x3x16x16`; a single number is `scalar`."""
    return "x".join(map(str, shape)) or "scalar"
