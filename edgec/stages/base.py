"""What the stages of a build have in common: where and under which key their results are cached, and what one passes to the
next."""

from __future__ import annotations

import inspect
import json
import time
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
from edgec.pace import Pace
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
    """The hub graph's file, heads included, and what was learnt about the checkpoint. A graph has one size: `others` are the hubs
    of the further sizes that the artefact takes. `graph_outputs` are all outputs of the graph, always with the features, by which
    the export is judged; `outputs` are those that the artefact shall have."""

    path: Path
    size: Size
    facts: CheckpointFacts
    model: ModelFacts
    graph_outputs: tuple[str, ...]
    outputs: tuple[str, ...]
    licence: str
    notice: str
    heads: tuple[HeadFacts, ...] = ()
    others: tuple[Hub, ...] = ()

    @property
    def all(self) -> tuple[Hub, ...]:
        """One for each size, the default's first."""
        return (self, *self.others)

    def load(self) -> ir.Model:
        """The graph with all of its outputs."""
        from edgec.graph.files import load

        return load(self.path)

    def load_shipped(self) -> ir.Model:
        """The graph with the artefact's outputs only, and what these need."""
        from edgec.graph.passes.outputs import GiveOnly

        return GiveOnly(self.outputs)(self.load()).model


@dataclass(frozen=True)
class Calibration:
    """What one pass over the calibration frames measured, and the key that it is cached under; empty if nothing is int8."""

    statistics: Mapping[str, Statistics]
    key: str = ""
    peaks: Mapping[str, float] = field(default_factory=dict)
    """The largest absolute value of each tensor, by name, for targets where fp16 could overflow."""


@dataclass(frozen=True)
class Build:
    """One build: what was requested, where results are cached, and who shows progress."""

    resolved: Resolved
    cache: Cache
    progress: Progress

    @cached_property
    def pace(self) -> Pace:
        """How fast this machine did such stages before."""
        return Pace(self.cache.root)

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """Read only once, and only if a stage that needs the weights runs."""
        request = self.resolved.request
        return checkpoints.read(request.checkpoint, seed=request.seed, weights=request.weights, config=request.config)

    @cached_property
    def heads(self) -> tuple[Head, ...]:
        """As `checkpoint`, for the heads. Raises `HeadError`."""
        return read_heads(self.resolved.request.heads)

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that the user requested and those that heads read."""
        return tuple(sorted({*self.resolved.request.layers, *layers_needed(self.heads)}))

    @property
    def batch(self) -> int:
        """Frames per run of the model."""
        return self.resolved.request.batch

    def circumstances(self, hub: Hub) -> Circumstances:
        """For the backend's assessment of candidates, and its choice."""
        resolved, request = self.resolved, self.resolved.request
        return Circumstances(
            profiles=resolved.profiles,
            host=resolved.host,
            threads=resolved.threads,
            iterations=request.iterations,
            seed=request.seed,
            batch=request.batch,
            budget=resolved.budget,
            model=hub.model,
            size=str(request.size),
        )

    def batches(self, references: Sequence[Reference]) -> int:
        """How many runs of the model all frames of these references take."""
        return sum(-(-len(reference.frames) // self.batch) for reference in references)

    def at(self, size: Size) -> str:
        """An ending for names that tells sizes apart; empty if the artefact has only one."""
        return f" at {size}" if self.resolved.request.more_sizes else ""

    def key(self, *parts: Any) -> str:
        """A cache key over the checkpoint, the outputs that are requested of it, and `parts`: whatever else a stage depends
        on."""
        resolved, request = self.resolved, self.resolved.request
        outputs = request.registers, request.layers, resolved.heads, request.features, request.batch
        return cached.key(resolved.identity.key, resolved.identity.name, outputs, [_key_part(part) for part in parts])

    def stage(self, name: str, key: str, produce: Callable[[Path], None], *, modules: Sequence[str], gflop: float = 0.0) -> Path:
        """The directory that `produce` filled, now or earlier, from what `key` stands for. `modules` are those that compute it:
        if their code, data or packages have changed since, it is filled again. `gflop` is the model's work in it, by which its
        pace is recorded."""

        def timed(directory: Path) -> None:
            began = time.monotonic()
            produce(directory)
            self.pace.record(name, gflop, time.monotonic() - began)

        return self.cache.stage(name, cached.key(key, inspect.getsource(produce), fingerprint(modules)), timed)


def _key_part(part: Any) -> Any:
    """Earlier results as the keys that they are cached under; anything else as it is."""
    if isinstance(part, Hub):
        return part.path.parent.parent.name
    if isinstance(part, Reference):
        return [part.key, part.outputs]
    if isinstance(part, tuple):
        return [_key_part(element) for element in part]
    return part


def key_of(directory: Path) -> str:
    """The key that a directory from `Build.stage` is cached under."""
    return directory.parent.name


def identities(frames: Sequence[Frame]) -> list[list[str]]:
    """What identifies each frame in a key: name, hash of its content, crop."""
    return [[frame.name, frame.digest, frame.crop or ""] for frame in frames]


def dump(path: Path, value: Any) -> None:
    """Write a stage's result as JSON, the same bytes for the same value."""
    path.write_text(json.dumps(value, indent=1, sort_keys=True), encoding="utf-8")


def load(path: Path) -> Any:
    """What `dump` wrote. Raises `EdgecError` for anything else: the cache checks that a file is unchanged, not who wrote it."""
    try:
        return parse_json(read_bytes(path, _LIMIT_BYTES))
    except (Refused, FileNotFoundError) as error:
        raise EdgecError(
            "A cached result cannot be used.",
            evidence=f"{path}: it {error}",
            remedy="delete the cache, or set EDGEC_CACHE_DIR to another",
        ) from error
