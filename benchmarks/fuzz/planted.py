"""No input of strangers: a kind that does what no input may, one way a seed. It shows that each would be noticed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from benchmarks.fuzz.kinds import Try


def prepare(corpus: Path) -> None:
    """A corpus that says only that it was made."""
    (corpus / "ready").touch()


def draw(random: Random, corpus: Path, place: Path) -> Try:
    """The fault whose number is the seed."""
    assert (corpus / "ready").exists()
    number = int(place.parent.name.split("-")[1])
    _, attempt, check = WAYS[number]
    return Try(f"way {number}", attempt, check)


def _nothing() -> str:
    return ""


def _breaks() -> int:
    empty: list[int] = []
    return empty[1]


def _takes() -> int:
    held = bytearray(1_000_000_000)
    for place in range(0, len(held), 4096):
        held[place] = 1
    return 0


def _says(text: str) -> int:
    sys.stdout.write(text)
    return 0


def _sleeps() -> int:
    time.sleep(60)
    return 0


def _aborts() -> int:
    os.abort()


def _divides() -> str:
    return str(1 // 0)


WAYS: tuple[tuple[str, Callable[[], int], Callable[[], str]], ...] = (
    ("exit 70", _breaks, _nothing),
    ("exit 70", lambda: 70, _nothing),
    ("exit 70", lambda: 77, _nothing),
    ("died", _aborts, _nothing),
    ("wrong", lambda: 0, lambda: "it is another file"),
    ("wrong", lambda: 0, _divides),
    ("wrong", lambda: _says("\x1b[2J"), _nothing),
    ("over 4 GB", _takes, _nothing),
    ("over 20 s", _sleeps, _nothing),
    ("accepted", lambda: _says("fine\n"), _nothing),
    ("refused", lambda: 3, lambda: "what was refused is not looked at"),
)
"""What each must be called, what it does, and what is found wrong with it afterwards."""
