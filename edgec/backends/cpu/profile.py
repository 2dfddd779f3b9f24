"""What a CPU's profile says."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from edgec.backends.profile import Profile
from edgec.onboard.cpuinfo import FLAGS
from edgec.records.base import Record


class Int8Facts(Record):
    """How the CPU multiplies bytes."""

    dot_product: bool
    """One instruction multiplies four of them and sums the products in 32 bits."""
    activations: Literal["u8", "s8"]
    """The type of activations that its runtimes have the fastest kernels for; weights are s8."""
    pairs_saturate: bool
    """It adds neighbouring products in pairs, in 16 bits that saturate: weights must be scaled so that no pair overflows."""


class CpuProfile(Profile):
    """A profile with the CPU flags that it needs, and an `[int8]` table."""

    isa: tuple[str, ...]
    """The flags that a device must have, spelled as in /proc/cpuinfo."""
    rank: int | None = None
    """`cpu` means the profile with the highest rank of those that suit the host; one without a rank is chosen by its name
    only."""
    int8: Int8Facts | None = None

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
        """How it computes in int8."""
        if self.int8 is None:
            return ()
        dot = "dot products" if self.int8.dot_product else "no dot products"
        weights = "8 bits, scaled so that no pair of products saturates" if self.int8.pairs_saturate else "8 bits"
        return (("8-bit", f"{dot}; {self.int8.activations} activations; weights of {weights}"),)

    @model_validator(mode="after")
    def _consistent(self) -> CpuProfile:
        if not self.isa:
            raise ValueError("isa: a CPU's profile must name the flags that it requires")
        known = FLAGS[self.architecture]
        for flag in self.isa:
            if flag not in known:
                raise ValueError(f"isa: {flag!r} is none of the {self.architecture} flags {', '.join(known)}")
        if "int8" in self.precisions and self.int8 is None:
            raise ValueError("int8: precisions has int8, so the [int8] table must say how it is computed")
        return self
