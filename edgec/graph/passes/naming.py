"""Give every node, tensor and constant the name of the module that it comes from: `blocks.3.mlp.fc2`, not `val_57`.

The names are what people read in plans, explanations and errors, and they do not move when the exporter's counters do.
Requires the exporter's name scopes in the nodes' metadata; ensures unique names and no metadata at all: it holds stack traces,
with the paths of the machine that exported.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import chain, count
from typing import Any

import onnx_ir as ir

from edgec.graph.passes.base import Rewrite
from edgec.graph.values import input_of, name_of

SCOPES = "pkg.torch.onnx.name_scopes"
OWN = frozenset({"MatMul", "Gemm", "Conv", "ConvTranspose", "LayerNormalization", "Resize"})
"""Operators that are a module's main operation: the node has the module's name."""


class NameByModule(Rewrite):
    """Names nodes, tensors and constants by modules. `roots` are modules with their names in the graph, with which the names of
    their children begin: with `{"model.backbone": ""}`, `model.backbone.stages.0` becomes `stages.0`."""

    def __init__(self, roots: Mapping[str, str]) -> None:
        super().__init__()
        self._roots = roots

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Names everything, and removes metadata."""
        graph = model.graph
        taken = {name_of(value) for value in (*graph.inputs, *graph.outputs)}
        constants: dict[ir.Value, str] = {}

        def unique(name: str) -> str:
            numbered = (f"{name}_{number}" for number in count(2))
            free = next(candidate for candidate in chain([name], numbered) if candidate not in taken)
            taken.add(free)
            return free

        for node in graph:
            module, path = self._path(node)
            node.name = unique(path)
            for index, value in enumerate(node.inputs):
                if value is not None and value.is_initializer() and value not in constants:
                    owner = module if node.op_type == "Add" and module else node.name
                    constants[value] = unique(f"{owner}.{_constant_role(node, index)}")
            for index, value in enumerate(node.outputs):
                if not value.is_graph_output():
                    value.name = node.name if len(node.outputs) == 1 else f"{node.name}.{index}"
        initializers = list(graph.initializers.values())
        ir.convenience.rename_values(initializers, [constants.get(value, name_of(value)) for value in initializers])
        _forget(model)
        return ir.passes.PassResult(model, modified=True)

    def broken(self, model: ir.Model) -> Iterable[str]:
        """Names that several tensors have, and metadata that is left."""
        values = dict.fromkeys(value for node in model.graph for value in (*node.inputs, *node.outputs) if value is not None)
        counts = Counter(value.name for value in values)
        yield from (f"two tensors are named {name}" for name, number in counts.items() if number > 1)
        described = (*model.graph, *values, model, model.graph)
        yield from (f"metadata of {each!r}" for each in described if each.metadata_props or each.doc_string)

    def _path(self, node: ir.Node) -> tuple[str, str]:
        """The node's module, and a name for the node, which others may have too."""
        module, leaf = _module(node, self._roots)
        if node.op_type == "MatMul" and any(reader.op_type == "Softmax" for reader in node.successors()):
            leaf = "scores"
        elif node.op_type == "MatMul" and _is_softmax(input_of(node).producer()):
            leaf = "mix"
        elif leaf and any(value and value.is_initializer() for value in node.inputs[1:]) and node.op_type in OWN:
            leaf = ""
        else:
            leaf = node.op_type.lower()
        return module, f"{module}.{leaf}".strip(".") if leaf else module


def _is_softmax(node: ir.Node | None) -> bool:
    return node is not None and node.op_type == "Softmax"


def _module(node: ir.Node, roots: Mapping[str, str]) -> tuple[str, str]:
    """The module's path in the graph, and the exporter's own name of the operation within that module."""
    scopes: list[str] = ast.literal_eval(node.metadata_props.get(SCOPES, "['']"))
    module, leaf = (scopes[-2] if len(scopes) > 1 else ""), scopes[-1]
    for root, name in roots.items():
        if f"{module}.".startswith(f"{root}."):
            return f"{name}{module.removeprefix(root)}".lstrip("."), leaf
    return "frames", leaf


def _constant_role(node: ir.Node, index: int) -> str:
    if node.op_type in OWN - {"Resize"}:
        return "weight" if index == 1 else "bias"
    return "bias" if node.op_type == "Add" else f"constant{index}"


def _forget(model: ir.Model) -> None:
    """Remove what the exporter wrote about the graph, its nodes and its values. (onnx-ir's own pass leaves what concerns the
    model and values.)"""
    graph = model.graph
    described: list[Any] = [model, graph, *graph, *graph.inputs, *graph.initializers.values()]
    for each in (*described, *(value for node in graph for value in node.outputs)):
        each.metadata_props.clear()
        each.doc_string = None
    for name, tensor in graph.initializers.tensor_items():
        if tensor.doc_string or tensor.metadata_props:
            graph.initializers[name].const_value = ir.tensor(tensor.numpy(), name=name)
