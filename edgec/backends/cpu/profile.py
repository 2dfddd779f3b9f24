"""What a CPU's profile says."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from edgec.backends.profile import Profile
from edgec.onboard.cpuinfo import FLAGS
from edgec.records.base import Record
from edgec.records.evidence import Evidence


class Int8Facts(Record):
    """How the CPU multiplies bytes."""

    dot_product: bool
    """One instruction multiplies four of them and sums the products in 32 bits."""
    activations: Literal["u8", "s8"]
    """The type of activations that its runtimes have the fastest kernels for; weights are s8."""
    pairs_saturate: bool
    """It adds neighbouring products in pairs, in 16 bits that saturate: weights must be scaled so that no pair overflows."""
    per_token: tuple[str, ...] = ("openvino",)
    """The runtimes that compute in int8 with a range for each token, if there are dot products."""


class Counts(Record):
    """How many instructions each candidate of one model took for a frame: an order until a board has spoken, and no time."""

    model: str
    """The architecture, as reports name it: `vits16`."""
    size: str = Field(pattern=r"^[1-9][0-9]{0,4}x[1-9][0-9]{0,4}$")
    """Of the frame: HxW."""
    cpu: str
    """Which CPU was emulated, by the emulator's name."""
    evidence: Evidence
    source: str = Field(min_length=1)
    million_instructions: dict[str, int]
    """By the candidate's name; in one thread."""

    @property
    def pixels(self) -> int:
        """Of the frame."""
        return _pixels(self.size)

    @property
    def words(self) -> str:
        """For people, the fewest first."""
        ordered = sorted(self.million_instructions.items(), key=lambda item: item[1])
        counts = ", ".join(f"{name} {millions}" for name, millions in ordered)
        return f"millions a frame, {self.model} {self.size} as {self.cpu}: {counts} ({self.evidence.value})"


class CpuProfile(Profile):
    """A profile with the CPU flags that it needs, an `[int8]` table, and counted instructions."""

    isa: tuple[str, ...]
    """The flags that a device must have, spelled as in /proc/cpuinfo."""
    rank: int | None = None
    """`cpu` means the profile with the highest rank of those that suit the host; one without a rank is chosen by its name
    only."""
    int8: Int8Facts | None = None
    counts: tuple[Counts, ...] = ()

    def counted(self, arch: str, size: str) -> Counts | None:
        """What was counted of this model, at the nearest size; None if it was not. Instructions of another model are no order for
        this one. Those at another size are: nearly all of them are products with weights, as many of them a token at any size."""
        of_model = [each for each in self.counts if each.model == arch]
        return min(of_model, key=lambda each: abs(math.log(each.pixels / _pixels(size))), default=None)

    @property
    def standing(self) -> int | None:
        """Its rank."""
        return self.rank

    @property
    def requires(self) -> tuple[str, ...]:
        """CPU flags."""
        return self.isa

    @property
    def details(self) -> tuple[tuple[str, str], ...]:
        """How it computes in int8, and counted instructions."""
        counted = tuple(("instructions", each.words) for each in self.counts)
        if self.int8 is None:
            return counted
        dot = "dot products" if self.int8.dot_product else "no dot products"
        weights = "8 bits, scaled so that no pair of products saturates" if self.int8.pairs_saturate else "8 bits"
        return (("8-bit", f"{dot}; {self.int8.activations} activations; weights of {weights}"), *counted)

    @model_validator(mode="after")
    def _consistent(self) -> CpuProfile:
        if not self.isa:
            raise ValueError("isa: a CPU's profile must name the flags that it requires")
        known = FLAGS[self.architecture]
        for flag in self.isa:
            if flag not in known:
                raise ValueError(f"isa: {flag!r} is none of the {self.architecture} flags {', '.join(known)}")
        if "fp16" in self.precisions and "fphp" not in self.isa:
            raise ValueError("precisions: fp16 is for Arm CPUs that have its arithmetic, so isa must require fphp")
        if "int8" in self.precisions and self.int8 is None:
            raise ValueError("int8: precisions has int8, so the [int8] table must say how it is computed")
        return self


def _pixels(size: str) -> int:
    height, width = size.split("x")
    return int(height) * int(width)
