"""Give back in the biases what quantisation takes from the means of outputs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from edgec.graph.passes.constants import ConstantEditor


def bias_node(operation: str) -> str:
    """The Add behind a product, by the hub graph's names."""
    return f"{operation}.add"


def correct_biases(model: onnx.ModelProto, corrections: Mapping[str, tuple[float, ...]]) -> onnx.ModelProto:
    """A new model in which each named operation's bias is greater by its correction, one number an output channel. Operations
    that it lacks are passed over: the plan may have been made for more outputs than the model gives."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    editor = ConstantEditor(changed)
    for operation, correction in corrections.items():
        node = bias_node(operation)
        if editor.has(operation, 1):
            editor.set(node, 1, editor.get(node, 1) + np.asarray(correction, dtype=np.float64))
    return changed
