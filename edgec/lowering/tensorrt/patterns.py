"""The patterns that rules name: each finds the places in a graph, by the names of nodes or tensors.

A pattern is a function of the view and the rule's parameters. Those that depend on the version get it among these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx

from edgec.lowering.tensorrt.view import LAYOUT, View, halves, label

Pattern = Callable[..., Iterator[str]]
PATTERNS: dict[str, Pattern] = {}

FLOATS = ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE")
FLAT = ("invalid", "opset", "open-shape", "unsupported", "operator")
"""What can be asked of a graph whose structure is broken."""
QUANTISERS = ("QuantizeLinear", "DequantizeLinear")
PRODUCTS = ("MatMul", "Gemm", "Conv")


def pattern(function: Pattern) -> Pattern:
    PATTERNS[function.__name__.replace("_", "-")] = function
    return function


# --- the file


@pattern
def invalid(view: View) -> Iterator[str]:
    if view.invalid:
        lines = [line.strip() for line in view.invalid.splitlines() if line.strip()]
        yield " ".join(lines[:2])


@pattern
def opset(view: View, *, min: int, max: int) -> Iterator[str]:
    if not min <= view.opset <= max:
        yield f"opset {view.opset}"


@pattern
def open_shape(view: View) -> Iterator[str]:
    for value in view.inputs:
        dims = value.type.tensor_type.shape.dim
        if not value.type.tensor_type.HasField("shape") or not all(dim.HasField("dim_value") for dim in dims):
            yield value.name


# --- operators


@pattern
def unsupported(view: View, *, known: frozenset[str]) -> Iterator[str]:
    for node in view.all_nodes:
        if node.domain not in ("", "ai.onnx") or node.op_type not in known:
            yield f"{node.op_type} {label(node)}"


@pattern
def operator(view: View, *, operators: list[str]) -> Iterator[str]:
    yield from (label(node) for node in view.all_nodes if node.op_type in operators)


@pattern
def more_outputs(view: View, *, operators: list[str], outputs: int) -> Iterator[str]:
    yield from (label(node) for node in view.nodes if node.op_type in operators and any(node.output[outputs:]))


@pattern
def rotary_in_graph(view: View) -> Iterator[str]:
    """Sines and cosines that are computed as the model runs."""
    for node in view.all_nodes:
        if node.op_type in ("Sin", "Cos"):
            yield label(node)


# --- types


@pattern
def type_inside(view: View, *, types: list[str]) -> Iterator[str]:
    """A tensor of these types, constants included, that is neither input nor output of the network."""
    outside = {value.name for value in (*view.inputs, *view.graph.output)} if types == ["UINT8"] else set()
    for node in view.nodes:
        for name in node.output:
            if name not in outside and view.kind(name) in types:
                yield name
        if types == ["UINT8"] and node.op_type != "Cast":
            # Zero points have a rule of their own.
            inputs = node.input[:1] if node.op_type in QUANTISERS else node.input
            yield from (f"{name} into {label(node)}" for name in inputs if view.kind(name) in types)
    if types != ["UINT8"]:
        yield from (name for name in view.constants if view.kind(name) in types and view.readers.get(name))


@pattern
def type_constant(view: View, *, types: list[str], but: list[str]) -> Iterator[str]:
    """A constant of these types that is data, not a zero point."""
    for node in view.nodes:
        data = node.input[:1] if node.op_type in QUANTISERS and "zero point" in but else node.input
        yield from (name for name in data if name in view.constants and view.kind(name) in types)


@pattern
def mixed_types(view: View) -> Iterator[str]:
    for node in view.nodes:
        if node.op_type in (*QUANTISERS, "Cast", "If", "Loop", "Scan"):
            continue
        # Scales and regions of a Resize are float32 whatever it resizes.
        inputs = node.input[:1] if node.op_type == "Resize" else node.input
        kinds = {view.kind(name) for name in inputs if view.kind(name) in FLOATS}
        if len(kinds) > 1:
            yield f"{label(node)} ({', '.join(sorted(kinds))})"


@pattern
def half_not_finite(view: View) -> Iterator[str]:
    yield from (name for name, value in halves(view) if not np.isfinite(value).all())


@pattern
def half_subnormal(view: View, *, share: float) -> Iterator[str]:
    """Constants of which more than this share is below fp16's normal numbers, zeros aside."""
    for name, value in halves(view):
        nonzero = np.abs(value[value != 0])
        if nonzero.size and float(np.mean(nonzero < np.finfo(np.float16).tiny)) > share:
            yield name


@pattern
def half_operator(view: View, *, operators: list[str]) -> Iterator[str]:
    yield from (label(node) for node in view.nodes if node.op_type in operators and view.is_half(node.input[0]))


@pattern
def norm_in_pieces(view: View) -> Iterator[str]:
    """x - mean(x), squared, averaged, rooted."""
    for node in view.nodes:
        if node.op_type != "Sub":
            continue
        mean = view.makers.get(node.input[1])
        if mean is None or mean.op_type != "ReduceMean" or mean.input[0] != node.input[0]:
            continue
        squares = [reader for reader in view.below(node.output[0]) if _squares(reader)]
        if any(
            reader.op_type == "ReduceMean" and any(_roots(view, reader.output[0]))
            for square in squares
            for reader in view.below(square.output[0])
        ):
            yield label(node)


def _squares(node: onnx.NodeProto) -> bool:
    return node.op_type == "Pow" or (node.op_type == "Mul" and node.input[0] == node.input[1])


def _roots(view: View, name: str) -> Iterator[bool]:
    yield from (node.op_type == "Sqrt" for node in view.below(name, (*LAYOUT, "Add")))


# --- attention


@pattern
def attention(view: View) -> Iterator[str]:
    yield from (label(product) for product, _ in view.attentions())


