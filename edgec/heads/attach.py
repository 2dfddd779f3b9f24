"""Merge heads into the hub graph: one pass of the backbone for all of them.

Requires the hub graph with every feature that some head reads among its outputs (`edgec.heads.layers_needed`). Ensures that the
result keeps the hub graph's promises but for the outputs, which are the requested features and the heads' own. Every node, tensor
and constant of a head is called `heads.NAME.…`. Nothing is left that no output needs.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import CheckerPass, RemoveUnusedNodesPass

from edgec.errors import ExportError, HeadError, RequestError
from edgec.graph.contract import FORBIDDEN, OPSET
from edgec.graph.operations import HEADS
from edgec.graph.passes.base import namesakes
from edgec.graph.values import add_constant, name_of, shape_of
from edgec.heads.exporting import exported
from edgec.heads.fitting import check_inputs
from edgec.heads.onnx_heads.preparing import prepared
from edgec.heads.types import ONNX, Head
from edgec.model.spec import Size
from edgec.text import shown

METADATA: Final = "edgec.heads"
"""The key of the graph's metadata under which the heads are described, as JSON: by name, `Head.facts`."""
FEATURES: Final = ("cls", "patches", "registers")
Shape = tuple[int, ...]
Values = Mapping[str, ir.Value]


def attach(hub: ir.Model, heads: Sequence[Head], *, features: bool = True, layers: Sequence[int] = ()) -> ir.Model:
    """A new graph, with each head's output under its name after the features. `layers` are the intermediate layers that are
    outputs too; others, exported for heads alone, stay inside. With `features=False` the heads' outputs are the only ones.

    Raises `RequestError` if there would be no outputs, `HeadError` if a head does not fit the graph's features, `ExportError` if
    the result breaks a promise.
    """
    if not heads and not features:
        raise RequestError("Without features and without heads there is nothing to compute.", remedy="give --head NAME=PATH")
    model = hub.clone()
    graph = model.graph
    backbone = {name_of(value): value for value in graph.outputs}
    shapes = _shapes(backbone)
    frames = shape_of(graph.inputs[0])
    assert frames is not None
    _check_names(graph, heads)
    for head in heads:
        check_inputs(head, shapes, f"gives {', '.join(f'{name} {list(shape)}' for name, shape in shapes.items())}")
    added = _merged(graph, heads, backbone, Size(frames[1], frames[2]))
    shipped = {*FEATURES, *(f"patches_{layer}" for layer in layers)} if features else set()
    graph.outputs[:] = [*(value for name, value in backbone.items() if name in shipped), *added]
    RemoveUnusedNodesPass()(model)
    if heads:
        model.metadata_props[METADATA] = json.dumps({head.name: head.facts for head in heads}, sort_keys=True)
    _check(model)
    return model


def apart(heads: Sequence[Head], shapes: Mapping[str, Shape], frame: Size) -> dict[str, ir.Model]:
    """Each head as a graph of its own, by name, its inputs features of these shapes: for asking a target about it before the
    backbone is exported. Nodes are named as in the merged graph.

    Raises `HeadError` if a head does not fit the features.
    """
    reads = dict.fromkeys(name for head in heads for name in head.inputs)
    features = {name: ir.val(name, ir.DataType.FLOAT, shapes[name]) for name in reads}
    graph = ir.Graph(list(features.values()), [], nodes=[], opset_imports={"": OPSET}, name="heads")
    graph.outputs.extend(_merged(graph, heads, features, frame))
    together, graphs = ir.Model(graph, ir_version=10), {}
    for head in heads:
        alone = together.clone()
        alone.graph.outputs[:] = [value for value in alone.graph.outputs if value.name in head.outputs()]
        RemoveUnusedNodesPass()(alone)
        inputs = {value.name: value for value in alone.graph.inputs}
        alone.graph.inputs[:] = [inputs[name] for name in head.inputs]
        graphs[head.name] = alone
    return graphs


def _shapes(values: Values) -> dict[str, Shape]:
    return {name: shape for name, value in values.items() if (shape := shape_of(value)) is not None}


def _merged(graph: ir.Graph, heads: Sequence[Head], features: Values, frame: Size) -> list[ir.Value]:
    """Puts the nodes and constants of all heads into the graph; returns their outputs, in the heads' order."""
    outputs: dict[str, ir.Value] = {}
    modules = [head for head in heads if head.kind != ONNX]
    if modules:
        part = exported(modules, _shapes(features), frame).clone()
        outputs |= {name_of(value): value for value in _moved(part.graph, graph, features)}
    for head in heads:
        if head.kind == ONNX:
            spliced = _spliced(graph, head, features)
            _check_maps(head, spliced, (frame.height, frame.width))
            outputs |= {name_of(value): value for value in spliced}
    return [outputs[name] for head in heads for name in head.outputs()]


