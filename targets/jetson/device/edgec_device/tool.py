"""What builds and runs engines on a machine, and what a family of machines is to this program.

Everything else here, from receiving a bundle to activating an engine, is the same for all of them. A Jetson is in `jetson.py`;
the program for RTX GPUs carries this package and brings its own (targets/rtx/device/edgec_rtx).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Iterator, Mapping, Protocol, Sequence

from edgec_onboard.documents import Tensor

from edgec_device.board import Board
from edgec_device.bundle import Variant
from edgec_device.npy import Array
from edgec_device.versions import Version

if TYPE_CHECKING:
    from edgec_device.session import Session

PLAN = "engine.plan"


@dataclass(frozen=True)
class Gpu:
    """The GPU that a tool uses."""

    name: str
    compute_capability: str


@dataclass(frozen=True)
class Measured:
    """One round: `samples` in ms, copying in, computing and copying out together, in order; `warm_up` runs before them; `load_ms`
    to load the engine; `caveats` about how it was measured, a sentence each."""

    samples: Sequence[float]
    warm_up: int
    load_ms: float
    caveats: Sequence[str] = ()


class Tool(Protocol):
    """Builds and runs engines on the GPU of this machine, each time in a process of its own. Every method may raise a
    `BoardError`."""

    @property
    def name(self) -> str:
        """As measurements have it."""

    @property
    def title(self) -> str:
        """The runtime's, for people."""

    @property
    def path(self) -> Path:
        """The program that is started."""

    @property
    def version(self) -> Version:
        """The runtime's."""

    @property
    def gpu(self) -> Gpu:
        """The one that it uses."""

    @property
    def doubts(self) -> Sequence[str]:
        """Why it may not be NVIDIA's, a sentence each."""

    @property
    def verify_flags(self) -> list[str]:
        """How an engine is run to verify it, for the record."""

    def takes(self, limits: Mapping[str, str]) -> bool:
        """Whether its TensorRT is at least `min` and below `below`."""

    def flags(self, variant: Variant, release: Path) -> list[str]:
        """What decides, besides version and GPU, which engine becomes of a variant of the bundle that is installed there."""

    def bench_flags(self, seconds: float, iterations: int) -> list[str]:
        """What decides how an engine is measured: at least so many `seconds` and so many `iterations`."""

    def build(self, variant: Variant, flags: Sequence[str], *, release: Path, work: Path, caches: Path, log: Path) -> float:
        """Write the variant's engine to `PLAN` in `work`; returns the seconds that it took. `caches` outlives the engine."""

    def outputs(
        self,
        variant: str,
        plan: Path,
        batches: Iterator[bytes],
        tensors: Sequence[Tensor],
        frames: Tensor,
        *,
        work: Path,
        log: Path,
    ) -> Iterator[Mapping[str, Array]]:
        """What the engine computes of each batch of `frames`, by the outputs' names. Its outputs should be `tensors`, which limit
        what is read."""

    def measure(
        self,
        variant: str,
        plan: Path,
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
    def remedy(self) -> str:
        """What to do about a TensorRT that the bundle is not for, up to "in that range"."""

    @property
    def hidden(self) -> Sequence[str]:
        """Names of facts that no machine of this family has."""

    def identify(self, session: Session) -> None:
        """Set the session's `board`, `profile` and `tool`. Raises `WrongBoard`, or `NoTensorRT`."""

    def describe(self, board: Board) -> str:
        """The machine and its system, in a sentence."""

    def warnings(self, session: Session) -> list[str]:
        """What is unknown about the machine, a sentence each."""
