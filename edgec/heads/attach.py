"""Merge heads into the hub graph: one pass of the backbone for all of them.

Requires the hub graph with every feature that some head reads among its outputs (`edgec.heads.layers_needed`); ensures that the
result keeps the hub graph's promises but for the outputs, which are those features that were asked for and the heads' own. Every
node, tensor and constant of a head is called `heads.NAME.…`. What no output needs is gone.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from edgec.errors import ExportError, HeadError, RequestError
from edgec.graph.contract import FORBIDDEN, OPSET
from edgec.graph.files import LIMIT
from edgec.graph.operations import HEADS
from edgec.graph.protobuf import prune, refill, shape_of, weight_bytes
from edgec.heads.exporting import exported
from edgec.heads.fitting import check_inputs
from edgec.heads.foreign import output_names, prepared
from edgec.heads.types import FOREIGN, Head
from edgec.model.spec import Size
from edgec.text import shown

METADATA: Final = "edgec.heads"
"""Where a graph says what its heads are, as JSON: by name, `Head.facts`."""
FEATURES: Final = ("cls", "patches", "registers")
Shape = tuple[int, ...]


def attach(hub: onnx.ModelProto, heads: Sequence[Head], *, features: bool = True, layers: Sequence[int] = ()) -> onnx.ModelProto:
    """A new graph, with each head's output under its name behind the features. `layers` are the intermediate layers that were
    asked for as outputs; others, exported for heads alone, stay inside. `features=False` leaves the heads' outputs alone.

    Raises `RequestError` if nothing would be left, `HeadError` if a head does not fit the graph's features, `ExportError` if the
    result breaks a promise.
    """
    if not heads and not features:
        raise RequestError("Without features and without heads there is nothing to compute.", remedy="give --head NAME=PATH")
    model = onnx.ModelProto()
    model.CopyFrom(hub)
    graph = model.graph
    given = {value.name: shape for value in graph.output if (shape := shape_of(value)) is not None}
    frames = shape_of(graph.input[0])
    assert frames is not None
    _check_names(graph, heads)
    for head in heads:
        check_inputs(head, given, f"gives {', '.join(f'{name} {list(shape)}' for name, shape in given.items())}")
    added = _merged(graph, heads, given, Size(frames[1], frames[2]))
    shipped = {*FEATURES, *(f"patches_{layer}" for layer in layers)} if features else set()
    outputs = [value for value in graph.output if value.name in shipped]
    inside = [value for value in graph.output if value.name not in shipped]
    graph.value_info.extend(inside)
    refill(graph.output, [*outputs, *added])
    prune(graph)
    if heads:
        _describe(model, heads)
    _check(model)
    return model


def apart(heads: Sequence[Head], given: Mapping[str, Shape], frame: Size) -> dict[str, onnx.ModelProto]:
    """Each head as a graph of its own, by name, its inputs features of these shapes: what a target is asked about before the
    backbone is exported. Nodes are named as in the merged graph.

    Raises `HeadError` if a head does not fit the features.
    """
    graph = onnx.GraphProto(name="heads")
    outputs = _merged(graph, heads, given, frame)
    graphs = {}
    for head in heads:
        own = onnx.GraphProto()
        own.CopyFrom(graph)
        own.input.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, given[name]) for name in head.inputs)
        own.output.extend(value for value in outputs if value.name in head.outputs())
        prune(own)
        graphs[head.name] = helper.make_model(own, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    return graphs


def _merged(graph: onnx.GraphProto, heads: Sequence[Head], given: Mapping[str, Shape], frame: Size) -> list[onnx.ValueInfoProto]:
    """Nodes, constants and shapes of all heads, put into the graph; returns their outputs, in the heads' order."""
    outputs: dict[str, onnx.ValueInfoProto] = {}
    if own := [head for head in heads if head.kind != FOREIGN]:
        made = ir.to_proto(exported(own, given, frame)).graph
        graph.node.extend(made.node)
        graph.initializer.extend(made.initializer)
        graph.value_info.extend(made.value_info)
        outputs |= {value.name: value for value in made.output}
    for head in heads:
        if head.kind == FOREIGN:
            spliced = _spliced(graph, head, dict(given))
            _check_maps(head, spliced, (frame.height, frame.width))
            outputs |= {value.name: value for value in spliced}
    return [outputs[name] for head in heads for name in head.outputs()]


