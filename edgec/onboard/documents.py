"""What an artefact says to a board's program, checked before anything is believed: values of a JSON document, paths, tensors.

What is not of the expected form is a `ValueError`.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from re import Pattern
from typing import Any, NamedTuple

from .tasks import FEATURES, LABELS, PARTS

_RANKS = {"scores": 2, LABELS: 3, "logits": 4, "depth": 3}
_TYPES = {LABELS: ("int32",), "values": ("float32", "int32")}
SHA256 = re.compile(r"[0-9a-f]{64}")


class Tensor(NamedTuple):
    """`shape` [N, …] is of a batch; `role` is what an output is: features of the backbone, or what a head gives. `classes` is how
    many there are, where an output of labels tells."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    role: str = FEATURES
    classes: int = 0

    @property
    def size(self) -> int:
        return math.prod(self.shape)


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} should be a text")
    return value


def matching(pattern: Pattern[str], value: Any) -> str:
    if not pattern.fullmatch(text(value)):
        raise ValueError(f"{value!r} is not of the expected form")
    return str(value)


def number(value: Any, least: float, most: float = math.inf) -> float:
    """Neither NaN nor infinite."""
    if type(value) not in (int, float) or not math.isfinite(value) or not least <= value <= most:
        above = "" if most == math.inf else f" and at most {most:g}"
        raise ValueError(f"{value!r} should be a number of at least {least:g}{above}")
    return float(value)


def whole(value: Any, least: int = 0) -> int:
    if type(value) is not int or value < least:
        raise ValueError(f"{value!r} should be a whole number of at least {least}")
    return value


def some(value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{value!r} should be a list that is not empty")
    return value


def table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} should be an object")
    return value


def shape(value: Any) -> tuple[int, ...]:
    return tuple(whole(extent, 1) for extent in some(value))


def inside(root: Path, path: Any) -> str:
    """A relative path that names one file under the root, by its parts and through no link."""
    plain = PurePosixPath(text(path))
    proper = str(plain) == path and plain.parts and not plain.is_absolute() and ".." not in plain.parts
    if not proper or not path.isprintable() or "\\" in path:
        raise ValueError(f"{path!r} is no path inside the artefact")
    real, base = os.path.realpath(str(root / path)), os.path.realpath(str(root))
    if os.path.commonpath([real, base]) != base:
        raise ValueError(f"{path!r} leads out of the artefact")
    return str(plain)


def outputs(entries: Any, heads: Any) -> tuple[Tensor, ...]:
    """Those of a model. `heads` are as reports have them: they name the classes of labels."""
    classes = {name: len(head["classes"]) for head in heads for name in head["outputs"]}
    found = tuple(_output(entry, classes) for entry in some(entries))
    features = {each.name for each in found if each.role == FEATURES}
    if features and {"cls", "patches"} - features:
        raise ValueError("cls and patches must be among the outputs, or heads' outputs alone")
    return found


def budget(said: Mapping[str, Any]) -> dict[str, float]:
    """What the user asks of heads, in `tasks.shortfalls`' words, from a document's `budget`; nothing in one of an older edgec."""
    given = table(said.get("budget", {}))
    names = {
        "min_agreement": "min_agreement",
        "min_iou": "min_iou",
        "max_depth_error": "max_depth_error",
        "min_fidelity": "min_cosine",
    }
    return {told: number(given[name], 0) for name, told in names.items() if given.get(name) is not None}


def _output(entry: Mapping[str, Any], classes: Mapping[str, int]) -> Tensor:
    name, dtype, role = text(entry["name"]), text(entry.get("dtype", "float32")), text(entry.get("role", FEATURES))
    extents = shape(entry["shape"])
    sound = role == FEATURES or role in PARTS
    if not sound or len(extents) != _RANKS.get(role, len(extents)) or dtype not in _TYPES.get(role, ("float32",)):
        raise ValueError(f"{name}, {dtype} {extents}, cannot be {role!r}")
    return Tensor(name, dtype, extents, role, classes.get(name, 0) if role == LABELS else 0)
