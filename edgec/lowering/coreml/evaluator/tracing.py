"""What each operation of a saved program computes, as `edgec.fidelity.trace` keeps it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgec.fidelity.trace import BUCKETS, OperationTrace, Trace, sketch
from edgec.lowering.coreml.evaluator.package import Operation
from edgec.lowering.coreml.evaluator.program import Array, Program


def trace(program: Program, frames: NDArray[np.uint8]) -> Trace:
    """Of one batch, uint8 [N, H, W, 3], without rounding: rounding amplifies what another order of summing does, in 8 bits up to
    a quarter of a tensor, and a changed weight would drown in it."""
    found: list[OperationTrace] = []
    program.walk(
        next(program.batches(frames)),
        lambda operation, values: found.append(_sketch(operation, values)),
        rounding=False,
    )
    return Trace(operations=tuple(found))


def _sketch(operation: Operation, values: dict[str, Array]) -> OperationTrace:
    if any(value.dtype.kind in "iu" for value in values.values()):
        return _labels(operation, values)
    return sketch(operation.name, operation.kind, values.values())


def _labels(operation: Operation, values: dict[str, Array]) -> OperationTrace:
    """Of whole numbers, such as classes: where two are all but equal, another order of summing decides, and a class that is
    another moves no sum by little. Each kind of number is counted, with random signs by place; one pixel moves a count by one of
    all of them."""
    counts: list[float] = []
    sizes: list[float] = []
    for value in values.values():
        flat = value.reshape(-1).astype(np.int64)
        counts += np.bincount(flat % BUCKETS, _signs(flat.size), BUCKETS).tolist()
        sizes += [flat.size / 4] * BUCKETS
    return OperationTrace(name=operation.name, kind=operation.kind, values=tuple(counts), sizes=tuple(sizes))


def _signs(count: int) -> NDArray[np.float64]:
    """By place, in an order that no regular change follows (Knuth's multiplicative hash)."""
    mixed = np.arange(count, dtype=np.uint64) * np.uint64(2654435761) & np.uint64(0xFFFFFFFF)
    return np.where(mixed >> np.uint64(31), 1.0, -1.0)
