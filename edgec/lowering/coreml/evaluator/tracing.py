"""The trace (`edgec.fidelity.trace`) of what each operation of a saved program computes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgec.fidelity.trace import BUCKETS, OperationTrace, Trace, sketch
from edgec.lowering.coreml.evaluator.package import Operation
from edgec.lowering.coreml.evaluator.program import Array, Program


def trace(program: Program, frames: NDArray[np.uint8]) -> Trace:
    """The trace of one batch, uint8 [N, H, W, 3], computed without rounding. Rounding would amplify differences in the order of
    summing, in 8 bits up to a quarter of a tensor, and hide a changed weight."""
    operations: list[OperationTrace] = []
    program.walk(
        next(program.batches(frames)),
        lambda operation, values: operations.append(_sketch(operation, values)),
        rounding=False,
    )
    return Trace(operations=tuple(operations))


def _sketch(operation: Operation, values: dict[str, Array]) -> OperationTrace:
    if any(value.dtype.kind in "iu" for value in values.values()):
        return _labels(operation, values)
    return sketch(operation.name, operation.kind, values.values())


def _labels(operation: Operation, values: dict[str, Array]) -> OperationTrace:
    """The trace of integers, such as classes. Where two scores are nearly equal, the order of summing decides between two labels
    that differ by any amount, so sums of labels say little. Instead the occurrences of each label are counted, with random signs
    by position; one pixel changes a count by one."""
    counts: list[float] = []
    sizes: list[float] = []
    for value in values.values():
        flat = value.reshape(-1).astype(np.int64)
        counts += np.bincount(flat % BUCKETS, _signs(flat.size), BUCKETS).tolist()
        sizes += [flat.size / 4] * BUCKETS
    return OperationTrace(name=operation.name, kind=operation.kind, values=tuple(counts), sizes=tuple(sizes))


def _signs(count: int) -> NDArray[np.float64]:
    """+1 or -1 by position, in an order that no regular change follows (Knuth's multiplicative hash)."""
    mixed = np.arange(count, dtype=np.uint64) * np.uint64(2654435761) & np.uint64(0xFFFFFFFF)
    return np.where(mixed >> np.uint64(31), 1.0, -1.0)
