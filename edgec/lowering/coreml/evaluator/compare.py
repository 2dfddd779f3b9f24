"""Compares the saved program with the hub graph, operation by operation, and finds the first that computes something else.

Every operation is run on the *hub graph's* values for its inputs, so that an error is found where it arises and not where it is
amplified, and is not hidden by an earlier one. Activations are float32 and nothing is rounded, to 8 bits neither: a difference
then comes from how the program stores its weights, or from what it computes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgec.lowering.coreml.evaluator.package import Operation
from edgec.lowering.coreml.evaluator.program import CONSTANTS, Array, Program

if TYPE_CHECKING:
    import onnx_ir as ir

EXPLAINED = {16: 0.03, 8: 0.2}
"""The largest error of the worst channel that is explained by weights of so many bits, as a share of the channel's size. Measured
on ViT-S/16: 0.014 and 0.12. A transposed kernel or a wrong axis moves a result by more than its size."""
TABLES = {6: 0.15, 4: 0.4}
"""The same for weights in lookup tables, over a whole tensor: channels share a table, in which the smallest may be lost."""
NORM = 0.1
"""The same for a LayerNorm, whose epsilon in fp16 is larger than the hub graph's, which matters for tokens of nearly equal
values."""
LABELS = 1e-3
"""The share of integers that may differ: they are computed from the hub graph's own scores, so that only ties leave a choice."""
MOST_EXPLAINED = 0.9
"""The largest error that a type explains: an operation that computes something else is off by its result's size and more."""
MOST = 2**30
SHARE = 0.1
"""The least size of a channel that is assumed, as a share of the tensor's usual size, because errors in a channel near zero do
not matter."""


@dataclass(frozen=True)
class HubDifference:
    """An operation that computes something else than the hub graph, by its names in the program and in the hub graph. `error` is
    that of its worst channel or row, and `explained` the error that its types explain, both as a share of that channel's or row's
    size."""

    operation: str
    kind: str
    tensor: str
    error: float
    explained: float

    def __str__(self) -> str:
        return (
            f"{self.tensor} ({self.operation}, {self.kind}): differs from the hub graph by {self.error:.2g} of its size, "
            f"of which its types explain {self.explained:.2g}"
        )


def first_difference(program: Program, hub: ir.Model, frames: NDArray[np.uint8], *, slack: float = 1.0) -> HubDifference | None:
    """The first operation of the program that differs from the hub graph by more than its types explain; None if there is none.

    `frames` are one batch, uint8 [N, H, W, 3]. `hub` is the graph that the program was made from, its activations smoothed as the
    program's are, without Q/DQ. Operations correspond by name, as the lowering spells them (`mil_name`). `slack` multiplies the
    error that types explain.

    Holds up to `MOST` bytes of the hub graph's activations in memory at a time, and runs the graph as often as that takes. Raises
    `RuntimeFailure` naming an operation that cannot be evaluated.
    """
    tensors = _Activations(hub, [name for entry in program.operations for name, _ in entry.outputs], frames)
    bits = _weight_bits(program)
    differences: list[HubDifference] = []

    def compare_and_replace(operation: Operation, values: dict[str, Array]) -> dict[str, Array]:
        replaced = {}
        for name, value in values.items():
            if name not in tensors.names:
                continue
            replaced[name] = expected = tensors.get(name)
            narrowest = bits.get(operation.name, 16)
            explained = NORM if operation.kind == "layer_norm" else EXPLAINED.get(narrowest) or TABLES[narrowest]
            explained = LABELS if expected.dtype.kind == "i" else min(slack * explained, MOST_EXPLAINED)
            error = difference(value, expected, whole=narrowest in TABLES)
            if not differences and not error <= explained:
                differences.append(HubDifference(operation.name, operation.kind, tensors.names[name], error, explained))
        return values | replaced

    program.walk(next(program.batches(frames)), compare_and_replace, rounding=False)
    return differences[0] if differences else None


