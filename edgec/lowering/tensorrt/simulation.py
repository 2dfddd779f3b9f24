"""A strongly typed graph run on this machine as its types say: every fp16 tensor is rounded to fp16, products sum in float32.

ONNX Runtime's CPU provider cannot be given the typed graph itself. It has no fp16 kernels for most operators, computes them in
float32, and takes out all casts in between, those that the graph spells out included (ONNX Runtime 1.32, all optimisations off).
So the graph is rewritten in float32, and each operation's result passes Cast to fp16, Identity, Cast back: the Identity in the
middle keeps the pair from being taken for redundant.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgec.errors import RuntimeFailure
from edgec.graph.files import load
from edgec.graph.operations import PRODUCTS
from edgec.graph.session import open_session
from edgec.lowering.base import LoweredModel
from edgec.lowering.onnxruntime import SessionRunner
from edgec.lowering.tensorrt.typed import MOVES
from edgec.lowering.tensorrt.view import FreeNames
from edgec.records.evidence import Evidence


def simulated(model: onnx.ModelProto) -> onnx.ModelProto:
    """The typed graph in float32, rounding included."""
    graph = model.graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.output, *graph.value_info)}
    nodes: list[onnx.NodeProto] = []
    free = FreeNames(graph)

    def rounded(source: str, result: str) -> None:
        half, kept = free.take(f"{result}.half"), free.take(f"{result}.kept")
        nodes.append(helper.make_node("Cast", [source], [half], to=TensorProto.FLOAT16))
        nodes.append(helper.make_node("Identity", [half], [kept]))
        nodes.append(helper.make_node("Cast", [kept], [result], to=TensorProto.FLOAT))

    for node in graph.node:
        output = node.output[0]
        if node.op_type == "Cast" and kinds[node.input[0]] in (TensorProto.FLOAT, TensorProto.FLOAT16):
            if kinds[output] == TensorProto.FLOAT16:
                rounded(node.input[0], output)
            elif kinds[output] == TensorProto.FLOAT:
                nodes.append(helper.make_node("Identity", [node.input[0]], [output]))
            else:
                nodes.append(node)
        elif kinds[output] == TensorProto.FLOAT16 and node.op_type not in MOVES:
            exact = onnx.NodeProto()
            exact.CopyFrom(node)
            exact.output[0] = free.take(f"{output}.exact")
            nodes.append(exact)
            rounded(exact.output[0], output)
        else:
            nodes.append(node)
    constants = [
        numpy_helper.from_array(numpy_helper.to_array(entry).astype(np.float32), entry.name)
        if entry.data_type == TensorProto.FLOAT16
        else entry
        for entry in graph.initializer
    ]
    made = helper.make_graph(nodes, f"{graph.name}, simulated", list(graph.input), list(graph.output), constants)
    return helper.make_model(made, opset_imports=list(model.opset_import), ir_version=model.ir_version)


def product_types(model: onnx.ModelProto) -> Counter[str]:
    """How many products and convolutions, those of heads included, run in int8, fp16 and fp32."""
    graph = model.graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*graph.output, *graph.value_info)}
    dequantised = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    found: Counter[str] = Counter()
    for node in graph.node:
        if node.op_type in PRODUCTS:
            half = kinds[node.output[0]] == TensorProto.FLOAT16
            found["int8" if node.input[0] in dequantised else "fp16" if half else "fp32"] += 1
    return found


def open_simulated(model: LoweredModel, threads: int) -> SessionRunner:
    """Raises `RuntimeFailure` if the files are no typed graph that ONNX Runtime can imitate."""
    try:
        typed = load(model.directory / model.entry)
        types = ", ".join(f"{kind} {count}" for kind, count in product_types(typed).most_common())
        session = open_session(simulated(typed), threads=threads, optimise=False)
        return SessionRunner(session, threads, f"{types}; {Evidence.SIMULATED.value}")
    except Exception as error:
        raise RuntimeFailure(
            "ONNX Runtime, which imitates TensorRT here, refuses the model.",
            evidence=[model.entry, *str(error).strip().splitlines()[:3]],
        ) from error
