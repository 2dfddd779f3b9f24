"""A training file's tree of dictionaries, divided into tensors by name and statements, which are everything else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from edgec.checkpoint.containers.objects import NAME_LIMIT, Array, Fields, Name
from edgec.checkpoint.containers.tensors import Extent, StoredTensor
from edgec.untrusted import Refused

MOST_TENSORS = 100_000
_DEPTH = 64
_VISITS = 1_000_000
_LONGEST_LIST = 4096
_LONGEST_TEXT = 1 << 20
_LARGEST = 2**63


_NOTHING = object()
"""Stands for what is not a statement."""


@dataclass
class Tree:
    """`tensors` by name: the keys that lead to them, joined by dots. `statements` is a plain tree of dict, list, str, int of 64
    bits, float, bool and None. Not in it: lists of more than 4096 items (histories), texts of more than a megabyte, bytes, and
    larger numbers.
    """

    tensors: dict[str, StoredTensor] = field(default_factory=dict)
    statements: dict[str, Any] = field(default_factory=dict)
    _left: int = _VISITS
    _path: set[int] = field(default_factory=set)
    """The ids of the containers that are being visited: a pickle may hold itself, and is entered once."""

    @classmethod
    def of(cls, value: dict[str, Any]) -> Tree:
        """The tree of a dictionary. Raises `Refused` if it holds too much, or two tensors of one name."""
        tree = cls()
        tree._path.add(id(value))
        statements = tree._dictionary(value, "", 0)
        tree.statements = statements if isinstance(statements, dict) else {}
        return tree

    def _visit(self, value: Any, prefix: str | None, depth: int) -> Any:
        """The statement that `value` is, or `_NOTHING`. `prefix` is the name that a tensor here would have."""
        self._left -= 1
        if self._left < 0:
            raise Refused("holds more values than any checkpoint")
        if depth > _DEPTH:
            raise Refused("is nested too deeply")
        if isinstance(value, Array):
            value = value.value
        if isinstance(value, StoredTensor):
            self._add(value, prefix)
        elif isinstance(value, (dict, list, tuple)):
            if id(value) in self._path:
                return _NOTHING
            self._path.add(id(value))
            inner = self._dictionary(value, prefix, depth) if isinstance(value, dict) else self._list(value, prefix, depth)
            self._path.discard(id(value))
            return inner
        elif isinstance(value, Name):
            return value.full
        elif _is_plain(value):
            return value
        return _NOTHING

    def _add(self, tensor: StoredTensor, prefix: str | None) -> None:
        if prefix is None:
            return
        if len(prefix) > NAME_LIMIT:
            raise Refused(f"has a tensor whose name has {len(prefix):,} characters")
        if self.tensors.setdefault(prefix, tensor) != tensor:
            raise Refused(f"has two tensors named {prefix!a}")
        if len(self.tensors) > MOST_TENSORS:
            raise Refused(f"holds more tensors than any checkpoint: over {MOST_TENSORS:,}")

    def _dictionary(self, value: dict[str, Any], prefix: str | None, depth: int) -> Any:
        if isinstance(value, Fields):  # OmegaConf's objects keep their values one level further down
            for wrapped in ("_content", "_val"):
                if wrapped in value and "_metadata" in value:
                    return self._visit(value[wrapped], prefix, depth + 1)
        statements = {}
        for key, item in value.items():
            name = None if prefix is None else f"{prefix[: NAME_LIMIT + 1]}{'.' if prefix else ''}{key[: NAME_LIMIT + 1]}"
            statement = self._visit(item, name, depth + 1)
            if statement is not _NOTHING and len(key) <= NAME_LIMIT:
                statements[key] = statement
        return statements if statements or not value else _NOTHING

    def _list(self, value: list[Any] | tuple[Any, ...], prefix: str | None, depth: int) -> Any:
        tensors = any(isinstance(item, (StoredTensor, dict, list, tuple)) for item in value)
        if len(value) > _LONGEST_LIST and not tensors:
            return _NOTHING
        start = None if prefix is None else f"{prefix}." if prefix else ""
        items = [self._visit(item, None if start is None else f"{start}{index}", depth + 1) for index, item in enumerate(value)]
        if len(value) > _LONGEST_LIST:
            return _NOTHING
        if value and all(item is _NOTHING for item in items):
            return _NOTHING
        return [None if item is _NOTHING else item for item in items]


@dataclass(frozen=True)
class Container:
    """What a file describes. `extents` are the places of the storages in the file, by their keys."""

    tree: Tree
    extents: dict[str, Extent]


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= _LONGEST_TEXT
    return value is None or isinstance(value, (bool, float)) or (isinstance(value, int) and -_LARGEST <= value < _LARGEST)
