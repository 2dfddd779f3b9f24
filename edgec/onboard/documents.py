"""Reading the document that tells a board's program about its artefact: values, paths and tensors in JSON that is not trusted.

Everything here raises `ValueError` for a value that is not of the expected form.
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
    """An input or output. `shape` [N, …] is that of a batch; `role` is `features`, or what kind of output of a head it is.
    `classes` is their number, for labels if it is known."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    role: str = FEATURES
    classes: int = 0

    @property
    def size(self) -> int:
        """The number of values in a batch."""
        return math.prod(self.shape)


def text(value: Any) -> str:
    """A string."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} should be a text")
    return value


def matching(pattern: Pattern[str], value: Any) -> str:
    """A string that the pattern matches as a whole."""
    if not pattern.fullmatch(text(value)):
        raise ValueError(f"{value!r} is not of the expected form")
    return str(value)


def number(value: Any, least: float, most: float = math.inf) -> float:
    """A finite number from `least` to `most`."""
    if type(value) not in (int, float) or not math.isfinite(value) or not least <= value <= most:
        above = "" if most == math.inf else f" and at most {most:g}"
        raise ValueError(f"{value!r} should be a number of at least {least:g}{above}")
    return float(value)


def integer(value: Any, least: int = 0) -> int:
    """An integer of at least `least`."""
    if type(value) is not int or value < least:
        raise ValueError(f"{value!r} should be a whole number of at least {least}")
    return value


def items(value: Any) -> list[Any]:
    """A list with at least one element."""
    if not isinstance(value, list) or not value:
        raise ValueError(f"{value!r} should be a list that is not empty")
    return value


def mapping(value: Any) -> dict[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} should be an object")
    return value


def shape(value: Any) -> tuple[int, ...]:
    """A tensor's shape: extents of at least 1."""
    return tuple(integer(extent, 1) for extent in items(value))


def inside(root: Path, path: Any) -> str:
    """A relative path of a file under the root, which leads out neither by its parts nor through a link."""
    plain = PurePosixPath(text(path))
    proper = str(plain) == path and plain.parts and not plain.is_absolute() and ".." not in plain.parts
    if not proper or not path.isprintable() or "\\" in path:
        raise ValueError(f"{path!r} is not a path inside the artefact")
    real, base = os.path.realpath(str(root / path)), os.path.realpath(str(root))
    if os.path.commonpath([real, base]) != base:
        raise ValueError(f"{path!r} leads out of the artefact")
    return str(plain)


def outputs(entries: Any, heads: Any) -> tuple[Tensor, ...]:
    """The outputs of a model. `heads` are as in reports: they name the classes of labels."""
    classes = {name: len(head["classes"]) for head in heads for name in head["outputs"]}
    tensors = tuple(_output(entry, classes) for entry in items(entries))
    features = {tensor.name for tensor in tensors if tensor.role == FEATURES}
    if features and {"cls", "patches"} - features:
        raise ValueError("the outputs must include cls and patches, or be those of heads only")
    return tensors


def budget(document: Mapping[str, Any]) -> dict[str, float]:
    """A document's `budget` for heads, by the names that `tasks.shortfalls` uses; empty if an older edgec wrote it."""
    bounds = mapping(document.get("budget", {}))
    names = {
        "min_agreement": "min_agreement",
        "min_iou": "min_iou",
        "max_depth_error": "max_depth_error",
        "min_fidelity": "min_cosine",
    }
    return {key: number(bounds[name], 0) for name, key in names.items() if bounds.get(name) is not None}


def _output(entry: Mapping[str, Any], classes: Mapping[str, int]) -> Tensor:
    name, dtype, role = text(entry["name"]), text(entry.get("dtype", "float32")), text(entry.get("role", FEATURES))
    extents = shape(entry["shape"])
    known = role == FEATURES or role in PARTS
    if not known or len(extents) != _RANKS.get(role, len(extents)) or dtype not in _TYPES.get(role, ("float32",)):
        raise ValueError(f"{name}, {dtype} {extents}, cannot be {role!r}")
    return Tensor(name, dtype, extents, role, classes.get(name, 0) if role == LABELS else 0)
