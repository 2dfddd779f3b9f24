"""Changing constants of single nodes, where the exporter lets equal constants of several nodes share one."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edgec.graph.operations import constants


class ConstantEditor:
    """Reads and replaces constant inputs of nodes by the nodes' names; a shared constant becomes the node's own first."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        self._nodes = {node.name: node for node in model.graph.node}
        self._values = constants(model)
        self._readers = Counter(name for node in model.graph.node for name in node.input)

    def has(self, node: str, index: int) -> bool:
        """Whether there is such a node, and its input `index` is a constant."""
        return node in self._nodes and self._nodes[node].input[index] in self._values

    def get(self, node: str, index: int) -> NDArray[np.float64]:
        return numpy_helper.to_array(self._values[self._nodes[node].input[index]]).astype(np.float64)

    def set(self, node: str, index: int, value: NDArray[np.float64]) -> None:
        """In float32, rounded once."""
        name = self._nodes[node].input[index]
        if self._readers[name] > 1:
            self._readers[name] -= 1
            name = f"{node}.own{index}"
            self._values[name] = self._graph.initializer.add()
            self._readers[name] = 1
            self._nodes[node].input[index] = name
        self._values[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value, dtype=np.float32), name))