@pattern
def attention_scaled_twice(view: View) -> Iterator[str]:
    for product, _ in view.attentions():
        if all(_scaled(view, name) for name in product.input[:2]):
            yield label(product)


@pattern
def attention_scaled_behind(view: View) -> Iterator[str]:
    for product, softmax in view.attentions():
        node = view.above(softmax.input[0], (*LAYOUT, "Add", "Where"))
        if node is not None and node is not product and node.op_type in ("Mul", "Div") and _by_scalar(view, node):
            yield label(product)


@pattern
def attention_quantised(view: View) -> Iterator[str]:
    """Q/DQ between Softmax and the products on both of its sides, or on what these two read."""
    for product, softmax in view.attentions():
        mixes = [node for node in view.below(softmax.output[0], (*LAYOUT, *QUANTISERS)) if node.op_type == "MatMul"]
        inputs = [softmax.input[0], *product.input[:2], *(name for mix in mixes for name in mix.input[:2])]
        makers = [view.above(name, (*LAYOUT, "Mul", "Div", "Add", "Where")) for name in inputs]
        if any(maker is not None and maker.op_type == "DequantizeLinear" for maker in makers):
            yield label(product)


def _scaled(view: View, name: str) -> bool:
    node = view.above(name)
    return node is not None and node.op_type in ("Mul", "Div") and _by_scalar(view, node)


def _by_scalar(view: View, node: onnx.NodeProto) -> bool:
    """By one number: a constant, or one computed from constants (a root of the scale, as exporters write it)."""
    for name in node.input:
        value = view.value(name)
        if value is not None and value.size == 1:
            return True
        maker = view.makers.get(name)
        if value is None and maker is not None and maker.op_type in ("Sqrt", "Cast", "Div"):
            return _from_constants(view, name)
    return False


def _from_constants(view: View, name: str) -> bool:
    maker = view.makers.get(name)
    return name in view.constants or (maker is not None and all(_from_constants(view, each) for each in maker.input))


# --- int8


@pattern
def half_scale(view: View) -> Iterator[str]:
    yield from (label(node) for node in _quantisers(view) if view.is_half(node.input[1]))


@pattern
def zero_point(view: View) -> Iterator[str]:
    for node in _quantisers(view):
        value = view.value(node.input[2]) if len(node.input) > 2 else None
        if value is not None and np.any(value != 0):
            yield label(node)


@pattern
def unsigned(view: View) -> Iterator[str]:
    for node in _quantisers(view):
        kinds = {view.kind(name) for name in (node.input[0], *node.input[2:], *node.output)}
        if "UINT8" in kinds:
            yield label(node)


@pattern
def no_zero_point(view: View) -> Iterator[str]:
    yield from (label(node) for node in _quantisers(view) if len(node.input) < 3 or not node.input[2])


@pattern
def scale_not_positive(view: View) -> Iterator[str]:
    for node in _quantisers(view):
        value = view.value(node.input[1])
        if value is not None and not np.all(value > 0):
            yield label(node)


@pattern
def dequantised_type(view: View, *, types: list[str]) -> Iterator[str]:
    for node in view.nodes:
        if node.op_type == "DequantizeLinear" and view.kind(node.input[0]) in types:
            yield label(node)


@pattern
def activation_per_channel(view: View) -> Iterator[str]:
    for node in view.nodes:
        if node.op_type == "QuantizeLinear" and node.input[0] not in view.constants and _scales(view, node) > 1:
            yield label(node)


@pattern
def weight_per_tensor(view: View) -> Iterator[str]:
    for node in view.nodes:
        if node.op_type != "DequantizeLinear" or _scales(view, node) != 1 or _origin(view, node) is None:
            continue
        constant = view.constants[_origin(view, node) or ""]
        if len(constant.dims) > 1 and any(reader.op_type in PRODUCTS for reader in view.readers.get(node.output[0], ())):
            yield label(node)


@pattern
def cast_behind_dequantise(view: View) -> Iterator[str]:
    for node in view.nodes:
        maker = view.makers.get(node.input[0]) if node.input else None
        if node.op_type != "Cast" or maker is None or maker.op_type != "DequantizeLinear":
            continue
        if any(reader.op_type in PRODUCTS for reader in view.below(node.output[0], ("Transpose", "Identity"))):
            yield label(node)


@pattern
def half_a_pair(view: View) -> Iterator[str]:
    for node in view.nodes:
        if node.op_type in PRODUCTS:
            quantised = [_dequantised(view, name) for name in node.input[:2]]
            if any(quantised) and not all(quantised):
                yield label(node)


def _quantisers(view: View) -> Iterator[onnx.NodeProto]:
    yield from (node for node in view.nodes if node.op_type in QUANTISERS and len(node.input) > 1)


def _scales(view: View, node: onnx.NodeProto) -> int:
    value = view.value(node.input[1])
    return 0 if value is None else value.size


def _origin(view: View, node: onnx.NodeProto) -> str | None:
    """The constant that a DequantizeLinear's data comes from, directly or through a QuantizeLinear."""
    source = node.input[0]
    maker = view.makers.get(source)
    if maker is not None and maker.op_type == "QuantizeLinear":
        source = maker.input[0]
    return source if source in view.constants else None


def _dequantised(view: View, name: str) -> bool:
    maker = view.above(name, ("Transpose", "Reshape", "Identity", "Cast"))
    return maker is not None and maker.op_type == "DequantizeLinear"


def run(name: str, view: View, parameters: dict[str, Any]) -> tuple[str, ...]:
    """The places where a pattern is found, each once. In a broken graph only what needs no structure is looked for."""
    if view.broken and name not in FLAT:
        return ()
    return tuple(dict.fromkeys(PATTERNS[name](view, **parameters)))