class _Activations:
    """Tensors of the hub graph that the program has too, float32 or int32, by their names in the program. Must be read in the
    program's order."""

    def __init__(self, hub: ir.Model, order: Sequence[str], frames: NDArray[np.uint8]) -> None:
        from edgec.graph.values import name_of, shape_of
        from edgec.lowering.coreml.types import mil_name

        self._hub, self._frames = hub, frames
        # An operation has its node's name, which is mostly that of the node's tensor, too; an output has its own.
        results = {mil_name(name_of(node)): node.outputs[0] for node in hub.graph if shape_of(node.outputs[0]) is not None}
        results |= {name_of(output): output for output in hub.graph.outputs}
        self.names = {name: name_of(results[name]) for name in order if name in results}
        """The hub graph's."""
        sizes = (4 * prod(shape_of(results[name]) or ()) for name in self.names)
        self._groups = {name: total // MOST for name, total in zip(self.names, accumulate(sizes), strict=True)}
        self._loaded: dict[str, Array] = {}

    def get(self, name: str) -> Array:
        if name not in self._loaded:
            self._loaded = {}  # before the next are computed
            self._loaded = self._group(self._groups[name])
        return self._loaded[name]

    def _group(self, number: int) -> dict[str, Array]:
        from edgec.graph.passes.base import rewritten
        from edgec.graph.passes.outputs import GiveOnly
        from edgec.graph.session import open_session

        names = [name for name, group in self._groups.items() if group == number]
        tensors = list(dict.fromkeys(self.names[name] for name in names))
        values = open_session(rewritten(self._hub, GiveOnly(tensors))).run(tensors, {"frames": self._frames})
        arrays = {tensor: _as_evaluated(np.asarray(value)) for tensor, value in zip(tensors, values, strict=True)}
        return {name: arrays[self.names[name]] for name in names}


def _as_evaluated(value: Array) -> Array:
    return value.astype(np.float32 if value.dtype.kind == "f" else np.int32, copy=False)


def _weight_bits(program: Program) -> dict[str, int]:
    """By operation, the bits of the narrowest constant that it reads: 16 for anything that is not compressed."""
    stored: dict[str, int] = {}
    narrowest: dict[str, int] = {}
    for operation in program.function.operations:
        if operation.kind in CONSTANTS:
            stored[operation.outputs[0][0]] = _bits(operation)
        else:
            reads = [name for argument in operation.inputs.values() for name in argument.names]
            narrowest[operation.name] = min([16, *(stored.get(name, 16) for name in reads)])
    return narrowest


def _bits(constant: Operation) -> int:
    if constant.kind in ("const", "constexpr_cast"):
        return 16
    if constant.kind != "constexpr_lut_to_dense":
        return 8
    # An attribute until iOS 16, an input from iOS 18 on.
    lut: Any = constant.attributes["lut"] if "lut" in constant.attributes else constant.inputs["lut"].bindings[0]
    palettes = lut.shape[0] if lut.ndim == 1 else lut.shape[-2]
    return 8 if palettes > 64 else 6 if palettes > 16 else 4


def difference(actual: Array, expected: Array, *, whole: bool) -> float:
    """The size of the error as a share of the expected size: over the `whole` tensor, or of the worst channel or row along any
    axis. Infinite for another shape, and for values that are not finite. Of integers, the share that differs."""
    if actual.shape != expected.shape or not np.isfinite(actual).all():
        return float("inf")
    if expected.dtype.kind == "i":
        return float((actual != expected).mean())
    error, square = np.square(actual - expected, dtype=np.float64), np.square(expected, dtype=np.float64)
    usual = float(square.mean()) + np.finfo(np.float64).tiny
    if whole:
        return float(np.sqrt(error.mean() / usual))
    worst = 0.0
    for axis in range(expected.ndim):
        rest = tuple(other for other in range(expected.ndim) if other != axis)
        size = np.maximum(square.mean(axis=rest), SHARE**2 * usual)
        worst = max(worst, float(np.sqrt(error.mean(axis=rest) / size).max()))
    return worst
