"""Some of many, spread over all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

Item = TypeVar("Item")


def evenly(items: Sequence[Item], most: int) -> list[Item]:
    """At most `most` of the items, spread evenly, the first among them."""
    count = min(len(items), most)
    return [items[step * len(items) // count] for step in range(count)]


def middles(items: Sequence[Item], count: int) -> list[Item]:
    """The items in the middle of `count` equal stretches."""
    return [items[(2 * step + 1) * len(items) // (2 * count)] for step in range(count)]


def drawn(items: Sequence[Item], most: int, seed: str) -> list[Item]:
    """At most `most` of the items: one drawn from each of `most` equal stretches, so that all of the range is covered."""
    if len(items) <= most:
        return list(items)
    edges = [len(items) * step // most for step in range(most + 1)]
    return [items[start + _number(f"{seed}:{start}") % (end - start)] for start, end in pairwise(edges)]


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
