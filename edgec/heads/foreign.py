"""Heads that are ONNX files: any graph whose inputs are named after the hub graph's outputs.

Requires operations of ONNX's own set, float32 inputs, and weights in the file or in `HEAD.onnx.data`; ensures the hub graph's
opset, static shapes, and nothing that the hub graph's contract forbids. Shapes that the head works out as it runs are folded once
its inputs have theirs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from edgec.errors import HeadError
from edgec.graph.contract import FORBIDDEN, OPSET
from edgec.graph.files import LIMIT
from edgec.graph.protobuf import shape_of
from edgec.heads.description import checked, from_texts
from edgec.heads.folding import TooLarge, folded, without_expand
from edgec.heads.kinds import description
from edgec.heads.opsets import converted, opset_of
from edgec.heads.outside import check_values, take_in
from edgec.heads.plain import plain
from edgec.heads.types import FOREIGN, TWO_CLASSES, Head, Output
from edgec.text import listed, shown
from edgec.untrusted import Refused, read_bytes

_READABLE = re.compile(r"cls|patches|registers|patches_\d{1,3}")
_RANKS: Mapping[Output, int] = {"scores": 2, "labels": 3, "logits": 4, "depth": 3}
_NUMBERS = (TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.FLOAT)
_DICE = re.compile("Random|Bernoulli|Multinomial")
_AGAIN = "export it again with torch.onnx.export, and compare it with onnx.checker's opinion"
_COUNTS = (TensorProto.INT64, TensorProto.INT32, TensorProto.UINT8, TensorProto.INT8, TensorProto.BOOL)
MOST_NODES = 10_000
"""Operations of a head, its functions written out. A DPT decoder has some 300."""
Shape = tuple[int, ...]


def read_onnx(name: str, path: Path, digest: str, stated: Mapping[str, Any], toml: Path | None) -> Head:
    """Raises `HeadError` for a file that is no ONNX graph, is not whole in itself, or reads what no backbone gives."""
    model = _opened(path)
    said = {entry.key: entry.value for entry in model.metadata_props if entry.key in description().model_fields}
    described = checked({"kind": FOREIGN, **from_texts(said), **stated}, str(toml or path))
    if described.kind != FOREIGN:
        raise HeadError(f"{shown(toml or path)} says {described.kind}, but {shown(path.name)} is an ONNX graph.")
    reads = tuple(_inputs(model))
    strange = [each for each in reads if not _READABLE.fullmatch(each)]
    if strange or not reads:
        raise HeadError(
            f"{shown(path)} reads something else than the backbone's features.",
            evidence=f"its inputs: {listed(reads) or 'none'}",
            remedy="name its inputs cls, patches, registers, or patches_K for the patches after block K, when exporting it",
        )
    if not model.graph.output:
        raise HeadError(f"{shown(path)} has no outputs.")
    numbers = sorted(int(each.removeprefix("patches_")) for each in reads if each.startswith("patches_"))
    if described.layers and list(described.layers) != numbers:
        raise HeadError(
            f"{shown(toml or path)} says other layers than the graph reads.",
            evidence=f"layers {list(described.layers)}; its inputs: {listed(reads)}",
            remedy="leave `layers` away: the inputs' names say it",
        )
    output: Output = described.output or "values"
    if len(model.graph.output) > 1 and output != "values":
        raise HeadError(
            f"{shown(path)} has several outputs, of which one cannot be told to be the {output}.",
            evidence=listed(each.name for each in model.graph.output),
            remedy="give a head with one output, or leave `output` away: all are then plain values",
        )
    return Head(name, str(path), digest, described, reads, output, graph=model.SerializeToString(deterministic=True))


def output_names(head: Head) -> dict[str, str]:
    """From the names of the file's outputs to those in the graph: the head's own, or `NAME_OUTPUT` where there are several."""
    names = [value.name for value in onnx.ModelProto.FromString(head.graph).graph.output]
    if len(names) == 1:
        return {names[0]: head.name}
    found = {name: f"{head.name}_{re.sub(r'[^A-Za-z0-9_]', '_', name)}" for name in names}
    if len(set(found.values())) != len(found):
        raise HeadError(f"Two outputs of the head {head.name} would have one name.", evidence=listed(found))
    return found


def check_onnx(head: Head, shapes: Mapping[str, Shape]) -> None:
    """Raises `HeadError` if the head cannot be merged with features of these shapes."""
    prepared(head, shapes)


def prepared(head: Head, shapes: Mapping[str, Shape]) -> onnx.ModelProto:
    """The head's graph in the hub graph's opset, for inputs of these shapes, every tensor's shape known.

    Raises `HeadError` with both shapes where the head was made for others, and for what cannot be converted, folded or allowed.
    """
    model = onnx.ModelProto.FromString(head.graph)
    for value in _inputs(model).values():
        _give_shape(head, value, shapes[value.name])
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    # Before, so that nothing is left to convert of how shapes are worked out; behind, for what the conversion added.
    model = _simplified(head, _converted(head, _simplified(head, model)))
    model = _simplified(head, plain(without_expand(model)))
    _check(head, model, batch=shapes[head.inputs[0]][0])
    return model


def _opened(path: Path) -> onnx.ModelProto:
    import onnx.inliner

    try:
        content = read_bytes(path, LIMIT)
    except (Refused, OSError) as error:
        raise HeadError(f"The head {shown(path)} cannot be read.", evidence=f"it {shown(error)}") from error
    if not content:
        raise HeadError(f"{shown(path)} is empty.", evidence="0 bytes", remedy=_AGAIN)
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(content)
    except Exception as error:  # protobuf's own errors, of bytes from outside
        raise HeadError(f"{shown(path)} is no ONNX graph.", evidence=shown(error), remedy=_AGAIN) from error
    take_in(model, path)
    if model.graph.sparse_initializer:
        raise HeadError(f"{shown(path)} has sparse weights.", remedy="export it with dense ones")
    _check_length(model, path)
    try:
        check_values(model)
        onnx.checker.check_model(model)
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
        _turn_axes(model)
        model = _without_unused(model)
    except Exception as error:
        raise HeadError(f"{shown(path)} is no valid ONNX graph.", evidence=_first_line(error), remedy=_AGAIN) from error
    for entry in model.graph.initializer:
        value = onnx.numpy_helper.to_array(entry)
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise HeadError(f"{shown(path)} holds NaN or infinity.", evidence=f"in {shown(entry.name)}")
    foreign = sorted({node.domain for node in model.graph.node if node.domain not in ("", "ai.onnx")})
    if foreign:
        raise HeadError(
            f"{shown(path)} has operations that are not ONNX's own.",
            evidence=f"of the domains {listed(foreign)}",
            remedy="export it without custom operations and before any optimiser of a runtime",
        )
    return model


def _check_length(model: onnx.ModelProto, path: Path) -> None:
    """Functions may call functions ten times each: how long the graph is becomes known before they are written out."""
    functions = {(each.domain, each.name): each for each in model.functions}
    lengths: dict[tuple[str, str], int] = {}

    def length(nodes: Iterable[onnx.NodeProto], inside: frozenset[tuple[str, str]]) -> int:
        total = 0
        for node in nodes:
            called = (node.domain, node.op_type)
            if called in inside:
                raise HeadError(f"{shown(path)} has a function that calls itself.", evidence=shown(node.op_type), remedy=_AGAIN)
            if called in functions and called not in lengths:
                lengths[called] = length(functions[called].node, inside | {called})
            total += lengths.get(called, 1)
            for attribute in node.attribute:
                for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                    total += length(graph.node, inside)
        return total

    found = length(model.graph.node, frozenset())
    if found > MOST_NODES:
        raise HeadError(f"{shown(path)} is too long for a head.", evidence=f"{found:,} operations; {MOST_NODES:,} is the most")


def _turn_axes(model: onnx.ModelProto) -> None:
    """PyTorch's older exporter writes `movedim(-1, 1)` as a permutation with -1 in it, which ONNX does not know."""
    for node in model.graph.node:
        for attribute in node.attribute if node.op_type == "Transpose" else ():
            if attribute.name == "perm" and any(-len(attribute.ints) <= axis < 0 for axis in attribute.ints):
                attribute.ints[:] = [axis % len(attribute.ints) for axis in attribute.ints]


