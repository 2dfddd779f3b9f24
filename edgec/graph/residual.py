"""The residual stream: what adds to it stays in it."""

from __future__ import annotations

import onnx

from edgec.graph.operations import constants, is_of_a_head, operations

_PASSED = frozenset({"Transpose", "Reshape"})


def residual_writers(hub: onnx.ModelProto) -> tuple[str, ...]:
    """Operations whose outputs are added to the residual stream as they are, in the order of execution: between them and the
    addition are but biases and changes of layout. What heads add is no stream of the backbone's."""
    values = constants(hub)
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in hub.graph.node:
        for name in () if is_of_a_head(node) else node.input:
            readers.setdefault(name, []).append(node)
    makers = {node.name: node.output[0] for node in hub.graph.node}

    def adds(tensor: str) -> bool:
        for node in readers.get(tensor, ()):
            biased = node.op_type == "Add" and any(name in values for name in node.input)
            if (node.op_type == "Add" and not biased) or ((biased or node.op_type in _PASSED) and adds(node.output[0])):
                return True
        return False

    return tuple(entry.name for entry in operations(hub) if entry.kind != "head" and entry.weight and adds(makers[entry.name]))
