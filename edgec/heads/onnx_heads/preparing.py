"""An ONNX head brought to the hub graph's opset, to static shapes and to operations that every runtime has.

Ensures that nothing is left that the hub graph's contract forbids. Shapes that the head computes as it runs are folded once its
inputs have theirs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import onnx
import onnx_ir as ir

from edgec.errors import HeadError
from edgec.graph.contract import FORBIDDEN, OPSET
from edgec.graph.values import name_of, shape_of
from edgec.heads.onnx_heads.editing import forget_shapes
from edgec.heads.onnx_heads.folding import TooLarge, folded, remove_expand
from edgec.heads.onnx_heads.opsets import converted, opset_of
from edgec.heads.onnx_heads.portable import make_portable
from edgec.heads.onnx_heads.reading import fed_inputs, first_line
from edgec.heads.types import TWO_CLASSES, Head, Output
from edgec.text import listed, shown

_RANKS: Mapping[Output, int] = {"scores": 2, "labels": 3, "logits": 4, "depth": 3}
_OUTPUT_TYPES = frozenset(
    {
        *(ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.FLOAT),
        *(ir.DataType.INT64, ir.DataType.INT32, ir.DataType.UINT8, ir.DataType.INT8, ir.DataType.BOOL),
    }
)
_RANDOM = re.compile("Random|Bernoulli|Multinomial")
_OPEN = "whose result's shape depends on what a frame shows; edgec's graphs have fixed shapes"
_WHY = {
    "If": "which choose a branch by what a frame shows; edgec's graphs compute the same for every frame",
    "Loop": "which edgec's graphs cannot hold",
    "Scan": "which edgec's graphs cannot hold",
}
"""By operation, why it could not be folded away; the hub graph must not have any of them."""
Shape = tuple[int, ...]


def check_onnx(head: Head, shapes: Mapping[str, Shape]) -> None:
    """Raises `HeadError` if the head cannot be merged with features of these shapes."""
    prepared(head, shapes)


def prepared(head: Head, shapes: Mapping[str, Shape]) -> ir.Model:
    """The head's graph in the hub graph's opset, for inputs of these shapes, every tensor's shape known.

    Raises `HeadError` with both shapes if the head was made for others, and for what cannot be converted, folded or allowed.
    """
    model = ir.from_proto(onnx.ModelProto.FromString(head.graph))
    for value in fed_inputs(model.graph):
        _set_shape(head, value, shapes[name_of(value)])
    forget_shapes(model.graph)
    # Simplified before the conversion, which then need not convert the computation of shapes, and again after what that added.
    model = _simplified(head, _converted(head, _simplified(head, model)))
    remove_expand(model.graph)
    make_portable(model.graph)
    model = _simplified(head, model)
    _check(head, model.graph, batch=shapes[head.inputs[0]][0])
    return model


def _set_shape(head: Head, value: ir.Value, shape: Shape) -> None:
    if not isinstance(value.type, ir.TensorType) or value.dtype != ir.DataType.FLOAT:
        raise HeadError(
            f"The head {head.name} takes {value.name} as {value.dtype}; the backbone gives FLOAT.",
            evidence=f"head: {shown(head.path)}",
            remedy="export it in float32: edgec chooses the precision",
        )
    stated = None if value.shape is None else [side if isinstance(side, int) else None for side in value.shape]
    if stated is not None and (
        len(stated) != len(shape) or any(old not in (None, new) for old, new in zip(stated, shape, strict=True))
    ):
        sides = ", ".join("?" if side is None else str(side) for side in stated)
        raise HeadError(
            f"The head {head.name} does not fit this backbone.",
            evidence=(
                f"it was made for {value.name} [{sides}]; here it is [{', '.join(map(str, shape))}]",
                f"head: {shown(head.path)}",
            ),
            remedy="use the backbone and the frame size that the head was exported for, or export it with open dimensions",
        )
    value.shape = ir.Shape(shape)


def _converted(head: Head, model: ir.Model) -> ir.Model:
    version = opset_of(model)
    try:
        return converted(model)
    except Exception as error:
        raise HeadError(
            f"The head {head.name} cannot be converted from opset {version} to {OPSET}.",
            evidence=(f"head: {shown(head.path)}", first_line(error)),
            remedy=f"export it with opset {OPSET}",
        ) from error


def _simplified(head: Head, model: ir.Model) -> ir.Model:
    """With everything folded that follows from shapes and constants alone."""
    try:
        return folded(model)
    except TooLarge as error:
        raise HeadError(
            f"The head {head.name} makes a tensor that is too large.",
            evidence=(f"head: {shown(head.path)}", shown(error)),
            remedy="use a smaller --input-size, or export the head without it",
        ) from error
    except Exception as error:
        raise HeadError(
            f"The shapes in the head {head.name} do not go together, or not with the backbone's features.",
            evidence=(f"head: {shown(head.path)}", first_line(error)),
            remedy="check which features, of which width and grid, it was made for",
        ) from error


def _check(head: Head, graph: ir.Graph, *, batch: int) -> None:
    """Raises `HeadError` listing everything that keeps the graph from being merged."""
    broken = []
    for kind in sorted({node.op_type for node in graph if node.op_type in FORBIDDEN}):
        nodes = [node for node in graph if node.op_type == kind]
        failed = [name_of(node) for node in nodes if all(value.is_initializer() for value in node.inputs if value is not None)]
        why = f"which cannot be worked out: {listed(failed)}" if failed else _WHY.get(kind, _OPEN)
        broken.append(f"it has {kind} nodes, {why}")
    made = [value for node in graph for value in node.outputs if value.name]
    texts = [name_of(value) for value in made if value.dtype == ir.DataType.STRING]
    broken += [f"text in {listed(texts)}"] if texts else []
    broken += [
        f"{node.op_type} holds a graph of its own"
        for node in graph
        if node.op_type not in FORBIDDEN
        and any(each.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for each in node.attributes.values())
    ]
    random = sorted({node.op_type for node in graph if _RANDOM.match(node.op_type)})
    broken += [f"it has {kind} nodes, whose results are never twice the same" for kind in random]
    open_shapes = [name_of(value) for value in made if shape_of(value) is None]
    if open_shapes:
        broken.append(f"shapes are not static: {listed(open_shapes)}")
    for value in graph.outputs:
        broken += _check_output(head, value, batch)
    if broken:
        raise HeadError(
            f"The head {head.name} cannot be merged into the graph.",
            evidence=(f"head: {shown(head.path)}", *broken),
            remedy="export it so that what it computes, and how much of it, does not depend on what a frame shows",
        )


def _check_output(head: Head, value: ir.Value, batch: int) -> list[str]:
    """What is wrong with one of the outputs."""
    broken, shape = [], shape_of(value)
    if value.dtype not in _OUTPUT_TYPES:
        broken.append(f"its output {shown(value.name)} is {value.dtype}")
    if shape is None:
        return broken
    if 0 in shape:
        broken.append(f"its output {shown(value.name)} is {list(shape)}: empty")
    elif shape[:1] != (batch,):
        broken.append(f"its output {shown(value.name)} is {list(shape)}; its first side must be the batch's, {batch}")
    rank = _RANKS.get(head.output)
    if rank is not None and len(shape) != rank:
        broken.append(f"its output is {list(shape)}; {head.output} have {rank} dimensions")
    elif head.output in ("scores", "logits") and shape[1] == 1:
        broken.append(f"its {head.output} are of one class, which is then always the best: {TWO_CLASSES}")
    elif head.classes and head.output in ("scores", "logits") and shape[1] != len(head.classes):
        broken.append(f"it names {len(head.classes)} classes and gives {shape[1]}")
    return broken
