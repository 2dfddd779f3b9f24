"""What the stages of a build have in common: where their results are kept, by which key, and what passes from one to the next."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgec import cache as cached
from edgec import checkpoint as checkpoints
from edgec.backends.base import Circumstances
from edgec.cache import Cache
from edgec.dependencies import fingerprint
from edgec.errors import EdgecError
from edgec.fidelity.reference import Reference
from edgec.frames import Frame
from edgec.heads import layers_needed, read_heads
from edgec.model.spec import Size
from edgec.progress import Progress
from edgec.records.fidelity import HeadFacts
from edgec.records.manifest import CheckpointFacts
from edgec.records.report import ModelFacts
from edgec.request import Resolved
from edgec.untrusted import Refused, parse_json, read_bytes

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgec.checkpoint import Checkpoint
    from edgec.graph.statistics import Statistics
    from edgec.heads import Head

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

    def load(self) -> ir.Model:
        from edgec.graph.files import load

        return load(self.path)

    def load_shipped(self) -> ir.Model:
        """With the artefact's outputs alone, and what they need."""
        from edgec.graph.passes.outputs import GiveOnly

        return GiveOnly(self.outputs)(self.load()).model


@dataclass(frozen=True)
class Calibration:
    """What one pass over the calibration frames gave, and the key that it is kept under; empty if nothing is int8."""

    statistics: Mapping[str, Statistics]
    key: str = ""
    peaks: Mapping[str, float] = field(default_factory=dict)
    """By tensor, the largest absolute value, for targets where fp16 could overflow."""


@dataclass(frozen=True)
class Build:
    """One build: what was asked, where results are kept, and who is told."""

    resolved: Resolved
    cache: Cache
    progress: Progress

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """Read once, and only if a stage that needs the weights runs."""
        request = self.resolved.request
        return checkpoints.read(request.checkpoint, seed=request.seed, weights=request.weights, config=request.config)

    @cached_property
    def heads(self) -> tuple[Head, ...]:
        return read_heads(self.resolved.request.heads)

    @property
    def layers(self) -> tuple[int, ...]:
        """Those that were asked for and those that heads read."""
        return tuple(sorted({*self.resolved.request.layers, *layers_needed(self.heads)}))

    @property
    def batch(self) -> int:
        return self.resolved.request.batch

    @property
    def circumstances(self) -> Circumstances:
        resolved, request = self.resolved, self.resolved.request
        return Circumstances(
            resolved.profiles, resolved.host, resolved.threads, request.iterations, request.seed, request.batch, resolved.budget
        )

    def batches(self, references: Sequence[Reference]) -> int:
        return sum(-(-len(reference.frames) // self.batch) for reference in references)

    def at(self, size: Size) -> str:
        """The size, where there are several to tell apart: an ending for names."""
        return f" at {size}" if self.resolved.request.more_sizes else ""

    def key(self, *parts: Any) -> str:
        """Over the checkpoint, what is asked of it, and whatever else a stage depends on: a hub graph stands for its size."""
        resolved, request = self.resolved, self.resolved.request
        asked = request.registers, request.layers, resolved.heads, request.features, request.batch
        return cached.key(resolved.identity.key, resolved.identity.name, asked, [_plain(part) for part in parts])

    def stage(self, name: str, key: str, produce: Callable[[Path], None], *, by: Sequence[str]) -> Path:
        """The directory that `produce` filled, now or once before, from what `key` stands for. `by` are the modules that compute
        it: with other code, data or packages than then it is made again."""
        return self.cache.stage(name, cached.key(key, inspect.getsource(produce), fingerprint(by)), produce)


def _plain(part: Any) -> Any:
    if isinstance(part, Hub):
        return part.path.parent.parent.name
    if isinstance(part, Reference):
        return [part.key, part.outputs]
    if isinstance(part, tuple):
        return [_plain(each) for each in part]
    return part


def key_of(directory: Path) -> str:
    """Under which a result that `Build.stage` returned is kept."""
    return directory.parent.name


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
