"""What the linter says: one kind of record, whoever finds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning", "note"]
_NAMED = 5


@dataclass(frozen=True)
class LintFinding:
    """`check` is the kind of finding, for scripts. An `error` makes a build fail, or its figures wrong."""

    level: Level
    check: str
    text: str
    frames: tuple[str, ...] = ()


def some(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
