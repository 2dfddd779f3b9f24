"""What makes and runs engines on a machine, and what a family of machines is to this program.

An engine is what a robot loads: a TensorRT plan, or the files of a model that its runtime takes as they are. Everything else
here, from receiving a bundle to activating an engine, is the same for all machines. The program of each family carries this
package and brings its own beside it (targets/<family>/device).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping, Protocol, Sequence

from edgec_onboard.documents import Tensor

from edgec_device.board import Board
from edgec_device.bundle import BoardProfile, Variant
from edgec_device.npy import Array

if TYPE_CHECKING:
    from edgec_device.session import Session


@dataclass(frozen=True)
class Measured:
    """One round: `samples` in ms, copying in, computing and copying out together, in order; `warm_up` runs before them; `load_ms`
    to load the engine; `threads` that computed; `caveats` about how it was measured, a sentence each. `cpu_ms` is the processors'
    time in all samples, `cold_start` what the first runs of a process cost, by the names that reports have
    (edgec/records/report.py, ColdStart); None where they are not known."""

    samples: Sequence[float]
    warm_up: int
    load_ms: float
    threads: int = 1
    caveats: Sequence[str] = ()
    cpu_ms: float | None = None
    cold_start: Mapping[str, Any] | None = None


class Tool(Protocol):
    """Makes and runs engines on this machine, each time in a process of its own. Every method may raise a `BoardError`."""

    @property
    def name(self) -> str:
        """As measurements have it."""

    @property
    def title(self) -> str:
        """The runtime with its version, for people; several if variants have different ones."""

    @property
    def path(self) -> Path:
        """The program that is started."""

    @property
    def processor(self) -> str:
        """The name of what computes: a GPU, or CPU cores."""

    @property
    def facts(self) -> Mapping[str, str]:
        """What is recorded about it with every measurement, by name."""

    @property
    def versions(self) -> Mapping[str, str]:
        """Of the runtimes that it has, by their names in reports."""

    @property
    def doubts(self) -> Sequence[str]:
        """Why it may not be the real one, a sentence each."""

    @property
    def verify_flags(self) -> list[str]:
        """How an engine is run to verify it, for the record."""

    @property
    def observed(self) -> Mapping[str, Any]:
        """What the last `outputs` told besides, which is kept with the verdict: `placement` as reports have it, `words` for
        people, `remarks`, a sentence each. Empty if nothing."""

    def refuses(self, variant: Variant, profile: BoardProfile) -> str:
        """Why this variant of the bundle cannot be used here, in a few words; empty if it can."""

    def identity(self, variant: Variant) -> Mapping[str, str]:
        """The software and the processor that an engine of the variant is for: it is made again for others. Recorded with it."""

    def describe(self, variant: Variant, flags: Sequence[str]) -> tuple[str, str]:
        """The variant's runtime as reports name it, and what its engine computes in, in words."""

    def files(self, variant: Variant, folder: Path) -> Sequence[str]:
        """The paths of an engine's files in the folder in which it was built, that which a robot loads first. Where that is a
        folder of files, the first is in it."""

    def engine_doubts(self, engine: Path) -> list[str]:
        """Why what a robot loads of an engine, at that path, may not be the runtime's, a sentence each."""

    def flags(self, variant: Variant, release: Path) -> list[str]:
        """What decides, besides `identity`, which engine becomes of a variant of the bundle that is installed there."""

    def bench_flags(self, seconds: float, iterations: int) -> list[str]:
        """What decides how an engine is measured: at least so many `seconds` and so many `iterations`."""

    def build(self, variant: Variant, flags: Sequence[str], *, release: Path, work: Path, caches: Path, log: Path) -> float:
        """Write the variant's engine, its `files`, into `work`; returns the seconds that it took. `caches` outlives it."""

    def outputs(
        self,
        variant: Variant,
        engine: Path,
        batches: Iterator[bytes],
        tensors: Sequence[Tensor],
        frames: Tensor,
        *,
        work: Path,
        log: Path,
    ) -> Iterator[Mapping[str, Array]]:
        """What the engine computes of each batch of `frames`, by the outputs' names. Its outputs should be `tensors`, which limit
        what is read. `engine` is what a robot loads."""

    def measure(
        self,
        variant: Variant,
        engine: Path,
        batch: bytes,
        frames: Tensor,
        flags: Sequence[str],
        *,
        work: Path,
        log: Path,
        on_tick: Callable[[], None],
    ) -> Measured:
        """One round of measuring with a batch. `on_tick` is called every now and then meanwhile."""  # fmt: skip


class Family(Protocol):
    """The machines that a bundle is for."""

    @property
    def program(self) -> str:
        """The name of this program."""

    @property
    def description(self) -> str:
        """What it does, for people."""

    @property
    def exit_codes(self) -> str:
        """A line for each."""

    @property
    def option(self) -> tuple[str, str, str]:
        """The option that names what to start: its name, what it takes, and the default in words."""

    @property
    def patient_with(self) -> str:
        """What `--patience` ends after a long silence."""

    @property
    def tries_fp32(self) -> bool:
        """Whether float32 is measured with the others. Else it is the last resort."""

    @property
    def on_cpu(self) -> bool:
        """Whether engines run on the CPU's cores, so that their clocks and what else they do count."""

    @property
    def remedy(self) -> str:
        """What to do about software that the bundle is not for."""

    @property
    def hidden(self) -> Sequence[str]:
        """Names of facts that no machine of this family has."""

    def identify(self, session: Session) -> None:
        """Set the session's `board`, `profile` and `tool`. Raises `WrongBoard`, or `NoRuntime`."""

    def look(self, session: Session) -> dict[str, Any]:
        """`runtimes`, versions by name, and `missing`, the names of those that the bundle needs and that are not here. Raises
        `WrongBoard`."""

    def describe(self, board: Board) -> str:
        """The machine and its system, in a sentence."""

    def warnings(self, session: Session) -> list[str]:
        """What is unknown about the machine, a sentence each."""

    def remarks(self, session: Session) -> list[str]:
        """What a reader of the figures must know, a sentence each."""
