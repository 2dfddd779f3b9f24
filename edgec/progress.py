"""How the build tells what it is doing, without knowing who listens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Step(Protocol):
    """Called as a stage gets on: `done` units more, and what it is busy with."""

    def __call__(self, done: int = 1, doing: str = "") -> None: ...


class Progress(Protocol):
    def settings(self, rows: Sequence[tuple[str, str]]) -> None:
        """What was resolved from the request, before work starts."""

    def stage(self, title: str, total: int | None = None, *, alone: bool = False) -> AbstractContextManager[Step]:
        """Around each stage; `total` is its number of units where that is known. `alone`: it wants the machine to itself."""

    def note(self, text: str) -> None:
        """Something that the user should know and that stops nothing."""


class Silent:
    """For callers that only want the result."""

    def settings(self, rows: Sequence[tuple[str, str]]) -> None:
        return

    @contextmanager
    def stage(self, title: str, total: int | None = None, *, alone: bool = False) -> Iterator[Step]:
        yield lambda done=1, doing="": None

    def note(self, text: str) -> None:
        return
