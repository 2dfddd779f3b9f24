"""What each operation of a saved program computes, as `edgec.fidelity.trace` keeps it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgec.fidelity.trace import OperationTrace, Trace, sketch
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
    return sketch(operation.name, operation.kind, values.values())
