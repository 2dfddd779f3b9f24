"""What a pickle is read as: plain values, names and descriptions of tensors. None of these objects can run anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgec.checkpoint.containers.tensors import StoredTensor
from edgec.text import shown
from edgec.untrusted import Refused

NAME_LIMIT = 512
"""Characters of a tensor's name, with the keys of all dictionaries around it."""
DIMENSIONS = 16
_NESTED_KEYS = 3
_EXTENT = 2**48
"""More elements, or bytes, than any disk holds, and few enough for torch to count their bytes."""


class ForbiddenImport(Exception):
    """A pickle imports something that no checkpoint needs. The text is its full name."""


@dataclass(frozen=True)
class Name:
    """The name of what a pickle imported: a class, a function or a constant. The thing itself is not looked up."""

    full: str


@dataclass(frozen=True)
class Storage:
    """The bytes that tensors lie in, by the key that the file has for them. `count` is how many elements it claims."""

    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class Ignored:
    """Something that is neither a tensor nor a statement."""

    kind: str


class Fields(dict[str, Any]):
    """An object that is read as its attributes and items alone, such as an `argparse.Namespace`."""


class Array:
    """A NumPy array. Its value comes with its state."""

    def __init__(self) -> None:
        self.value: Any = Ignored("NumPy array")


def key_text(value: Any, depth: int = 0) -> str | None:
    """A dictionary's key as text; None if it cannot be a name. Objects from the file are never hashed: hashing one that is nested
    without end would crash the process. Raises `Refused` for a key that is nested too deeply."""
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
    """Puts alternating keys and values into a dictionary. Raises `Refused` if it is none, or if a key is there already."""
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
    """A shape as a tuple; None if a dimension is negative, or it has more elements than any disk holds."""
    shape = wholes(value)
    product = 1
    for each in shape or ():
        product *= max(each, 1)
    return shape if product < _EXTENT else None


def wholes(value: Any) -> tuple[int, ...] | None:
    """At most 16 numbers as a tuple; None unless each is a whole number from 0 to 2**48 - 1."""
    if not isinstance(value, (tuple, list)) or len(value) > DIMENSIONS or not all(map(whole, value)):
        return None
    return tuple(value)


def whole(value: Any) -> bool:
    """Whether it is a whole number from 0 to 2**48 - 1 (and not a bool)."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _EXTENT


def kind_of(value: Any) -> str:
    """For a message: what the file holds instead of named tensors."""
    if isinstance(value, StoredTensor):
        return "tensor"
    return shown(value.kind if isinstance(value, Ignored) else type(value).__name__, 40)
