"""What a runtime must offer: make files from the hub graph and a plan, and run those files.

Importing this module, or a lowering, imports no runtime: the SDK is imported on use, so that a missing one makes its targets
unavailable and harms no other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgec import extras
from edgec.errors import MissingPackage, RuntimeFailure, TargetError
from edgec.records.evidence import Evidence

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgec.graph.plan import PrecisionPlan

Frames = NDArray[np.uint8]
"""uint8 [N, H, W, 3], RGB."""
Features = dict[str, NDArray[Any]]
"""The outputs by name: labels int32, everything else float32."""


def output_type(computed: np.dtype[Any]) -> type[np.int32 | np.float32]:
    """The type in which a runner returns an output that its runtime computes in this one: int32 for integers and booleans, else
    float32."""
    return np.int32 if computed.kind in "iub" else np.float32


@dataclass(frozen=True)
class Availability:
    """Whether a runtime can be used in this environment; if not, `problem` says why."""

    available: bool
    version: str = ""
    problem: str = ""
    install: str = ""
    """The line that makes it available."""

    @classmethod
    def of(cls, package: str) -> Availability:
        """That of a Python package, which is imported."""
        try:
            sdk = extras.load(package)
        except MissingPackage as error:
            return cls(False, problem=error.evidence[0], install=error.remedy)
        return cls(True, version=sdk.__version__.split("-")[0])


@dataclass(frozen=True)
class LoweredModel:
    """The files of one candidate, relative to `directory`, and the settings that its runtime needs to run them."""

    runtime: str
    directory: Path
    entry: str
    """The file that the runtime opens."""
    files: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    """JSON-able; recorded in the manifest and given back to `load`."""

    @property
    def size_bytes(self) -> int:
        """Of all files together."""
        return sum((self.directory / name).stat().st_size for name in self.files)

    def to_json(self) -> dict[str, Any]:
        """JSON-able, for another process on this machine: the path is absolute."""
        return {**vars(self), "directory": str(self.directory.resolve()), "files": list(self.files)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> LoweredModel:
        """What `to_json` gave."""
        return cls(**{**values, "directory": Path(values["directory"]), "files": tuple(values["files"])})


def first_lines(error: Exception) -> list[str]:
    """The first three lines of a runtime's error, as evidence for an error of edgec's."""
    return str(error).strip().splitlines()[:3]


@contextmanager
def runtime_errors(what: str, *evidence: str) -> Iterator[None]:
    """Raises any error of the block as a `RuntimeFailure` that says `what` happened, except for a `TargetError`: a package that
    is missing is one."""
    try:
        with extras.named():
            yield
    except TargetError:
        raise
    except Exception as error:
        raise RuntimeFailure(what, evidence=[*evidence, *first_lines(error)]) from error


@dataclass(frozen=True)
class Label:
    """What a model's files say about it to people who have nothing else, where the format has room for that."""

    author: str
    licence: str
    version: str
    description: str
    input: str
    outputs: Mapping[str, str]
    """What each output is, by its name."""
    facts: Mapping[str, str]
    """Whatever else is worth knowing: keys, hashes."""


class Runner(ABC):
    """A loaded model. Calling it runs one batch."""

    execution_precision: str
    """What the runtime says that it computes in."""
    threads: int

    @abstractmethod
    def __call__(self, frames: Frames) -> Features:
        """The outputs for one batch, in arrays that later calls do not overwrite. Raises `RuntimeFailure` for frames of another
        type or shape."""


@dataclass(frozen=True)
class Step:
    """One step of a runtime's program that ran. `layers` are the words that the runtime, or the model's file, uses for what it
    does, in lower case, several for a fusion; `operations` are the names of these in the model's file."""

    name: str
    layers: tuple[str, ...]
    operations: tuple[str, ...]
    execution: str
    """What the runtime says that it ran in."""
    computes_in: str
    """`fp32`, `bf16`, `fp16` or `int8`; empty where that is not told."""
    mean_ms: float


