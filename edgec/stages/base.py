"""What the stages of a build have in common: where they are kept, by which key, and what passes from one to the next."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgec import cache as cached
from edgec.cache import Cache
from edgec.errors import EdgecError
from edgec.fidelity.reference import Reference
from edgec.frames import Frame
from edgec.graph.plan import PrecisionPlan
from edgec.lowering.base import LoweredModel
from edgec.model.spec import Size
from edgec.precision.recipes import Recipe
from edgec.progress import Progress
from edgec.records.fidelity import HeadFacts
from edgec.records.manifest import CheckpointFacts
from edgec.records.report import ModelFacts
from edgec.request import Resolved, code_digest
from edgec.untrusted import Refused, parse_json, read_bytes

if TYPE_CHECKING:
    import onnx

    from edgec.graph.statistics import Statistics

_LIMIT_BYTES = 64 << 20


@dataclass(frozen=True)
class Hub:
    """The hub graph's file, heads included, and what was learnt of the checkpoint on the way. A graph has one size: `others` are
    those of the further sizes that the artefact takes frames in. The graph always gives the features, which the export is judged
    by: `given`; `outputs` are those that the artefact shall give."""

    path: Path
    size: Size
    facts: CheckpointFacts
    model: ModelFacts
    given: tuple[str, ...]
    outputs: tuple[str, ...]
    licence: str
    notice: str
    heads: tuple[HeadFacts, ...] = ()
    others: tuple[Hub, ...] = ()

    @property
    def all(self) -> tuple[Hub, ...]:
        """One a size, the default's first."""
        return (self, *self.others)

    def load(self) -> onnx.ModelProto:
        from edgec.graph.files import load

        return load(self.path)

    def load_shipped(self) -> onnx.ModelProto:
        """With the artefact's outputs alone, and what they need."""
        from edgec.heads.attach import only

        return only(self.load(), self.outputs)


@dataclass(frozen=True)
class Lowered:
    """A candidate's files, or the problem that prevented them."""

    name: str
    runtime: str
    precision: str
    plan: PrecisionPlan | None
    recipe: Recipe | None
    model: LoweredModel | None
    problem: str = ""


@dataclass(frozen=True)
class Calibration:
    """What one pass over the calibration frames gave, and the key that it is kept under; empty if nothing is int8."""

    statistics: Mapping[str, Statistics]
    key: str = ""
    peaks: Mapping[str, float] = field(default_factory=dict)
    """By tensor, the largest absolute value, for targets where fp16 could overflow."""


class Stage:
    def __init__(self, resolved: Resolved, cache: Cache, progress: Progress) -> None:
        self.resolved, self.cache, self.progress = resolved, cache, progress
        self._base = (resolved.identity.key, resolved.identity.name, resolved.tools, code_digest())
        self._asked = (resolved.request.registers, resolved.request.layers, resolved.heads, resolved.request.features)

    @property
    def _batch(self) -> int:
        return self.resolved.request.batch

    def _batches(self, references: Sequence[Reference]) -> int:
        return sum(-(-len(reference.frames) // self._batch) for reference in references)

    def _key(self, *parts: Any) -> str:
        """Over the checkpoint, what is asked of it and the tools, whatever else a stage depends on: a hub graph stands for its
        size."""
        return cached.key(self._base, self._asked, self._batch, [_plain(part) for part in parts])

    def _at(self, size: Size) -> str:
        """The size, where there are several to tell apart: an ending for names."""
        return f" at {size}" if self.resolved.request.more_sizes else ""


def _plain(part: Any) -> Any:
    if isinstance(part, Hub):
        return part.path.parent.parent.name
    if isinstance(part, Reference):
        return frames_key(part)
    if isinstance(part, tuple):
        return [_plain(each) for each in part]
    return part


def frames_key(reference: Reference) -> str:
    return hashlib.sha256(reference.frames.tobytes()).hexdigest()


def identities(frames: Sequence[Frame]) -> list[list[str]]:
    return [[frame.name, frame.digest, frame.crop or ""] for frame in frames]


def dump(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True), encoding="utf-8")


def load(path: Path) -> Any:
    """Raises `EdgecError` for what no stage writes: the cache checks that a file is as it was written, not who wrote it."""
    try:
        return parse_json(read_bytes(path, _LIMIT_BYTES))
    except (Refused, FileNotFoundError) as error:
        raise EdgecError(
            "A cached result cannot be used.",
            evidence=f"{path}: it {error}",
            remedy="delete the cache, or set EDGEC_CACHE_DIR to another",
        ) from error