def _spliced(graph: onnx.GraphProto, head: Head, given: dict[str, tuple[int, ...]]) -> list[onnx.ValueInfoProto]:
    """An ONNX head, renamed. Each output is made by a node of its own: the head may hand over what it also reads."""
    model = prepared(head, given)
    names = {name: name for name in head.inputs}

    def renamed(name: str) -> str:
        return names.setdefault(name, f"{HEADS}{head.name}.{name}") if name else ""

    for initializer in model.graph.initializer:
        initializer.name = renamed(initializer.name)
        graph.initializer.append(initializer)
    for number, node in enumerate(model.graph.node):
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        _replace_names(copy, [renamed(name) for name in node.input], [renamed(name) for name in node.output])
        copy.name, copy.doc_string = f"{HEADS}{head.name}.{node.op_type.lower()}{number}", ""
        del copy.metadata_props[:]
        graph.node.append(copy)
    for value in model.graph.value_info:
        if value.name in names and value.name not in head.inputs:
            graph.value_info.append(_value(value, names[value.name]))
    found = []
    outputs = output_names(head)
    for value in model.graph.output:
        name, kind, shape = outputs[value.name], value.type.tensor_type.elem_type, shape_of(value)
        inner = renamed(value.name)
        if value.name not in head.inputs:
            graph.value_info.append(_value(value, inner))
        wanted = _element(head)
        node_name = f"{HEADS}{head.name}.out.{name}"
        assert shape is not None
        if len(shape) == 1:  # one number a frame, as scikit-learn's labels: a vector of one
            axis = numpy_helper.from_array(np.array([1], np.int64), f"{node_name}.axis")
            graph.initializer.append(axis)
            row, shape = f"{node_name}.row", (*shape, 1)
            graph.node.append(helper.make_node("Unsqueeze", [inner, axis.name], [row], name=row))
            graph.value_info.append(helper.make_tensor_value_info(row, kind, shape))
            inner = row
        if kind == wanted:
            graph.node.append(helper.make_node("Identity", [inner], [name], name=node_name))
        else:
            graph.node.append(helper.make_node("Cast", [inner], [name], name=node_name, to=wanted))
        found.append(helper.make_tensor_value_info(name, wanted, shape))
    return found


def _check_names(graph: onnx.GraphProto, heads: Sequence[Head]) -> None:
    """Raises `RequestError` for an output that has the name of one of the backbone's own tensors."""
    taken = {name for node in graph.node for name in node.output} | {each.name for each in graph.initializer}
    for head in heads:
        for name in head.outputs():
            if name in taken:
                raise RequestError(
                    f"A head's output cannot be called {name}.",
                    evidence=f"the backbone has a tensor of that name; head: {shown(head.path)}",
                    remedy=f"give it another, as in --head my_{head.name}=…",
                )


def _check_maps(head: Head, outputs: Sequence[onnx.ValueInfoProto], frame: tuple[int, int]) -> None:
    """A map a patch would be compared, drawn and deployed as if it were the frame's. Raises `HeadError`."""
    if head.output not in ("labels", "logits", "depth"):
        return
    for value in outputs:
        shape = shape_of(value)
        if value.name in head.outputs() and shape is not None and shape[-2:] != frame:
            raise HeadError(
                f"The head {head.name} says that it gives {head.output}, which are of every pixel of the frame.",
                evidence=(
                    f"{value.name} is {list(shape)}, of {'x'.join(map(str, shape[-2:]))}; the frame is {frame[0]}x{frame[1]}",
                    f"head: {shown(head.path)}",
                ),
                remedy='resize them in the head, as [N, C, H, W] or [N, H, W]; or say output = "values"',
            )


def _element(head: Head) -> int:
    """What manifests, golden frames and runners take a head's outputs for, whatever an ONNX head makes."""
    return int(TensorProto.INT32 if head.output == "labels" else TensorProto.FLOAT)


def _value(value: onnx.ValueInfoProto, name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, value.type.tensor_type.elem_type, shape_of(value))


def _replace_names(node: onnx.NodeProto, inputs: list[str], outputs: list[str]) -> None:
    node.input[:] = inputs
    node.output[:] = outputs


def _describe(model: onnx.ModelProto, heads: Sequence[Head]) -> None:
    entry = model.metadata_props.add()
    entry.key = METADATA
    entry.value = json.dumps({head.name: head.facts for head in heads}, sort_keys=True)


def _check(model: onnx.ModelProto) -> None:
    """The hub graph's promises, but for its outputs. Raises `ExportError` listing what is broken."""
    graph, broken = model.graph, []
    opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    if opsets != {"ai.onnx": OPSET}:
        broken.append(f"operator sets {opsets}, not ai.onnx {OPSET} alone")
    kinds = Counter(node.op_type for node in graph.node)
    broken += [f"{kinds[kind]} {kind} node(s)" for kind in FORBIDDEN if kinds[kind]]
    broken += [f"two nodes are named {name}" for name, count in Counter(node.name for node in graph.node).items() if count > 1]
    known = {value.name: shape_of(value) for value in (*graph.input, *graph.output, *graph.value_info)}
    broken += [f"{name} has no static shape" for node in graph.node for name in node.output if name and known.get(name) is None]
    if weight_bytes(model) < LIMIT:  # the checker cannot take more than protobuf can
        try:
            onnx.checker.check_model(model, full_check=True)
        except Exception as error:
            broken.append(str(error).strip().splitlines()[0])
    if broken:
        raise ExportError(
            "The graph with its heads breaks the hub graph's contract.",
            evidence=broken[:8],
            remedy="report this with the heads' kinds and the versions that `edgec doctor` prints",
        )