class Profiler(ABC):
    """A loaded model whose runtime times its own steps."""

    source: str
    """Which of the runtime's facilities tells."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.runs = 0

    def __call__(self, frames: Frames) -> Features:
        """One batch through the runner; the run is counted."""
        self.runs += 1
        return self.runner(frames)

    @abstractmethod
    def begin(self) -> None:
        """Count the runs from here on."""

    @abstractmethod
    def end(self) -> tuple[Step, ...]:
        """The steps in the order in which they ran, over the runs that count; steps that did not run are left out. To be called
        once.

        Raises `RuntimeFailure` if the runtime's records cannot be read.
        """


def require_frames(frames: Frames, shape: tuple[int, ...]) -> None:
    """Raises `RuntimeFailure` unless `frames` are uint8 of this shape. Runtimes disagree about what else they accept: OpenVINO
    casts floats, and turns booleans into black pictures."""
    if isinstance(frames, np.ndarray) and frames.dtype == np.uint8 and frames.shape == shape:
        return
    actual = f"{frames.dtype} {list(frames.shape)}" if isinstance(frames, np.ndarray) else type(frames).__name__
    raise RuntimeFailure(
        "The model was given frames of another type or shape.",
        evidence=f"it takes uint8 {list(shape)}, [N, H, W, RGB]; given: {actual}",
        remedy="give frames of this shape, or build for the shape that the camera has",
    )


class Lowering(ABC):
    """A runtime: how a hub graph and a plan become its files, and how these are run. Its module imports without the runtime's
    SDK.

    `name` is that of the entry point, `title` the name for people.
    """

    name: str
    title: str
    precisions: tuple[str, ...]
    """What the runtime really executes, fast, on some CPU or other; the target's profile says on which."""
    elsewhere: tuple[str, ...] = ()
    """Further precisions, which it executes on some targets only, and not as this machine would: files are written here, and the
    target judges them (`edgec.backends.base.Backend.only_target_judges`)."""
    int8_kinds: tuple[str, ...]
    """The kinds of operation that are worth int8 here (`edgec.graph.operations.Kind`)."""
    evidence: Evidence = Evidence.HOST
    """Of what its runner computes here."""
    per_token: bool = False
    """Whether it can quantise the activations of products token by token as it runs."""

    @abstractmethod
    def availability(self) -> Availability:
        """Whether files can be written in this environment; may import the SDK, and nothing larger."""

    def runnable(self) -> Availability:
        """Whether written files can be run in this environment, for which some runtimes need less than for writing them."""
        return self.availability()

    @abstractmethod
    def lower(self, hub: ir.Model, plan: PrecisionPlan, directory: Path) -> LoweredModel:
        """Write the runtime's files into `directory`, which exists and is empty. Raises `UnsupportedOperation` naming an
        operation that the runtime lacks."""

    def check_head(self, head: ir.Model, versions: Sequence[str] = ()) -> None:  # noqa: B027 - most run whatever ONNX has
        """Check, before anything is exported, that the runtime and this lowering have all operations of a head. The graph holds
        the head alone (`edgec.heads.attach.apart`); `versions` are those of the runtime that boards have.

        Raises `UnsupportedOperation`.
        """

    def fitted(self, hub: ir.Model, plan: PrecisionPlan, peaks: Mapping[str, float]) -> PrecisionPlan:
        """The plan, with wider types for activations that could overflow the target's. `peaks` are the largest absolute values
        that calibration saw, by tensor."""
        return plan

    def label(self, model: LoweredModel, label: Label) -> None:  # noqa: B027 - most files have no place for it
        """Write the label into the model's files, if their format has room for it."""

    def open_with(self, model: LoweredModel) -> str:
        """For people who open the files without edgec: what they must tell the runtime, so that it computes what was verified.
        Empty if the files say all."""
        return ""

    def require_profiler(self) -> None:  # noqa: B027 - most need nothing more than for running
        """Raises `MissingPackage` if something that `profiler` needs is not installed."""

    def profiler(self, model: LoweredModel, *, threads: int | None = None) -> Profiler | None:
        """Open written files as `load` does, so that the runtime times its steps; None if it cannot."""
        return None

    @abstractmethod
    def load(self, model: LoweredModel, *, threads: int | None = None) -> Runner:
        """Open written files. Needs numpy and the runtime only. `threads`: by default the usable cores.

        Raises `TargetError` if the runtime is not installed, `RuntimeFailure` if it refuses the files.
        """
