"""The patterns that rules name: each finds its places in a graph, by the names of nodes or tensors.

A pattern is a function of the view and the rule's parameters. Patterns that depend on the version of TensorRT get what differs as
a parameter. Most patterns are a condition on single nodes, registered by `found_at`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import onnx_ir as ir

from edgec.lowering.tensorrt.view import LAYOUT, View, above, array, below, halves, is_constant, is_half, kind, label, maker

Pattern = Callable[..., Iterable[str]]
Condition = Callable[..., bool]
Nodes = Callable[[View], Iterable[tuple[ir.Node, ...]]]
PATTERNS: dict[str, Pattern] = {}

FLOATS = ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE")
FLAT = ("invalid", "opset", "open-shape", "unsupported", "operator")
"""Patterns that can be looked for in a graph whose structure is broken."""
QUANTISERS = ("QuantizeLinear", "DequantizeLinear")
PRODUCTS = ("MatMul", "Gemm", "Conv")


def pattern(function: Pattern) -> Pattern:
    """Register a function of the view and parameters, which gives the places, under its name with dashes."""
    PATTERNS[function.__name__.replace("_", "-")] = function
    return function


def found_at(nodes: Nodes) -> Callable[[Condition], Condition]:
    """Register a condition as a pattern. It is called with each node, or group of nodes, and the parameters; the places are the
    first nodes of the groups that meet it."""

    def register(condition: Condition) -> Condition:
        def places(view: View, **parameters: Any) -> Iterator[str]:
            return (label(group[0]) for group in nodes(view) if condition(*group, **parameters))

        places.__name__ = condition.__name__
        pattern(places)
        return condition

    return register


def of(*kinds: str) -> Nodes:
    """The nodes with these operators, or all of them."""
    return lambda view: ((node,) for node in view.graph if not kinds or node.op_type in kinds)


def quantisers(view: View) -> Iterator[tuple[ir.Node]]:
    """The QuantizeLinear and DequantizeLinear nodes that have a scale."""
    return ((node,) for node in view.graph if node.op_type in QUANTISERS and len(node.inputs) > 1)


# --- the file


@pattern
def invalid(view: View) -> Iterator[str]:
    """What ONNX's own checker says of an invalid file, its first two lines."""
    if view.invalid:
        lines = [line.strip() for line in view.invalid.splitlines() if line.strip()]
        yield " ".join(lines[:2])


@pattern
def opset(view: View, *, min: int, max: int) -> Iterator[str]:
    """An opset outside of these."""
    if not min <= view.opset <= max:
        yield f"opset {view.opset}"


@pattern
def open_shape(view: View) -> Iterator[str]:
    """Inputs without a static shape."""
    constants = {entry.name for entry in view.file.graph.initializer}
    for value in view.file.graph.input:
        tensor = value.type.tensor_type
        static = tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim)
        if not static and value.name not in constants:
            yield value.name


# --- operators


@pattern
def unsupported(view: View, *, known: frozenset[str]) -> Iterator[str]:
    """Operators that are not `known`, in branches and bodies too."""
    for node in view.all_nodes:
        if node.domain not in ("", "ai.onnx") or node.op_type not in known:
            yield f"{node.op_type} {label(node)}"


@pattern
def operator(view: View, *, operators: list[str]) -> Iterator[str]:
    """Nodes with one of these operators, in branches and bodies too."""
    return (label(node) for node in view.all_nodes if node.op_type in operators)


@found_at(of())
def more_outputs(node: ir.Node, *, operators: list[str], outputs: int) -> bool:
    """More than so many outputs that have names, of one of these operators."""
    return node.op_type in operators and any(value.name for value in node.outputs[outputs:])


@pattern
def rotary_in_graph(view: View) -> Iterable[str]:
    """Sines and cosines that are computed as the model runs."""
    return operator(view, operators=["Sin", "Cos"])


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
    """Operators that read floats of several types."""
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
    """fp16 constants that hold infinities or NaN."""
    return (name for name, value in halves(view) if not np.isfinite(value).all())


@pattern
def half_subnormal(view: View, *, share: float) -> Iterator[str]:
    """Constants of which more than this share is below fp16's normal numbers, zeros aside."""
    for name, value in halves(view):
        nonzero = np.abs(value[value != 0])
        if nonzero.size and float(np.mean(nonzero < np.finfo(np.float16).tiny)) > share:
            yield name


@found_at(of())
def half_operator(node: ir.Node, *, operators: list[str]) -> bool:
    """One of these operators in fp16."""
    return node.op_type in operators and is_half(node.inputs[0])


@found_at(of("Sub"))
def norm_in_pieces(difference: ir.Node) -> bool:
    """x - mean(x), squared, averaged, rooted."""
    mean = maker(difference.inputs[1])
    if mean is None or mean.op_type != "ReduceMean" or mean.inputs[0] is not difference.inputs[0]:
        return False
    squares = [reader for reader in below(difference.outputs[0]) if _squares(reader)]
    means = (reader for square in squares for reader in below(square.outputs[0]) if reader.op_type == "ReduceMean")
    return any(_has_root(mean.outputs[0]) for mean in means)