def _without_unused(model: onnx.ModelProto) -> onnx.ModelProto:
    """What no output needs, runtimes would compute all the same."""
    import onnx_ir as ir
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    graph = ir.from_proto(model)
    RemoveUnusedNodesPass()(graph)
    return ir.to_proto(graph)


def _inputs(model: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    """What is fed: older files list their constants among the inputs too."""
    constants = {entry.name for entry in model.graph.initializer}
    return {value.name: value for value in model.graph.input if value.name not in constants}


def _give_shape(head: Head, value: onnx.ValueInfoProto, shape: Shape) -> None:
    tensor = value.type.tensor_type
    if tensor.elem_type != TensorProto.FLOAT:
        kind = TensorProto.DataType.Name(tensor.elem_type)
        raise HeadError(
            f"The head {head.name} takes {value.name} as {kind}; the backbone gives FLOAT.",
            evidence=f"head: {shown(head.path)}",
            remedy="export it in float32: precisions are edgec's business",
        )
    dims = tensor.shape.dim
    stated = [dim.dim_value if dim.HasField("dim_value") else None for dim in dims]
    known = tensor.HasField("shape")
    if known and (len(stated) != len(shape) or any(a not in (None, b) for a, b in zip(stated, shape, strict=True))):
        spoken = ", ".join("?" if side is None else str(side) for side in stated)
        raise HeadError(
            f"The head {head.name} does not fit this backbone.",
            evidence=(
                f"it was made for {value.name} [{spoken}]; here it is [{', '.join(map(str, shape))}]",
                f"head: {shown(head.path)}",
            ),
            remedy="use the backbone and the frame size that the head was exported for, or export it with open dimensions",
        )
    del dims[:]
    for side in shape:
        dims.add().dim_value = side


def _converted(head: Head, model: onnx.ModelProto) -> onnx.ModelProto:
    version = opset_of(model)
    try:
        return converted(model)
    except Exception as error:
        raise HeadError(
            f"The head {head.name} cannot be converted from opset {version} to {OPSET}.",
            evidence=(f"head: {shown(head.path)}", _first_line(error)),
            remedy=f"export it with opset {OPSET}",
        ) from error


def _simplified(head: Head, model: onnx.ModelProto) -> onnx.ModelProto:
    """What follows from shapes and constants alone, worked out."""
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
            evidence=(f"head: {shown(head.path)}", _first_line(error)),
            remedy="check which features, of which width and grid, it was made for",
        ) from error


