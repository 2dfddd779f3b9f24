"""Constant folding within bounds, for graphs that may come from anybody.

Requires static shapes of all inputs. Ensures that shapes which the graph computes as it runs are constants, that a broadcast is
left to the operation that reads it, or is a `Tile`, and that no tensor is larger than `LARGEST_TENSOR`, nor all that are alive at
one time larger than `MOST_HELD`: the size of what is folded is checked before it is computed.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod

import numpy as np
import onnx
import onnx_ir as ir

from edgec.graph.values import input_of, shape_of
from edgec.heads.onnx_heads.editing import Replacement
from edgec.text import counted, shown

LARGEST_TENSOR = 1 << 30
"""Bytes of one tensor, as of a head's maps (`edgec.heads.fitting.LARGEST_MAP`)."""
MOST_HELD = 1 << 31
"""Bytes of all tensors that a runtime must hold at one time, without weights."""
FOLDED_LIMIT = 1 << 28
"""Bytes of everything that is folded in one graph, repetitions included, in addition to twice the size of the file: transposed
weights, masks, grids of coordinates."""
ROUNDS = 4
"""Folding a branch away makes more shapes constant, and these may decide a branch inside it."""
_LEFT = frozenset(
    {
        *("AffineGrid", "AveragePool", "Col2Im", "Conv", "ConvInteger", "ConvTranspose", "DFT", "DeformConv", "DequantizeLinear"),
        *("Einsum", "GRU", "GlobalAveragePool", "GridSample", "ImageDecoder", "LRN", "LSTM", "LpPool", "MaxPool", "MaxRoiPool"),
        *("MaxUnpool", "NonMaxSuppression", "OptionalGetElement", "QuantizeLinear", "RNN", "RegexFullMatch", "Resize"),
        *("RoiAlign", "STFT", "StringConcat", "StringNormalizer", "StringSplit", "TfIdfVectorizer", "Upsample"),
    }
)
"""Never folded: ONNX's reference loops over them in Python, or they are no arithmetic. Runtimes fold them as well."""
_LISTS = frozenset({"NonZero", "Unique", "Compress", "StringSplit"})
"""Operations whose output's shape depends on values: folded only if there are few of these."""
_FEW = 1 << 20
_SPREADING = frozenset(
    {
        *("Add", "And", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Equal", "Greater", "GreaterOrEqual", "Less"),
        *("LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "Pow", "Sub", "Sum", "Where", "Xor"),
    }
)
"""Operations that broadcast their inputs."""

Shape = tuple[int, ...]


class TooLarge(ValueError):
    """The graph makes a tensor that is beyond all bounds. The text says which."""


def folded(model: ir.Model) -> ir.Model:
    """A new model, in the same opset: everything is folded that depends on shapes and constants alone, and all shapes are known
    that can be inferred.

    Raises `TooLarge`, and whatever ONNX raises for a graph whose shapes do not go together.
    """
    from onnx_ir.passes.common import LiftConstantsToInitializersPass, RemoveUnusedNodesPass
    from onnxscript.optimizer import fold_constants

    proto = ir.to_proto(model)
    model = _inferred(proto)
    allowed = _Allowance(FOLDED_LIMIT + 2 * proto.ByteSize())
    for _ in range(ROUNDS):
        with _silenced("onnxscript.optimizer._constant_folding"):
            changed = fold_constants(
                model, onnx_shape_inference=True, should_fold=allowed, output_size_limit=LARGEST_TENSOR
            ).modified
        RemoveUnusedNodesPass()(model)
        if not changed:
            break
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    result = _inferred(ir.to_proto(model))
    _check_sizes(result.graph)
    return result


@contextmanager
def _silenced(name: str) -> Iterator[None]:
    """The folding logs a warning for nodes that cannot be folded, with unescaped text from the file."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _check_sizes(graph: ir.Graph) -> None:
    """Raises `TooLarge` for a tensor that is too large, or for all that are alive at one time."""
    sizes: dict[ir.Value | None, int] = {}
    for value in (*graph.inputs, *(output for node in graph for output in node.outputs)):
        shape = shape_of(value)
        if shape is not None:
            sizes[value] = _bytes(shape, value.dtype)
            if sizes[value] > LARGEST_TENSOR:
                raise TooLarge(f"{shown(value.name)} is {list(shape)}: beyond {counted(LARGEST_TENSOR, 'byte')}")
    last: dict[ir.Value | None, int] = {value: number for number, node in enumerate(graph) for value in node.inputs}
    last |= dict.fromkeys(graph.outputs, len(graph))
    constants: set[ir.Value] = set(graph.initializers.values())
    held = most = 0
    freed: dict[int, int] = {}
    for number, node in enumerate(graph):
        held += sum(sizes.get(value, 0) for value in node.outputs)
        most = max(most, held)
        if constants.issuperset(filter(None, node.inputs)):
            # Runtimes compute these when they load the graph, and keep them.
            constants.update(node.outputs)
        else:
            for value in node.outputs:
                end = last.get(value, number)
                freed[end] = freed.get(end, 0) + sizes.get(value, 0)
        held -= freed.pop(number, 0)
    if most > MOST_HELD:
        raise TooLarge(f"its tensors come to {counted(most, 'byte')} at one time; {counted(MOST_HELD, 'byte')} is the most")


def remove_expand(graph: ir.Graph) -> None:
    """Operations that broadcast read the tensor that was to be expanded; for other readers the expansion becomes a `Tile`."""
    for node in tuple(graph):
        if node.op_type != "Expand":
            continue
        source, output = input_of(node), node.outputs[0]
        before, after = shape_of(source), shape_of(output)
        if before is None or after is None:
            continue
        readers = output.consumers()
        if not output.is_graph_output() and readers and all(_broadcasts(reader, output, source) for reader in readers):
            output.replace_all_uses_with(source)
            graph.remove(node, safe=True)
        else:
            _replace_by_tile(node, before, after)


def _broadcasts(reader: ir.Node, expanded: ir.Value, source: ir.Value) -> bool:
    """Whether the reader's output is the same without the expansion."""
    if reader.op_type not in _SPREADING:
        return False
    read = [source if value is expanded else value for value in reader.inputs]
    shapes = [shape for value in read if value is not None and (shape := shape_of(value)) is not None]
    return len(shapes) == len(read) and np.broadcast_shapes(*shapes) == shape_of(reader.outputs[0])


def _replace_by_tile(node: ir.Node, before: Shape, after: Shape) -> None:
    parts, value = Replacement(node), input_of(node)
    raised = (1,) * (len(after) - len(before)) + before
    if raised != before:
        value = parts.op("Reshape", value, parts.constant(raised))
    repeats = [new // old if old else 1 for old, new in zip(raised, after, strict=True)]
    parts.put(parts.op("Identity", value) if set(repeats) <= {1} else parts.op("Tile", value, parts.constant(repeats)))


class _Allowance:
    """Decides whether a node whose inputs are all constant is folded."""

    def __init__(self, most: int) -> None:
        self._most = self._left = most

    def __call__(self, node: ir.Node) -> bool:
        if node.op_type in _LEFT or len(node.outputs) != 1:
            return False
        if node.op_type in _LISTS:
            read = [value.const_value for value in node.inputs if value is not None]
            return sum(each.nbytes for each in read if each is not None) <= _FEW
        value = node.outputs[0]
        shape = shape_of(value)
        if shape is None or value.dtype is None or value.dtype == ir.DataType.STRING:
            return False
        size = _bytes(shape, value.dtype)
        if size > LARGEST_TENSOR:
            raise TooLarge(f"{node.op_type} would make a constant of {list(shape)}: {counted(size, 'byte')}")
        self._left -= size
        if self._left < 0:
            raise TooLarge(f"its constants come to more than {counted(self._most, 'byte')} when they are worked out")
        return True


def _inferred(proto: onnx.ModelProto) -> ir.Model:
    """With inferred shapes. Without ONNX's propagation of values, which allocates a `Range` of any length: the folding does that
    within bounds. (onnx-ir's own pass keeps silent about errors.)"""
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True))


def _bytes(shape: Shape, kind: ir.DataType | None) -> int:
    """At least one a value. A negative side is what an overflow leaves."""
    if any(side < 0 for side in shape):
        return LARGEST_TENSOR + 1
    measurable = kind is not None and kind not in (ir.DataType.STRING, ir.DataType.UNDEFINED)
    return prod(shape) * (max(math.ceil(kind.itemsize), 1) if kind and measurable else 8)
