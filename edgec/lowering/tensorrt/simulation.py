"""Running a strongly typed graph on this machine with its types: every fp16 tensor is rounded to fp16, products sum in float32.

ONNX Runtime's CPU provider cannot run the typed graph itself that way. It has no fp16 kernels for most operators, computes them
in float32, and removes all casts in between, even those in the graph (ONNX Runtime 1.32, all optimisations off). So the graph is
rewritten in float32, and each operation's result passes Cast to fp16, Identity, Cast back: the Identity in the middle keeps the
pair from being removed as redundant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from edgec.graph.files import load
from edgec.graph.operations import PRODUCTS
from edgec.graph.passes.base import Rewrite
from edgec.graph.session import open_session
from edgec.graph.values import array_of, input_of
from edgec.lowering.base import LoweredModel, runtime_errors
from edgec.lowering.onnxruntime import SessionRunner
from edgec.lowering.tensorrt.names import FreeNames
from edgec.lowering.tensorrt.typed import MOVES, reads_bytes
from edgec.records.evidence import Evidence

HALF = ir.DataType.FLOAT16


class RoundHalves(Rewrite):
    """A strongly typed graph becomes one in float32, rounding included.

    Requires the type of every tensor. Ensures that nothing but the two steps of a rounding is fp16, and that no constant is.
    """

    def missing(self, model: ir.Model) -> Iterable[str]:
        """Tensors whose type is not known."""
        values = (value for node in model.graph for value in node.outputs)
        return (f"the type of {value.name} is not known" for value in values if value.name and value.dtype is None)

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Makes all tensors float32, and rounds to fp16 the results of operations that were fp16."""
        free = FreeNames(model.graph)
        halves = {value for node in model.graph for value in node.outputs if value.dtype == HALF}
        for value in model.graph.initializers.values():
            if value.dtype == HALF:
                value.const_value = ir.tensor(array_of(value).astype(np.float32), name=value.name)
                halves.add(value)
        for value in halves:
            value.type = ir.TensorType(ir.DataType.FLOAT)
        for node in list(model.graph):
            if node.op_type == "Cast" and input_of(node).dtype == node.outputs[0].dtype == ir.DataType.FLOAT:
                node.op_type = "Identity"
                node.attributes.clear()
            elif node.op_type in MOVES or _is_read_as_bytes(node):
                continue
            if node.outputs[0] in halves:
                _round(node, free)
        return ir.passes.PassResult(model, modified=bool(halves))

    def broken(self, model: ir.Model) -> Iterable[str]:
        """fp16 tensors other than those of the rounding itself, and fp16 constants."""
        for node in model.graph:
            makers = (node.op_type, *(reader.op_type for reader in node.successors()))
            if any(value.dtype == HALF for value in node.outputs) and makers not in (("Cast", "Identity"), ("Identity", "Cast")):
                yield f"{node.name} makes fp16"
        yield from (f"{name} is fp16" for name, tensor in model.graph.initializers.tensor_items() if tensor.dtype == HALF)


def _is_read_as_bytes(node: ir.Node) -> bool:
    """Whether the node is one side of products of bytes, which an engine never rounds: it multiplies the bytes."""
    readers = node.successors() if node.op_type == "DequantizeLinear" else ()
    return bool(readers) and all(reader.op_type in PRODUCTS and reads_bytes(reader) for reader in readers)


def _round(node: ir.Node, free: FreeNames) -> None:
    """Rounds the node's result before anything reads it; the rounded tensor gets its name."""
    exact = node.outputs[0]
    rounded, name = ir.val(exact.name, exact.dtype, exact.shape), exact.name
    exact.replace_all_uses_with(rounded, replace_graph_outputs=True)
    exact.name = free.take(f"{name}.exact")
    half, identity = (ir.val(free.take(f"{name}.{part}"), HALF, exact.shape) for part in ("half", "kept"))
    steps = [
        ir.node("Cast", [exact], {"to": int(HALF)}, outputs=[half]),
        ir.node("Identity", [half], outputs=[identity]),
        ir.node("Cast", [identity], {"to": int(ir.DataType.FLOAT)}, outputs=[rounded]),
    ]
    node.append(steps)


def product_types(model: ir.Model) -> Counter[str]:
    """How many products and convolutions, those of heads included, run in int8, fp8, fp16 and fp32."""
    counts: Counter[str] = Counter()
    for node in model.graph:
        if node.op_type in PRODUCTS:
            half = node.outputs[0].dtype == HALF
            counts[_bytes(node) or ("fp16" if half else "fp32")] += 1
    return counts


def _bytes(product: ir.Node) -> str:
    """The type of the bytes that the product multiplies; empty if it multiplies floats."""
    dequantise = input_of(product).producer()
    if dequantise is None or dequantise.op_type != "DequantizeLinear":
        return ""
    return "fp8" if input_of(dequantise).dtype == ir.DataType.FLOAT8E4M3FN else "int8"


def open_simulated(model: LoweredModel, threads: int) -> SessionRunner:
    """A runner of the simulated graph. Raises `RuntimeFailure` if the files are no typed graph that ONNX Runtime can run."""
    with runtime_errors("ONNX Runtime, which simulates TensorRT here, refuses the model.", model.entry):
        typed = load(model.directory / model.entry)
        types = ", ".join(f"{kind} {count}" for kind, count in product_types(typed).most_common())
        RoundHalves()(typed)
        session = open_session(typed, threads=threads, optimise=False)
        return SessionRunner(session, threads, f"{types}; {Evidence.SIMULATED.value}")
