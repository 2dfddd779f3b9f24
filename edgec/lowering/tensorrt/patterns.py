"""The patterns that rules name: each finds the places in a graph, by the names of nodes or tensors.

A pattern is a function of the view and the rule's parameters. Those that depend on the version get it among these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx_ir as ir

from edgec.lowering.tensorrt.view import LAYOUT, View, above, array, below, halves, is_constant, is_half, kind, label, maker

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
    constants = {entry.name for entry in view.file.graph.initializer}
    for value in view.file.graph.input:
        tensor = value.type.tensor_type
        static = tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim)
        if not static and value.name not in constants:
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
    for node in view.graph:
        if node.op_type in operators and any(value.name for value in node.outputs[outputs:]):
            yield label(node)


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
    bytes_alone = types == ["UINT8"]
    for node in view.graph:
        for value in node.outputs:
            if kind(value) in types and not (bytes_alone and value.is_graph_output()):
                yield str(value.name)
        if bytes_alone and node.op_type != "Cast":
            # Zero points have a rule of their own.
            inputs = node.inputs[:1] if node.op_type in QUANTISERS else node.inputs
            yield from (f"{value.name} into {label(node)}" for value in inputs if value is not None and kind(value) in types)
    if not bytes_alone:
        yield from (str(value.name) for value in view.constants if kind(value) in types and value.uses())


@pattern
def type_constant(view: View, *, types: list[str], but: list[str]) -> Iterator[str]:
    """A constant of these types that is data, not a zero point."""
    for node in view.graph:
        data = node.inputs[:1] if node.op_type in QUANTISERS and "zero point" in but else node.inputs
        yield from (str(value.name) for value in data if value is not None and is_constant(value) and kind(value) in types)


@pattern
def mixed_types(view: View) -> Iterator[str]:
    for node in view.graph:
        if node.op_type in (*QUANTISERS, "Cast", "If", "Loop", "Scan"):
            continue
        # Scales and regions of a Resize are float32 whatever it resizes.
        inputs = node.inputs[:1] if node.op_type == "Resize" else node.inputs
        kinds = {kind(value) for value in inputs if kind(value) in FLOATS}
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
    yield from (label(node) for node in view.graph if node.op_type in operators and is_half(node.inputs[0]))


@pattern
def norm_in_pieces(view: View) -> Iterator[str]:
    """x - mean(x), squared, averaged, rooted."""
    for node in view.graph:
        mean = maker(node.inputs[1]) if node.op_type == "Sub" else None
        if mean is None or mean.op_type != "ReduceMean" or mean.inputs[0] is not node.inputs[0]:
            continue
        squares = [reader for reader in below(node.outputs[0]) if _squares(reader)]
        if any(
            reader.op_type == "ReduceMean" and any(_roots(reader.outputs[0]))
            for square in squares
            for reader in below(square.outputs[0])
        ):
            yield label(node)


def _squares(node: ir.Node) -> bool:
    return node.op_type == "Pow" or (node.op_type == "Mul" and node.inputs[0] is node.inputs[1])


def _roots(value: ir.Value) -> Iterator[bool]:
    yield from (node.op_type == "Sqrt" for node in below(value, (*LAYOUT, "Add")))


# --- attention


@pattern
def attention(view: View) -> Iterator[str]:
    yield from (label(product) for product, _ in view.attentions())


@pattern
def attention_scaled_twice(view: View) -> Iterator[str]:
    for product, _ in view.attentions():
        if all(_scaled(value) for value in product.inputs[:2]):
            yield label(product)


@pattern
def attention_scaled_behind(view: View) -> Iterator[str]:
    for product, softmax in view.attentions():
        node = above(softmax.inputs[0], (*LAYOUT, "Add", "Where"))
        if node is not None and node is not product and node.op_type in ("Mul", "Div") and _by_scalar(node):
            yield label(product)


@pattern
def attention_quantised(view: View) -> Iterator[str]:
    """Q/DQ between Softmax and the products on both of its sides, or on what these two read."""
    for product, softmax in view.attentions():
        mixes = [node for node in below(softmax.outputs[0], (*LAYOUT, *QUANTISERS)) if node.op_type == "MatMul"]
        inputs = [softmax.inputs[0], *product.inputs[:2], *(value for mix in mixes for value in mix.inputs[:2])]
        makers = [above(value, (*LAYOUT, "Mul", "Div", "Add", "Where")) for value in inputs]
        if any(node is not None and node.op_type == "DequantizeLinear" for node in makers):
            yield label(product)


def _scaled(value: ir.Value | None) -> bool:
    node = above(value)
    return node is not None and node.op_type in ("Mul", "Div") and _by_scalar(node)


def _by_scalar(node: ir.Node) -> bool:
    """By one number: a constant, or one computed from constants (a root of the scale, as exporters write it)."""
    for value in node.inputs:
        held, made = array(value), maker(value)
        if held is not None and held.size == 1:
            return True
        if held is None and made is not None and made.op_type in ("Sqrt", "Cast", "Div"):
            return _from_constants(value)
    return False


def _from_constants(value: ir.Value | None) -> bool:
    made = maker(value)
    return is_constant(value) or (made is not None and all(map(_from_constants, made.inputs)))


# --- int8


@pattern
def half_scale(view: View) -> Iterator[str]:
    yield from (label(node) for node in _quantisers(view) if is_half(node.inputs[1]))


@pattern
def zero_point(view: View) -> Iterator[str]:
    for node in _quantisers(view):
        value = array(node.inputs[2]) if len(node.inputs) > 2 else None
        if value is not None and np.any(value != 0):
            yield label(node)


@pattern
def unsigned(view: View) -> Iterator[str]:
    for node in _quantisers(view):
        if "UINT8" in {kind(value) for value in (node.inputs[0], *node.inputs[2:], *node.outputs)}:
            yield label(node)


@pattern
def no_zero_point(view: View) -> Iterator[str]:
    yield from (label(node) for node in _quantisers(view) if len(node.inputs) < 3 or node.inputs[2] is None)


@pattern
def scale_not_positive(view: View) -> Iterator[str]:
    for node in _quantisers(view):
        value = array(node.inputs[1])
        if value is not None and not np.all(value > 0):
            yield label(node)


@pattern
def dequantised_type(view: View, *, types: list[str]) -> Iterator[str]:
    for node in view.graph:
        if node.op_type == "DequantizeLinear" and kind(node.inputs[0]) in types:
            yield label(node)


@pattern
def activation_per_channel(view: View) -> Iterator[str]:
    for node in view.graph:
        if node.op_type == "QuantizeLinear" and not is_constant(node.inputs[0]) and _scales(node) > 1:
            yield label(node)


@pattern
def weight_per_tensor(view: View) -> Iterator[str]:
    for node in view.graph:
        origin = _origin(node) if node.op_type == "DequantizeLinear" and _scales(node) == 1 else None
        sides = 0 if origin is None or origin.shape is None else len(origin.shape)
        if sides > 1 and any(reader.op_type in PRODUCTS for reader in node.successors()):
            yield label(node)


@pattern
def cast_behind_dequantise(view: View) -> Iterator[str]:
    for node in view.graph:
        made = maker(node.inputs[0]) if node.op_type == "Cast" else None
        if made is None or made.op_type != "DequantizeLinear":
            continue
        if any(reader.op_type in PRODUCTS for reader in below(node.outputs[0], ("Transpose", "Identity"))):
            yield label(node)


@pattern
def half_a_pair(view: View) -> Iterator[str]:
    for node in view.graph:
        if node.op_type in PRODUCTS:
            quantised = [_dequantised(value) for value in node.inputs[:2]]
            if any(quantised) and not all(quantised):
                yield label(node)


def _quantisers(view: View) -> Iterator[ir.Node]:
    yield from (node for node in view.graph if node.op_type in QUANTISERS and len(node.inputs) > 1)


def _scales(node: ir.Node) -> int:
    value = array(node.inputs[1])
    return 0 if value is None else value.size


def _origin(node: ir.Node) -> ir.Value | None:
    """The constant that a DequantizeLinear's data comes from, directly or through a QuantizeLinear."""
    source, made = node.inputs[0], maker(node.inputs[0])
    if made is not None and made.op_type == "QuantizeLinear":
        source = made.inputs[0]
    return source if is_constant(source) else None


def _dequantised(value: ir.Value | None) -> bool:
    node = above(value, ("Transpose", "Reshape", "Identity", "Cast"))
    return node is not None and node.op_type == "DequantizeLinear"


def run(name: str, view: View, parameters: dict[str, Any]) -> tuple[str, ...]:
    """The places where a pattern is found, each once. In a broken graph only what needs no structure is looked for."""
    if view.broken and name not in FLAT:
        return ()
    return tuple(dict.fromkeys(PATTERNS[name](view, **parameters)))
