"""A precision plan: what every operation of the hub graph runs in. One plan serves every runtime."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

Precision = Literal["fp32", "fp16", "bf16", "int8", "int8-per-token", "fp8", "w8", "w6", "w4"]
"""`int8` is static: the activation's range comes from calibration. `int8-per-token` takes a range for each token as it runs, so
that a massive token costs no other one its resolution. Weights are int8 per output channel in both. `fp8` is static, too, with
E4M3 (OCP 8-bit Floating Point Specification: 448 at most, 3 bits of mantissa) on both sides. `w8`, `w6` and `w4` compute
in fp16 and store weights in fewer bits: 8 with a scale an output channel, 6 and 4 as indices into lookup tables."""

CALIBRATED: Final = ("int8", "fp8")
"""What a target may offer whose ranges come from calibration."""
Bytes = Literal["u8", "s8", "fp8"]
"""What activations become where they are static: `u8` is asymmetric, what x86 multiplies fastest; `s8` is symmetric with zero
point 0, what TensorRT and Arm take; `fp8` is E4M3."""


@dataclass(frozen=True)
class Range:
    """The smallest and largest value that calibration saw, zero included so that zero is exact."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= 0.0 <= self.high:
            raise ValueError(f"a range must hold zero: {self.low}..{self.high}")

    def widened(self, factor: float) -> Range:
        """Both ends multiplied."""
        return Range(self.low * factor, self.high * factor)


@dataclass(frozen=True, eq=False)
class QuantisedWeight:
    """A weight in bytes, int8 or E4M3, in the shape that its operation has it in, and one scale an output channel, float32
    [channels]."""

    integers: NDArray[Any]
    scales: NDArray[np.float32]

    def restored(self, spread: Sequence[int] = (-1,)) -> NDArray[np.float32]:
        """What the bytes stand for; `spread` is the shape by which scales broadcast over them (`Operation.spread`)."""
        return np.asarray(self.integers.astype(np.float32) * self.scales.reshape(spread), dtype=np.float32)

    @cached_property
    def sha256(self) -> str:
        """Of integers and scales, in hex: two weights are equal if theirs is."""
        return hashlib.sha256(self.integers.tobytes() + self.scales.tobytes()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, QuantisedWeight) and self.sha256 == other.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)


@dataclass(frozen=True)
class PrecisionPlan:
    """`operations` names the exceptions from `default`. `ranges` holds the range of every activation tensor that an int8
    operation reads, and, for Core ML, of what each LayerNorm in fp16 reads."""

    name: str
    default: Precision
    operations: Mapping[str, Precision] = field(default_factory=dict)
    ranges: Mapping[str, Range] = field(default_factory=dict)
    activations: Bytes = "u8"
    """What activations and weights of static operations become: with `fp8` these are fp8, else int8."""
    smoothing: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """By activation: what each of its channels is divided by, in the weights before it (`edgec.graph.passes.smooth`). Ranges are
    those after smoothing."""
    corrections: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """By operation: the mean error that quantisation causes in each output channel, which the bias corrects."""
    paired: bool = False
    """Whether weights are so small that neighbouring products can be added in 16 bits, as x86 without VNNI does."""
    weights: Mapping[str, QuantisedWeight] = field(default_factory=dict)
    """By operation: its weight after smoothing, rounded so that its outputs are most exact. Others are rounded to the nearest."""

    def precision_of(self, operation: str) -> Precision:
        """What the operation of this name runs in."""
        return self.operations.get(operation, self.default)

    def with_float32(self, operations: Iterable[str]) -> PrecisionPlan:
        """The plan with these operations in float32."""
        exceptions: dict[str, Precision] = dict.fromkeys(operations, "fp32")
        return replace(self, operations={**self.operations, **exceptions})

    @property
    def quantised(self) -> bool:
        """Whether any operation multiplies bytes: int8, static or per token, or fp8."""
        return any(map(is_quantised, self.operations.values()))

    def of(self, precision: Precision) -> tuple[str, ...]:
        """The operations that are exceptions in this precision."""
        return tuple(name for name, each in self.operations.items() if each == precision)


def is_quantised(precision: str) -> bool:
    """Whether an operation of this precision multiplies bytes."""
    return precision.startswith("int8") or precision == "fp8"
