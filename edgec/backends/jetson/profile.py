"""What a Jetson's profile says."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, model_validator

from edgec.backends.profile import DetailTable, Profile, version_of
from edgec.records.base import Record


class JetPack(Record):
    """A release of NVIDIA's software for the board, and the TensorRT that it brings."""

    version: str = Field(pattern=r"^\d+(\.\d+)*$")
    tensorrt: str = Field(pattern=r"^\d+(\.\d+)*$")


class TensorRtRange(Record):
    """From `min` up to but not `below`."""

    min: str = Field(pattern=r"^\d+(\.\d+)*$")
    below: str = Field(pattern=r"^\d+(\.\d+)*$")


class Rates(Record):
    """The GPU's peak rates: dense, not with half of the weights zero. A multiplication and an addition count as two operations.

    A rate that no source gives is None. `fp32` is the tensor cores' rate (TF32) where they compute it.
    """

    int8_tops: float | None = Field(default=None, gt=0)
    fp8_tflops: float | None = Field(default=None, gt=0)
    fp16_tflops: float = Field(gt=0)
    fp32_tflops: float = Field(gt=0)
    bandwidth_gbs: float = Field(gt=0)
    """Of the memory that CPU and GPU share, in 10^9 bytes a second."""


class PowerMode(Record):
    """One of `nvpmodel`'s. Rates that no source gives are absent, not guessed."""

    name: str = Field(min_length=1)
    id: int = Field(ge=0)
    """Of the module named first in `examples`: numbers differ from module to module."""
    watts: float | None = Field(default=None, gt=0)
    """The budget; None for a mode without one."""
    rates: Rates | None = None
    source: str = Field(min_length=1)


class Jetson(Record):
    """A Jetson module: how a program on the board recognises it, what software it may have, what its GPU does at most."""

    compatible: tuple[str, ...] = Field(min_length=1)
    """Any of these in /proc/device-tree/compatible is this board."""
    compute_capability: str = Field(pattern=r"^\d+\.\d$")
    cache_mib: float = Field(gt=0)
    """The GPU's L2 and the system's last-level cache together: weights that fit in may stay there from run to run."""
    jetpack: tuple[JetPack, ...] = Field(min_length=1)
    installable: tuple[str, ...] = ()
    """TensorRT versions that no JetPack brings but that can be installed on one."""
    tensorrt: TensorRtRange
    modes: tuple[PowerMode, ...] = Field(min_length=1)
    """The fastest first."""
    in_family: bool = True
    """Whether `--target jetson` means it too."""

    @property
    def tensorrt_versions(self) -> tuple[str, ...]:
        """All that the board may have, each once, oldest first: a graph for it must suit every one."""
        return tuple(dict.fromkeys((*(release.tensorrt for release in self.jetpack), *self.installable)))

    @property
    def fastest(self) -> PowerMode:
        """The mode with the highest rates, which are known."""
        return self.modes[0]

    @model_validator(mode="after")
    def _consistent(self) -> Jetson:
        low, high = version_of(self.tensorrt.min), version_of(self.tensorrt.below)
        for version in self.tensorrt_versions:
            if not low <= version_of(version) < high:
                raise ValueError(f"tensorrt: the range leaves out {version}, which the board can have")
        if self.fastest.rates is None:
            raise ValueError("modes: the first one, the fastest, must have rates")
        return self


class JetsonProfile(Profile):
    """A profile with a `[jetson]` table."""

    jetson: Jetson

    @property
    def details(self) -> tuple[tuple[str, str], ...]:
        """Compute capability, JetPack releases, and the names in the device tree."""
        board = self.jetson
        releases = ", ".join(f"{release.version} (TensorRT {release.tensorrt})" for release in board.jetpack)
        installable = f"; TensorRT {', '.join(board.installable)} can be installed" if board.installable else ""
        return (
            ("compute", f"capability {board.compute_capability}"),
            ("JetPack", f"{releases}{installable}"),
            ("compatible", ", ".join(board.compatible)),
        )

    @property
    def tables(self) -> tuple[DetailTable, ...]:
        """Peaks of each power mode, as the data sheets have them."""
        rows = []
        for mode in self.jetson.modes:
            rates = mode.rates
            peaks = (
                (rates.int8_tops, rates.fp8_tflops, rates.fp16_tflops, rates.fp32_tflops, rates.bandwidth_gbs)
                if rates
                else (None,) * 5
            )
            rows.append((mode.name, str(mode.id), *(f"{value:g}" if value else "" for value in (mode.watts, *peaks))))
        return (
            DetailTable(
                "Power modes: dense peaks, not what a model reaches",
                ("mode", "id", "watts", "int8 TOPS", "fp8 TFLOPS", "fp16 TFLOPS", "fp32 TFLOPS", "GB/s"),
                tuple(rows),
                tuple(f"{mode.name}: {mode.source}." for mode in self.jetson.modes),
            ),
        )


def as_boards(profiles: Sequence[Profile]) -> tuple[JetsonProfile, ...]:
    """The profiles among these that are Jetsons', in their order."""
    return tuple(profile for profile in profiles if isinstance(profile, JetsonProfile))
