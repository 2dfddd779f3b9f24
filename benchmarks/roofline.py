"""How fast this machine multiplies int8 on a model's own shapes, and so the least time that the model could take.

The rate of a shape is that of chains of u8 x i8 products there and back (depth to width to depth), requantised to u8 in between,
with everything else stripped off: no float output, no norm, no softmax. The best of many runs counts, of the runtime that is
faster at it: OpenVINO where CPUs have dot products of bytes, ONNX Runtime where they do not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from edgec.graph.operations import operations
from edgec.graph.session import open_session

LINKS = 8
"""Products in a chain: enough to make the cost of a run itself small."""
RUNS = 40
ATTEMPTS = 3


@dataclass(frozen=True, order=True)
class Shape:
    """rows x depth by depth x width."""

    rows: int
    depth: int
    width: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one product."""
        return self.rows * self.depth * self.width


@dataclass(frozen=True)
class Roofline:
    """`rates` are multiply-accumulates a second by shape. What has no weight or is depthwise counts at the mean rate."""

    rates: dict[Shape, float]
    ideal_ms: float

    @property
    def best(self) -> float:
        """The highest rate of any shape."""
        return max(self.rates.values())


def measure_roofline(hub: ir.Model, threads: int) -> Roofline:
    """Measures every shape of the graph several times; the best counts."""
    shapes, others = product_shapes(hub)
    rates = {shape: max(_rate(shape, threads) for _ in range(ATTEMPTS)) for shape in sorted(set(shapes))}
    seconds = sum(shape.macs / rates[shape] for shape in shapes)
    mean = sum(shape.macs for shape in shapes) / seconds
    return Roofline(rates, 1000 * (seconds + others / mean))


def product_shapes(hub: ir.Model) -> tuple[list[Shape], int]:
    """The shapes of all products and convolutions that int8 is for, and the multiply-accumulates of the rest."""
    shapes, others = [], 0
    for operation in operations(hub):
        if operation.kind not in ("linear", "convolution"):
            others += operation.macs
            continue
        dims = operation.weights.shape
        width = dims[operation.channel_axis]
        depth = prod(dims) // width
        shapes.append(Shape(operation.macs // (depth * width), depth, width))
    return shapes, others


def _rate(shape: Shape, threads: int) -> float:
    return max(LINKS * shape.macs / _best(run) for run in (_in_openvino(shape, threads), _in_onnxruntime(shape, threads)))


def _best(run: Callable[[], Any]) -> float:
    """Seconds."""
    best = float("inf")
    for _ in range(RUNS):
        begun = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - begun)
    return best


def _in_openvino(shape: Shape, threads: int) -> Callable[[], Any]:
    import openvino as ov

    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = ov.Core().compile_model(_chain(shape), "CPU", settings)
    _require_int8(compiled.get_runtime_model().get_ops())
    request = compiled.create_infer_request()
    values = np.random.default_rng(0).uniform(0, 255, (1, shape.rows, shape.depth)).astype(np.float32)
    return lambda: request.infer([values], share_inputs=True)


def _in_onnxruntime(shape: Shape, threads: int) -> Callable[[], Any]:
    session = open_session(_links(shape), threads=threads)
    values = np.random.default_rng(0).integers(0, 256, (1, shape.rows, shape.depth), dtype=np.uint8)
    return lambda: session.run(None, {"x0": values})


def _links(shape: Shape) -> onnx.ModelProto:
    """The chain as Q/DQ pairs; ONNX Runtime makes one node of each link."""
    random = np.random.default_rng(0)
    nodes, initialisers = [], [numpy_helper.from_array(np.uint8(0), "zero"), numpy_helper.from_array(np.float32(1), "one")]
    for link in range(LINKS):
        depth, width = (shape.depth, shape.width) if link % 2 == 0 else (shape.width, shape.depth)
        initialisers += [
            numpy_helper.from_array(random.integers(-63, 64, (depth, width), dtype=np.int8), f"w{link}"),
            numpy_helper.from_array(np.float32(1 / (36 * depth**0.5)), f"s{link}"),
        ]
        nodes += [
            helper.make_node("DequantizeLinear", [f"x{link}", "one", "zero"], [f"a{link}"]),
            helper.make_node("DequantizeLinear", [f"w{link}", f"s{link}"], [f"b{link}"]),
            helper.make_node("MatMul", [f"a{link}", f"b{link}"], [f"y{link}"]),
            helper.make_node("QuantizeLinear", [f"y{link}", "one", "zero"], [f"x{link + 1}"]),
        ]
    sides = [helper.make_tensor_value_info(name, TensorProto.UINT8, [1, shape.rows, shape.depth]) for name in ("x0", f"x{LINKS}")]
    graph = helper.make_graph(nodes, "links", sides[:1], sides[1:], initialisers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _chain(shape: Shape) -> Any:
    import openvino as ov
    from openvino import opset13 as op

    random = np.random.default_rng(0)

    def requantised(value: Any) -> Any:
        low, high = op.constant(np.float32(0)), op.constant(np.float32(255))
        return op.fake_quantize(value, low, high, low, high, 256)

    entry = op.parameter([1, shape.rows, shape.depth], np.float32)
    value = requantised(entry)
    for link in range(LINKS):
        depth, width = (shape.depth, shape.width) if link % 2 == 0 else (shape.width, shape.depth)
        integers = op.constant(random.integers(-127, 128, (width, depth), dtype=np.int8))
        scale = op.constant(np.full((width, 1), 1 / (73 * depth**0.5), np.float32))
        value = requantised(op.matmul(value, op.multiply(op.convert(integers, "f32"), scale), False, True))
    return ov.Model([op.result(value)], [entry])


def _require_int8(nodes: Iterable[Any]) -> None:
    kinds = [
        str(node.get_rt_info()["runtimePrecision"].value)
        for node in nodes
        if str(node.get_rt_info()["layerType"].value) == "FullyConnected"
    ]
    if len(kinds) != LINKS or set(kinds) - {"u8", "i8"}:
        raise SystemExit(f"OpenVINO runs no int8 products here, but {sorted(set(kinds))}: there is no roofline to measure")
