"""How a build reports its progress, whoever displays it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Step(Protocol):
    """Called as a stage proceeds: `done` more units are finished, and `doing` names what it works on now."""

    def __call__(self, done: int = 1, doing: str = "") -> None: ...


class Progress(Protocol):
    """What a build calls while it works. An implementer shows it, or ignores it; nothing is returned to the build."""

    def settings(self, rows: Sequence[tuple[str, str]]) -> None:
        """Called once, before work starts, with what was resolved from the request: titles and values."""

    def stage(self, title: str, total: int | None = None, *, alone: bool = False) -> AbstractContextManager[Step]:
        """Entered around each stage. `total` is its number of units, if known. `alone`: the stage measures, and other work on the
        machine would disturb it."""

    def note(self, text: str) -> None:
        """Called with something that the user should know; the build continues."""


class Silent:
    """Shows nothing, for callers that only want the result."""

    def settings(self, rows: Sequence[tuple[str, str]]) -> None:
        """Ignored."""

    @contextmanager
    def stage(self, title: str, total: int | None = None, *, alone: bool = False) -> Iterator[Step]:
        """Its steps are ignored."""
        yield lambda done=1, doing="": None

    def note(self, text: str) -> None:
        """Ignored."""
