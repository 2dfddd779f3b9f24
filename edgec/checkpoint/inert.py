"""What a pickle is read as: plain values, names and descriptions of tensors. Nothing here does anything that a file could use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgec.checkpoint.stored import Described
from edgec.checkpoint.text import shown
from edgec.untrusted import Refused

NAME_LIMIT = 512
"""Characters of a tensor's name, all that it lies under included."""
DIMENSIONS = 16
_NESTED_KEYS = 3
_EXTENT = 2**48
"""More elements, or bytes, than any disk holds; and few enough for torch to count their bytes."""


class Foreign(Exception):
    """A pickle imports something that no checkpoint needs. The text is its full name."""


@dataclass(frozen=True)
class Name:
    """What a pickle imported: a class, a function or a constant. It is its name and nothing more."""

    full: str


@dataclass(frozen=True)
class Storage:
    """The bytes that tensors lie in, by the key that the file has for them. `count` elements are claimed."""

    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class Unsaid:
    """Something that is neither a tensor nor a statement."""

    kind: str


class Fields(dict[str, Any]):
    """An object of which nothing counts but its attributes and items, such as an `argparse.Namespace`."""


class Array:
    """A NumPy array. Its value comes with its state."""

    def __init__(self) -> None:
        self.value: Any = Unsaid("NumPy array")


def key_text(value: Any, depth: int = 0) -> str | None:
    """A dictionary's key as text; None for what is no name. What a file nests without end is never hashed: it would end the
    process."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, (bool, int, float)):
        return str(value)
    if isinstance(value, bytes) and len(value) <= NAME_LIMIT:
        return value.decode("utf-8", "replace")
    if isinstance(value, Name):
        return value.full
    if isinstance(value, tuple) and len(value) <= DIMENSIONS:
        if depth > _NESTED_KEYS:
            raise Refused("nests the key of a dictionary too deeply")
        parts = [key_text(each, depth + 1) for each in value]
        texts = [part for part in parts if part is not None and len(part) <= NAME_LIMIT]
        return f"({', '.join(texts)})" if len(texts) == len(parts) else None
    return None


def set_items(target: Any, items: Sequence[Any]) -> None:
    """Keys and values by turns, into a dictionary."""
    if not isinstance(target, dict):
        raise Refused(f"puts named items into a {kind_of(target)}")
    if len(items) % 2:
        raise Refused("has a key without a value")
    for key, value in zip(items[::2], items[1::2], strict=True):
        text = key_text(key)
        if text is None:
            text = f"<{kind_of(key)} {len(target)}>"
        if text in target and not isinstance(target, Fields):
            raise Refused(f"has {text[:80]!a} twice in one dictionary")
        target[text] = value


def extents_of(value: Any) -> tuple[int, ...] | None:
    """A shape: no dimension negative, and not more elements than any disk holds."""
    shape = wholes(value)
    product = 1
    for each in shape or ():
        product *= max(each, 1)
    return shape if product < _EXTENT else None


def wholes(value: Any) -> tuple[int, ...] | None:
    """A few numbers, each whole, not negative and below 2**48."""
    if not isinstance(value, (tuple, list)) or len(value) > DIMENSIONS or not all(map(whole, value)):
        return None
    return tuple(value)


def whole(value: Any) -> bool:
    """A number that counts something."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _EXTENT


def kind_of(value: Any) -> str:
    """For a message: what the file holds instead of named tensors."""
    if isinstance(value, Described):
        return "tensor"
    return shown(value.kind if isinstance(value, Unsaid) else type(value).__name__, 40)
