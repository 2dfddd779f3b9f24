"""Give every node, tensor and constant the name of the module that it comes from: `blocks.3.mlp.fc2`, not `val_57`.

The names are what people read in plans, explanations and errors, and they do not move when the exporter's counters do.
Requires the exporter's name scopes in the nodes' metadata; ensures unique names and no metadata at all: it holds stack traces,
with the paths of the machine that exported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from itertools import chain, count

import onnx

SCOPES = "pkg.torch.onnx.name_scopes"
OWN = frozenset({"MatMul", "Gemm", "Conv", "ConvTranspose", "LayerNormalization", "Resize"})
"""Operations with constants for which their modules are there: they have the module's name."""


def name_by_module(model: onnx.ModelProto, roots: Mapping[str, str]) -> None:
    """`roots` are modules, and what their names are in the graph: those of their children begin with it, as `stages.0` does in
    `{"model.backbone": ""}`."""
    graph = model.graph
    constants = {initializer.name for initializer in graph.initializer}
    kept = {value.name for value in (*graph.input, *graph.output)}
    renamed: dict[str, str] = {}
    taken = set(kept)

    def unique(name: str) -> str:
        numbered = (f"{name}_{number}" for number in count(2))
        free = next(candidate for candidate in chain([name], numbered) if candidate not in taken)
        taken.add(free)
        return free

    softmax_inputs = {node.input[0] for node in graph.node if node.op_type == "Softmax"}
    softmax_outputs = {node.output[0] for node in graph.node if node.op_type == "Softmax"}
    for node in graph.node:
        module, leaf = _module(node, roots)
        if node.op_type == "MatMul" and node.output[0] in softmax_inputs:
            leaf = "scores"
        elif node.op_type == "MatMul" and node.input[0] in softmax_outputs:
            leaf = "mix"
        elif leaf and any(name in constants for name in node.input[1:]) and node.op_type in OWN:
            leaf = ""
        else:
            leaf = node.op_type.lower()
        path = f"{module}.{leaf}".strip(".") if leaf else module
        node.name = unique(path)
        for index, name in enumerate(node.input):
            if name in constants and name not in renamed:
                owner = module if node.op_type == "Add" and module else node.name
                renamed[name] = unique(f"{owner}.{_constant_role(node, index)}")
        for index, name in enumerate(node.output):
            if name not in kept:
                renamed[name] = node.name if len(node.output) == 1 else f"{node.name}.{index}"
        del node.metadata_props[:]
        node.doc_string = ""
    _rename(graph, renamed)
    del model.metadata_props[:]
    del graph.metadata_props[:]


def _module(node: onnx.NodeProto, roots: Mapping[str, str]) -> tuple[str, str]:
    """The module's path in the graph, and the exporter's own name of the operation within that module."""
    text = next((entry.value for entry in node.metadata_props if entry.key == SCOPES), "['']")
    scopes: list[str] = ast.literal_eval(text)
    module, leaf = (scopes[-2] if len(scopes) > 1 else ""), scopes[-1]
    for root, name in roots.items():
        if f"{module}.".startswith(f"{root}."):
            return f"{name}{module.removeprefix(root)}".lstrip("."), leaf
    return "frames", leaf


def _constant_role(node: onnx.NodeProto, index: int) -> str:
    if node.op_type == "Resize":
        return "sizes" if index == 3 else f"constant{index}"
    if node.op_type in OWN:
        return "weight" if index == 1 else "bias"
    return "bias" if node.op_type == "Add" else f"constant{index}"


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    def renamed(values: Iterable[str]) -> list[str]:
        return [names.get(value, value) for value in values]

    for node in graph.node:
        node.input[:] = renamed(node.input)
        node.output[:] = renamed(node.output)
    for initializer in graph.initializer:
        initializer.name = names.get(initializer.name, initializer.name)
        initializer.doc_string = ""
    for value in graph.value_info:
        value.name = names.get(value.name, value.name)
        value.doc_string = ""
        del value.metadata_props[:]
    for value in (*graph.input, *graph.output):
        value.doc_string = ""
        del value.metadata_props[:]
    for initializer in graph.initializer:
        del initializer.metadata_props[:]
