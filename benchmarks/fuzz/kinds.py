"""What every kind of input gives, and the list of them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Protocol, cast

NAMES = ("checkpoints", "heads", "manifests", "reports", "events", "toml", "frames", "onnx")


@dataclass(frozen=True)
class Limits:
    """What one input may take of the machine."""

    seconds: float = 20.0
    peak_bytes: int = 4_000_000_000


@dataclass(frozen=True)
class Try:
    """One input, written and ready. `attempt` returns an exit code as the command line does, or raises what edgec raises;
    `check` is asked where that was among `accepting`, and returns what is wrong with what was accepted, or nothing."""

    what: str
    attempt: Callable[[], int]
    check: Callable[[], str] = lambda: ""
    accepting: tuple[int, ...] = (0,)


class Kind(Protocol):
    """A module of this package."""

    def prepare(self, corpus: Path) -> None:
        """Write good files, the same each time, which `draw` makes bad ones of. Runs once, in a process of its own."""

    def draw(self, random: Random, corpus: Path, place: Path) -> Try:
        """Make one input in the empty folder `place`, which is also the working directory."""


def kind(name: str) -> Kind:
    """The module of that name."""
    return cast(Kind, importlib.import_module(f"benchmarks.fuzz.{name}"))


def command(*arguments: str | Path) -> Callable[[], int]:
    """`edgec …`, in this process."""

    def run() -> int:
        from edgec import cli

        return cli.run([str(argument) for argument in arguments])

    return run