def _squares(node: ir.Node) -> bool:
    return node.op_type == "Pow" or (node.op_type == "Mul" and node.inputs[0] is node.inputs[1])


def _has_root(value: ir.Value) -> bool:
    return any(node.op_type == "Sqrt" for node in below(value, (*LAYOUT, "Add")))


# --- attention


@found_at(View.attentions)
def attention(product: ir.Node, softmax: ir.Node) -> bool:
    """Any attention."""
    return True


@found_at(View.attentions)
def attention_scaled_twice(product: ir.Node, softmax: ir.Node) -> bool:
    """Both inputs of the scores' product are scaled."""
    return all(_scaled(value) for value in product.inputs[:2])


@found_at(View.attentions)
def attention_scaled_behind(product: ir.Node, softmax: ir.Node) -> bool:
    """The scores are scaled after their product."""
    node = above(softmax.inputs[0], (*LAYOUT, "Add", "Where"))
    return node is not None and node is not product and node.op_type in ("Mul", "Div") and _by_scalar(node)


@found_at(View.attentions)
def attention_quantised(product: ir.Node, softmax: ir.Node) -> bool:
    """Q/DQ between Softmax and the products on both of its sides, or on what these two read."""
    mixes = [node for node in below(softmax.outputs[0], (*LAYOUT, *QUANTISERS)) if node.op_type == "MatMul"]
    inputs = [softmax.inputs[0], *product.inputs[:2], *(value for mix in mixes for value in mix.inputs[:2])]
    makers = [above(value, (*LAYOUT, "Mul", "Div", "Add", "Where")) for value in inputs]
    return any(node is not None and node.op_type == "DequantizeLinear" for node in makers)


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


@found_at(quantisers)
def half_scale(node: ir.Node) -> bool:
    """A scale in fp16."""
    return is_half(node.inputs[1])


@found_at(quantisers)
def zero_point(node: ir.Node) -> bool:
    """A zero point that is not zero."""
    value = array(node.inputs[2]) if len(node.inputs) > 2 else None
    return value is not None and bool(np.any(value != 0))


@found_at(quantisers)
def unsigned(node: ir.Node) -> bool:
    """Bytes without a sign."""
    return "UINT8" in {kind(value) for value in (node.inputs[0], *node.inputs[2:], *node.outputs)}


@found_at(quantisers)
def no_zero_point(node: ir.Node) -> bool:
    """No zero point, by which the type of the bytes is left open."""
    return len(node.inputs) < 3 or node.inputs[2] is None


@found_at(quantisers)
def scale_not_positive(node: ir.Node) -> bool:
    """A scale that is zero, negative or NaN."""
    value = array(node.inputs[1])
    return value is not None and not np.all(value > 0)


@found_at(of("DequantizeLinear"))
def dequantised_type(node: ir.Node, *, types: list[str]) -> bool:
    """Data of one of these types is dequantised."""
    return kind(node.inputs[0]) in types


@found_at(of("QuantizeLinear"))
def activation_per_channel(node: ir.Node) -> bool:
    """An activation that has several scales."""
    return not is_constant(node.inputs[0]) and _scales(node) > 1


@found_at(of("DequantizeLinear"))
def weight_per_tensor(node: ir.Node) -> bool:
    """The weight of a product with a single scale, and none for each channel behind the product (`scales` of this room)."""
    origin = _origin(node) if _scales(node) == 1 else None
    matrix = origin is not None and origin.shape is not None and len(origin.shape) > 1
    return matrix and any(reader.op_type in PRODUCTS and not _scaled_behind(reader) for reader in node.successors())


def _scaled_behind(product: ir.Node) -> bool:
    """Whether everything that reads the product multiplies it by several constants, one a channel."""
    readers = list(below(product.outputs[0]))
    constants = [[array(value) for value in reader.inputs if is_constant(value)] for reader in readers]
    return bool(readers) and all(
        reader.op_type == "Mul" and any(each is not None and each.size > 1 for each in group)
        for reader, group in zip(readers, constants, strict=True)
    )


@found_at(of("Cast"))
def cast_behind_dequantise(node: ir.Node) -> bool:
    """A Cast between a DequantizeLinear and a product."""
    made = maker(node.inputs[0])
    if made is None or made.op_type != "DequantizeLinear":
        return False
    return any(reader.op_type in PRODUCTS for reader in below(node.outputs[0], ("Transpose", "Identity")))


@found_at(of(*PRODUCTS))
def half_a_pair(node: ir.Node) -> bool:
    """A product of which one input is quantised and the other is not."""
    quantised = [_dequantised(value) for value in node.inputs[:2]]
    return any(quantised) and not all(quantised)


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
    """The places where a pattern is found, each once. In a graph whose structure is broken, only `FLAT` patterns are looked
    for."""
    if view.broken and name not in FLAT:
        return ()
    return tuple(dict.fromkeys(PATTERNS[name](view, **parameters)))
