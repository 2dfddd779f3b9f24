"""What follows from static shapes and constants alone, worked out, in graphs that anybody may have written.

Requires static shapes of all inputs. Ensures that shapes which the graph works out as it runs are constants, that a broadcast is
left to the operation that reads it, or is a `Tile`, and that no tensor is larger than `LARGEST_TENSOR`, nor all that are held
at once larger than `MOST_HELD`: what is folded is bounded by bytes before it is computed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from edgec.graph.protobuf import refill, shape_of
from edgec.text import counted, shown

LARGEST_TENSOR = 1 << 30
"""Bytes of one tensor, as of a head's maps (`edgec.heads.fitting.LARGEST_MAP`)."""
MOST_HELD = 1 << 31
"""Bytes of all tensors that a runtime must hold at one time, weights aside."""
FOLDED_LIMIT = 1 << 28
"""Bytes of everything that is folded in one graph, what is folded again included, beside twice the size of the file: transposed
weights, masks, grids of coordinates."""
ROUNDS = 4
"""A branch that folds away leaves shapes to be folded, and those a branch inside it."""
_LEFT = frozenset(
    {
        *("AffineGrid", "AveragePool", "Col2Im", "Conv", "ConvInteger", "ConvTranspose", "DFT", "DeformConv", "DequantizeLinear"),
        *("Einsum", "GRU", "GlobalAveragePool", "GridSample", "ImageDecoder", "LRN", "LSTM", "LpPool", "MaxPool", "MaxRoiPool"),
        *(
            "MaxUnpool",
            "NonMaxSuppression",
            "OptionalGetElement",
            "QuantizeLinear",
            "RNN",
            "RegexFullMatch",
            "Resize",
            "RoiAlign",
        ),
        *("STFT", "StringConcat", "StringNormalizer", "StringSplit", "TfIdfVectorizer", "Upsample"),
    }
)
"""Never folded: ONNX's reference loops over them in Python, or they are no arithmetic. Runtimes fold them as well."""
_LISTS = frozenset({"NonZero", "Unique", "Compress", "StringSplit"})
"""The one kind whose shape follows from values: folded where these are few."""
_FEW = 1 << 20
_SPREADING = frozenset(
    {
        *("Add", "And", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Equal", "Greater", "GreaterOrEqual", "Less"),
        *("LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "Pow", "Sub", "Sum", "Where", "Xor"),
    }
)
"""They broadcast what they read themselves."""

Shape = tuple[int, ...]


class TooLarge(ValueError):
    """The graph makes a tensor that is beyond all bounds. The text is a fact about it."""


def folded(model: onnx.ModelProto) -> onnx.ModelProto:
    """A new model, in the model's own opset, with every shape that can be known among its `value_info`.

    Raises `TooLarge`, and whatever ONNX raises of a graph whose shapes do not go together.
    """
    from onnx_ir.passes.common import LiftConstantsToInitializersPass, RemoveUnusedNodesPass
    from onnxscript.optimizer import fold_constants

    graph = ir.from_proto(_inferred(model))
    allowed = _Allowance(FOLDED_LIMIT + 2 * model.ByteSize())
    for _ in range(ROUNDS):
        with _unheard("onnxscript.optimizer._constant_folding"):
            changed = fold_constants(
                graph, onnx_shape_inference=True, should_fold=allowed, output_size_limit=LARGEST_TENSOR
            ).modified
        RemoveUnusedNodesPass()(graph)
        if not changed:
            break
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(graph)
    result = _inferred(ir.to_proto(graph))
    _check_sizes(result)
    return result


@contextmanager
def _unheard(name: str) -> Iterator[None]:
    """It warns of nodes that cannot be folded, quoting the file as it is."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _check_sizes(model: onnx.ModelProto) -> None:
    """Raises `TooLarge` for a tensor that is, of those whose shapes are known, or for all together."""
    graph = model.graph
    sizes: dict[str, int] = {}
    for value in (*graph.value_info, *graph.input, *graph.output):
        shape = shape_of(value) if value.type.tensor_type.HasField("shape") else None
        if shape is not None:
            sizes[value.name] = _bytes(shape, value.type.tensor_type.elem_type)
            if sizes[value.name] > LARGEST_TENSOR:
                raise TooLarge(f"{shown(value.name)} is {list(shape)}: beyond {counted(LARGEST_TENSOR, 'byte')}")
    last = {name: number for number, node in enumerate(graph.node) for name in node.input}
    last |= dict.fromkeys((value.name for value in graph.output), len(graph.node))
    constant = {entry.name for entry in graph.initializer}
    held = most = 0
    freed: dict[int, int] = {}
    for number, node in enumerate(graph.node):
        made = sum(sizes.get(name, 0) for name in node.output)
        held += made
        most = max(most, held)
        if all(name in constant for name in node.input if name):
            # Runtimes compute these when they load the graph, and keep them.
            constant.update(node.output)
        else:
            for name in node.output:
                end = last.get(name, number)
                freed[end] = freed.get(end, 0) + sizes.get(name, 0)
        held -= freed.pop(number, 0)
    if most > MOST_HELD:
        raise TooLarge(f"its tensors come to {counted(most, 'byte')} at one time; {counted(MOST_HELD, 'byte')} is the most")


def without_expand(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model, changed: operations that broadcast by themselves read what was to be expanded; where another reads it, the
    expansion is a `Tile`."""
    graph = model.graph
    shapes = {
        each.name: shape for each in (*graph.value_info, *graph.input, *graph.output) if (shape := shape_of(each)) is not None
    }
    shapes |= {entry.name: tuple(entry.dims) for entry in graph.initializer}
    outputs = {value.name for value in graph.output}
    nodes: list[onnx.NodeProto] = []
    for number, node in enumerate(graph.node):
        source, result = (shapes.get(name) for name in (node.input[0], node.output[0])) if node.input else (None, None)
        if node.op_type != "Expand" or source is None or result is None:
            nodes.append(node)
            continue
        readers = [each for each in graph.node if node.output[0] in each.input]
        if node.output[0] not in outputs and readers and all(_spreads(each, node, shapes) for each in readers):
            for each in readers:
                each.input[:] = [node.input[0] if name == node.output[0] else name for name in each.input]
            continue
        nodes += _tiled(node, source, result, f"{node.output[0]}.expand{number}", graph)
    refill(graph.node, nodes)
    return model


def _spreads(reader: onnx.NodeProto, expand: onnx.NodeProto, shapes: Mapping[str, Shape]) -> bool:
    """Whether the reader gives the same without the expansion."""
    if reader.op_type not in _SPREADING:
        return False
    read = [shapes.get(expand.input[0] if name == expand.output[0] else name) for name in reader.input]
    if any(shape is None for shape in read):
        return False
    return np.broadcast_shapes(*(shape for shape in read if shape is not None)) == shapes.get(reader.output[0])


def _tiled(node: onnx.NodeProto, source: Shape, result: Shape, stem: str, graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    made, name = [], node.input[0]

    def constant(value: Shape, what: str) -> str:
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), f"{stem}.{what}"))
        return f"{stem}.{what}"

    raised = (1,) * (len(result) - len(source)) + source
    if raised != source:
        inner = f"{stem}.raised"
        made.append(helper.make_node("Reshape", [name, constant(raised, "shape")], [inner], name=inner))
        name = inner
    repeats = tuple(new // old if old else 1 for old, new in zip(raised, result, strict=True))
    if set(repeats) <= {1}:
        return [*made, helper.make_node("Identity", [name], [node.output[0]], name=f"{stem}.same")]
    return [*made, helper.make_node("Tile", [name, constant(repeats, "repeats")], [node.output[0]], name=f"{stem}.tile")]


class _Allowance:
    """Whether a node whose inputs are all constant is folded."""

    def __init__(self, most: int) -> None:
        self._most = self._left = most

    def __call__(self, node: ir.Node) -> bool:
        if node.op_type in _LEFT or len(node.outputs) != 1:
            return False
        if node.op_type in _LISTS:
            read = [value.const_value for value in node.inputs if value is not None]
            return sum(each.nbytes for each in read if each is not None) <= _FEW
        value = node.outputs[0]
        if value.shape is None or not value.shape.is_static() or value.dtype is None or value.dtype == ir.DataType.STRING:
            return False
        size = _bytes(tuple(int(side) for side in value.shape.numpy()), value.dtype.value)
        if size > LARGEST_TENSOR:
            raise TooLarge(f"{node.op_type} would make a constant of {list(value.shape.numpy())}: {counted(size, 'byte')}")
        self._left -= size
        if self._left < 0:
            raise TooLarge(f"its constants come to more than {counted(self._most, 'byte')} when they are worked out")
        return True


def _inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without ONNX's propagation of values, which takes room for a `Range` of any length. The folding does it, within bounds."""
    found: onnx.ModelProto = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    return found


def _bytes(shape: Shape, kind: int) -> int:
    """Half-bytes are counted as bytes. A negative side is what an overflow leaves."""
    if any(side < 0 for side in shape):
        return LARGEST_TENSOR + 1
    try:
        width = helper.tensor_dtype_to_np_dtype(kind).itemsize if kind != TensorProto.STRING else 8
    except (KeyError, TypeError, ValueError):
        width = 8
    return prod(shape) * max(width, 1)