def _check(head: Head, model: onnx.ModelProto, *, batch: int) -> None:
    graph, broken = model.graph, []
    constant = {entry.name for entry in graph.initializer}
    for kind in sorted({node.op_type for node in graph.node if node.op_type in FORBIDDEN}):
        nodes = [node for node in graph.node if node.op_type == kind]
        failed = [node.name or node.output[0] for node in nodes if constant.issuperset(filter(None, node.input))]
        why = f"which cannot be worked out: {listed(failed)}" if failed else _WHY.get(kind, _OPEN)
        broken.append(f"it has {kind} nodes, {why}")
    texts = [value.name for value in graph.value_info if value.type.tensor_type.elem_type == TensorProto.STRING]
    broken += [f"text in {listed(texts)}"] if texts else []
    broken += [
        f"{node.op_type} holds a graph of its own"
        for node in graph.node
        if node.op_type not in FORBIDDEN and any(each.HasField("g") or each.graphs for each in node.attribute)
    ]
    dice = sorted({node.op_type for node in graph.node if _DICE.match(node.op_type)})
    broken += [f"it has {kind} nodes, whose results are never twice the same" for kind in dice]
    known = {value.name for value in (*graph.input, *graph.output, *graph.value_info) if _is_static(value)}
    open_shapes = [name for node in graph.node for name in node.output if name and name not in known]
    if open_shapes:
        broken.append(f"shapes are not static: {listed(open_shapes)}")
    for value in graph.output:
        kind, shape = value.type.tensor_type.elem_type, shape_of(value)
        if kind not in (*_NUMBERS, *_COUNTS):
            broken.append(f"its output {shown(value.name)} is {TensorProto.DataType.Name(kind)}")
        if shape is not None and 0 in shape:
            broken.append(f"its output {shown(value.name)} is {list(shape)}: empty")
        elif shape is not None and shape[:1] != (batch,):
            broken.append(f"its output {shown(value.name)} is {list(shape)}; its first side must be the batch's, {batch}")
        rank = _RANKS.get(head.output)
        if shape is not None and rank is not None and len(shape) != rank:
            broken.append(f"its output is {list(shape)}; {head.output} have {rank} dimensions")
        elif head.output in ("scores", "logits") and shape is not None and shape[1] == 1:
            broken.append(f"its {head.output} are of one class, which is then always the best: {TWO_CLASSES}")
        elif head.classes and head.output in ("scores", "logits") and shape is not None and shape[1] != len(head.classes):
            broken.append(f"it names {len(head.classes)} classes and gives {shape[1]}")
    if broken:
        raise HeadError(
            f"The head {head.name} cannot be merged into the graph.",
            evidence=(f"head: {shown(head.path)}", *broken),
            remedy="export it so that what it computes, and how much of it, does not depend on what a frame shows",
        )


_OPEN = "whose result's shape depends on what a frame shows; edgec's graphs have fixed shapes"
_WHY = {
    "If": "which choose a branch by what a frame shows; edgec's graphs compute the same for every frame",
    "Loop": "which edgec's graphs cannot hold",
    "Scan": "which edgec's graphs cannot hold",
}
"""Why what is left of an operation that the hub graph must not have could not be folded."""


def _is_static(value: onnx.ValueInfoProto) -> bool:
    return value.type.tensor_type.HasField("shape") and shape_of(value) is not None


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return shown(f"{type(error).__name__}: {lines[0] if lines else 'no message'}")