def _moved(part: ir.Graph, graph: ir.Graph, features: Values) -> list[ir.Value]:
    """Moves all nodes and constants of `part` to the end of `graph`, where its inputs are the features of the same names. Returns
    its outputs, as values of `graph`."""
    outputs = [features.get(name_of(value), value) if value.is_graph_input() else value for value in part.outputs]
    part.outputs.clear()
    inputs = list(part.inputs)
    part.inputs.clear()
    for value in inputs:
        if not value.is_initializer():
            value.replace_all_uses_with(features[name_of(value)])
    for name, constant in list(part.initializers.items()):
        del part.initializers[name]
        graph.register_initializer(constant)
    nodes = list(part)
    part.remove(nodes)
    graph.extend(nodes)
    return outputs


def _spliced(graph: ir.Graph, head: Head, features: Values) -> list[ir.Value]:
    """Puts an ONNX head into the graph and returns its outputs. Each is made by a node of its own: the head may give what it also
    reads."""
    part = prepared(head, _shapes(features)).graph
    stem = f"{HEADS}{head.name}"
    for number, node in enumerate(part):
        node.name, node.doc_string = f"{stem}.{node.op_type.lower()}{number}", None
        node.metadata_props.clear()
        for value in node.outputs:
            value.name, value.doc_string = f"{stem}.{value.name}" if value.name else "", None
            value.metadata_props.clear()
    constants = list(part.initializers.values())
    ir.convenience.rename_values(constants, [f"{stem}.{value.name}" for value in constants])
    outputs = []
    for name, value in zip(head.outputs(), _moved(part, graph, features), strict=True):
        shape, node_name = shape_of(value), f"{stem}.out.{name}"
        assert shape is not None
        if len(shape) == 1:  # one number a frame, as scikit-learn's labels: a vector of one
            axis, shape = add_constant(graph, f"{node_name}.axis", np.array([1], np.int64)), (*shape, 1)
            row = ir.val(f"{node_name}.row", value.dtype, shape)
            graph.append(ir.node("Unsqueeze", [value, axis], outputs=[row], name=row.name))
            value = row
        output = ir.val(name, _element(head), shape)
        cast = {} if value.dtype == output.dtype else {"to": _element(head).value}
        graph.append(ir.node("Cast" if cast else "Identity", [value], cast, outputs=[output], name=node_name))
        outputs.append(output)
    return outputs


def _check_names(graph: ir.Graph, heads: Sequence[Head]) -> None:
    """Raises `RequestError` for an output that has the name of one of the backbone's tensors."""
    taken = {value.name for node in graph for value in node.outputs} | set(graph.initializers)
    for head in heads:
        for name in head.outputs():
            if name in taken:
                raise RequestError(
                    f"A head's output cannot be called {name}.",
                    evidence=f"the backbone has a tensor of that name; head: {shown(head.path)}",
                    remedy=f"give it another, as in --head my_{head.name}=…",
                )


def _check_maps(head: Head, outputs: Sequence[ir.Value], frame: tuple[int, int]) -> None:
    """Raises `HeadError` for a map with one value a patch: it would be compared, drawn and deployed as if it had the frame's
    size."""
    if head.output not in ("labels", "logits", "depth"):
        return
    for value in outputs:
        shape = shape_of(value)
        if shape is not None and shape[-2:] != frame:
            raise HeadError(
                f"The head {head.name} says that it gives {head.output}, which are of every pixel of the frame.",
                evidence=(
                    f"{value.name} is {list(shape)}, of {'x'.join(map(str, shape[-2:]))}; the frame is {frame[0]}x{frame[1]}",
                    f"head: {shown(head.path)}",
                ),
                remedy='resize them in the head, as [N, C, H, W] or [N, H, W]; or say output = "values"',
            )


def _element(head: Head) -> ir.DataType:
    """The type that manifests, golden frames and runners expect of a head's outputs, whatever an ONNX head gives."""
    return ir.DataType.INT32 if head.output == "labels" else ir.DataType.FLOAT


def _check(model: ir.Model) -> None:
    """Checks the hub graph's promises, except for its outputs. Raises `ExportError` listing what is broken."""
    graph, broken = model.graph, []
    if graph.opset_imports != {"": OPSET}:
        broken.append(f"operator sets {graph.opset_imports}, not ai.onnx {OPSET} alone")
    kinds = Counter(node.op_type for node in graph)
    broken += [f"{kinds[kind]} {kind} node(s)" for kind in FORBIDDEN if kinds[kind]]
    broken += namesakes(graph)
    made = [value for node in graph for value in node.outputs if value.name]
    broken += [f"{value.name} has no static shape" for value in made if shape_of(value) is None]
    try:
        CheckerPass(full_check=True)(model.clone())  # it changes the order of constants
    except Exception as error:
        broken.append(str(error).strip().splitlines()[0])
    if broken:
        raise ExportError(
            "The graph with its heads breaks the hub graph's contract.",
            evidence=broken[:8],
            remedy="report this with the heads' kinds and the versions that `edgec doctor` prints",
        )
