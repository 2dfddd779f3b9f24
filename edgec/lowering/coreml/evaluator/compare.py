"""The saved program against the hub graph, operation by operation: which one is the first to compute something else.

Every operation is run on what the *hub graph* has for its inputs, so that an error is found where it arises and not where it is
amplified, and cannot hide behind one before it. Activations are the hub graph's, in float32, and nothing is rounded in
between, to 8 bits neither: what is left to explain a difference is how the program stores its weights, and what it says to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgec.lowering.coreml.evaluator.package import Operation
from edgec.lowering.coreml.evaluator.program import CONSTANTS, Array, Program

if TYPE_CHECKING:
    import onnx

EXPLAINED = {16: 0.03, 8: 0.2}
"""By the bits of an operation's narrowest weight: how far the worst channel may be from the hub graph's, as a share of its size.
Measured on ViT-S/16: 0.014 and 0.12. A transposed kernel or a wrong axis moves a result by more than its size."""
TABLES = {6: 0.15, 4: 0.4}
"""The same for weights in lookup tables, over a whole tensor: channels share a table, and the smallest lose everything in it."""
NORM = 0.1
"""Of a LayerNorm: the epsilon that fp16 holds is larger than the hub graph's, for tokens of nearly equal values."""
SHARE = 0.1
"""Of a tensor's usual size: what a channel is taken to have at least, since a channel of near zero is nobody's loss."""


@dataclass(frozen=True)
class HubDifference:
    """An operation by its names in the program and in the hub graph. `error` is of its worst channel or row, as a share of that
    one's size."""

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


def first_difference(program: Program, hub: onnx.ModelProto, frames: NDArray[np.uint8]) -> HubDifference | None:
    """`frames` are one batch, uint8 [N, H, W, 3]. `hub` is the graph that the program was made from, its activations smoothed as
    the program's are, without Q/DQ. Tensors correspond by name, as the lowering spells them (`mil_name`).

    Holds the hub graph's activations of one batch in memory. Raises `RuntimeFailure` naming an operation that the program cannot
    mean as it says.
    """
    tensors = _activations(hub, {name for entry in program.operations for name, _ in entry.outputs}, frames)
    bits = _weight_bits(program)
    found: list[HubDifference] = []

    def seen(operation: Operation, values: dict[str, Array]) -> dict[str, Array]:
        replaced = {}
        for name, value in values.items():
            tensor, wanted = tensors.get(name, ("", None))
            if wanted is None:
                continue
            replaced[name] = wanted
            narrowest = bits.get(operation.name, 16)
            explained = NORM if operation.kind == "layer_norm" else EXPLAINED.get(narrowest) or TABLES[narrowest]
            error = difference(value, wanted, whole=narrowest in TABLES)
            if not found and not error <= explained:
                found.append(HubDifference(operation.name, operation.kind, tensor, error, explained))
        return values | replaced

    program.walk(next(program.batches(frames)), seen, rounding=False)
    return found[0] if found else None


def _activations(hub: onnx.ModelProto, names: set[str], frames: NDArray[np.uint8]) -> dict[str, tuple[str, NDArray[np.float32]]]:
    """By their names in the program, of those that it has: the hub graph's name and tensor."""
    import onnx as onnx_module

    from edgec.graph.session import open_session
    from edgec.lowering.coreml.types import mil_name

    watched = onnx_module.ModelProto()
    watched.CopyFrom(hub)
    wanted = {mil_name(name): name for node in hub.graph.node for name in node.output if mil_name(name) in names}
    del watched.graph.output[:]
    for name in wanted.values():
        watched.graph.output.append(onnx_module.helper.make_tensor_value_info(name, onnx_module.TensorProto.FLOAT, None))
    found = open_session(watched).run(list(wanted.values()), {"frames": frames})
    return {name: (tensor, np.asarray(value)) for (name, tensor), value in zip(wanted.items(), found, strict=True)}


def _weight_bits(program: Program) -> dict[str, int]:
    """By operation, of the narrowest constant that it reads: 16 for whatever is not compressed."""
    stored: dict[str, int] = {}
    found: dict[str, int] = {}
    for operation in program.function.operations:
        if operation.kind in CONSTANTS:
            stored[operation.outputs[0][0]] = _bits(operation)
        else:
            reads = [name for argument in operation.inputs.values() for name in argument.names]
            found[operation.name] = min([16, *(stored.get(name, 16) for name in reads)])
    return found


def _bits(constant: Operation) -> int:
    if constant.kind in ("const", "constexpr_cast"):
        return 16
    if constant.kind != "constexpr_lut_to_dense":
        return 8
    # An attribute until iOS 16, an input from iOS 18 on.
    lut: Any = constant.attributes["lut"] if "lut" in constant.attributes else constant.inputs["lut"].bindings[0]
    palettes = lut.shape[0] if lut.ndim == 1 else lut.shape[-2]
    return 8 if palettes > 64 else 6 if palettes > 16 else 4


def difference(found: Array, wanted: NDArray[np.float32], *, whole: bool) -> float:
    """The size of the error as a share of the size of what is wanted: over the whole tensor, or of the worst channel or row of
    any axis. Infinite for another shape, and for what is not finite."""
    if found.shape != wanted.shape or not np.isfinite(found).all():
        return float("inf")
    error, square = np.square(found - wanted, dtype=np.float64), np.square(wanted, dtype=np.float64)
    usual = float(square.mean()) + np.finfo(np.float64).tiny
    if whole:
        return float(np.sqrt(error.mean() / usual))
    worst = 0.0
    for axis in range(wanted.ndim):
        others = tuple(other for other in range(wanted.ndim) if other != axis)
        own = np.maximum(square.mean(axis=others), SHARE**2 * usual)
        worst = max(worst, float(np.sqrt(error.mean(axis=others) / own).max()))
    return worst
