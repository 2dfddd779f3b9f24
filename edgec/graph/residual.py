"""The residual stream: what adds to it stays in it."""

from __future__ import annotations

import onnx_ir as ir

from edgec.graph.operations import is_of_a_head, operations

_PASSED = frozenset({"Transpose", "Reshape"})


def residual_writers(hub: ir.Model) -> tuple[str, ...]:
    """Operations whose outputs are added to the residual stream, in the order of execution, with nothing but biases and changes
    of layout between them and the addition. Heads have no residual stream."""

    def adds(node: ir.Node) -> bool:
        for reader in node.successors():
            biased = reader.op_type == "Add" and any(value is not None and value.is_initializer() for value in reader.inputs)
            if is_of_a_head(reader):
                continue
            if (reader.op_type == "Add" and not biased) or ((biased or reader.op_type in _PASSED) and adds(reader)):
                return True
        return False

    return tuple(entry.name for entry in operations(hub) if entry.kind != "head" and entry.weight and adds(entry.node))
