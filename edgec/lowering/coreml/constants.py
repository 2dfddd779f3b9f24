"""Constants in the program: fp16 or float32 as they are, weights in 8 bits with a scale an output channel, or as indices into
lookup tables of 64 or 16 values.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgec.graph.plan import QuantisedWeight
from edgec.lowering.coreml.palettes import palettise

BITS = {"w6": 6, "w4": 4}
GROUP = {"w6": 64, "w4": 16}
"""Output channels that share a lookup table, at most: so that tables take no more than a hundredth of what their indices do."""
TINY = float(np.finfo(np.float16).tiny)


class Constants:
    """Makes constants of a program, equal ones once. Weights come with their output channels first."""

    def __init__(self, sdk: Any) -> None:
        self._sdk = sdk
        self._made: dict[tuple[str, ...], Any] = {}

    def shared(self, value: Any, name: str) -> Any:
        """A constant in the value's own type: convert it before if the program computes in another."""
        array = value if isinstance(value, str) else np.asarray(value)
        content = array.encode() if isinstance(array, str) else array.tobytes()
        kind = "str" if isinstance(array, str) else f"{array.dtype}{array.shape}"
        key = (kind, hashlib.sha256(content).hexdigest())
        if key not in self._made:
            self._made[key] = self._sdk.mb.const(val=_scalars_as_numpy(array), name=name)
        return self._made[key]

    def floats(self, value: NDArray[Any], half: bool, name: str) -> Any:
        """A constant in fp16 (`half`) or float32."""
        return self.shared(value.astype(np.float16 if half else np.float32), name)

    def int8(self, weight: QuantisedWeight, half: bool, name: str) -> Any:
        """The plan's integers with a scale an output channel and no offset, so that zero stays zero."""
        scales = weight.scales.astype(np.float16 if half else np.float32)
        return self._scaled(weight.integers, scales, name)

    def weight(self, value: NDArray[np.float32], precision: str, half: bool, name: str) -> Any:
        """A weight stored as the precision says: in 8 bits, in a lookup table, or in floats."""
        if precision == "w8":
            return self._scaled(*eight_bits(value, np.float16 if half else np.float32), name)
        if precision in BITS:
            return self._palettised(value, precision, half, name)
        return self.floats(value, half, name)

    def _scaled(self, integers: NDArray[np.int8], scales: NDArray[Any], name: str) -> Any:
        shape = (-1, *[1] * (integers.ndim - 1))
        return self._sdk.mb.constexpr_blockwise_shift_scale(data=integers, scale=scales.reshape(shape), name=name)

    def _palettised(self, value: NDArray[np.float32], precision: str, half: bool, name: str) -> Any:
        bits, channels = BITS[precision], len(value)
        group = max(size for size in range(1, GROUP[precision] + 1) if channels % size == 0)
        indices, tables = palettise(value.reshape(channels // group, -1), 2**bits)
        types = self._sdk.types
        narrow = types.nptype_from_builtin(types.string_to_builtin(f"uint{bits}"))
        lut = tables.astype(np.float16 if half else np.float32)
        return self._sdk.mb.constexpr_lut_to_dense(
            indices=indices.reshape(value.shape).astype(narrow),
            lut=lut.reshape(len(lut), *[1] * (value.ndim - 1), 2**bits, 1),
            name=name,
        )


def eight_bits(weight: NDArray[np.float32], kind: type[np.floating[Any]]) -> tuple[NDArray[np.int8], NDArray[Any]]:
    """Integers rounded to the nearest, in the weight's shape, and one symmetric scale an output channel (the first axis),
    [channels].

    The scale is rounded to its own type before the integers are computed with it. It is never a subnormal number: hardware may
    flush one to zero, and the whole channel with it.
    """
    rows = weight.reshape(len(weight), -1)
    scales = np.maximum(np.abs(rows).max(axis=1) / 127, TINY).astype(kind)
    integers = np.clip(np.rint(rows / scales.astype(np.float32)[:, None]), -127, 127)
    return integers.astype(np.int8).reshape(weight.shape), scales


def _scalars_as_numpy(array: Any) -> Any:
    """An array without dimensions as numpy's scalar type, by which coremltools tells scalars from tensors."""
    return array[()] if isinstance(array, np.ndarray) and array.ndim == 0 else array
