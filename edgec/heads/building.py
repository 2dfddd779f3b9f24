"""Writing a head's part of the graph: names, constants, shapes, and the few things that several kinds do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgec.heads.resampling import antialiasing

Shape = tuple[int, ...]


class Builder:
    """The nodes and constants of one head. `shapes` are those of the tensors that it reads, and grow with what it makes; `frame`
    is the frame's height and width. A node's output has the node's name, as in the hub graph."""

    def __init__(self, name: str, shapes: Mapping[str, Shape], frame: tuple[int, int]) -> None:
        self.prefix, self.frame = f"heads.{name}", frame
        self.shapes: dict[str, Shape] = dict(shapes)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def constant(self, role: str, value: NDArray[Any]) -> str:
        name = f"{self.prefix}.{role}"
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def number(self, role: str, value: float) -> str:
        return self.constant(role, np.array(value, np.float32))

    def integers(self, *values: int) -> str:
        return self.constant(f"integers.{'_'.join(map(str, values))}", np.array(values, np.int64))

    def node(self, kind: str, inputs: list[str], role: str, shape: Shape, **attributes: Any) -> str:
        name = f"{self.prefix}.{role}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        self.shapes[name] = shape
        return name

    def same(self, kind: str, inputs: list[str], role: str, **attributes: Any) -> str:
        """An operation whose result has its first input's shape."""
        return self.node(kind, inputs, role, self.shapes[inputs[0]], **attributes)

    def named(self, tensor: str, output: str) -> None:
        """Give what the last node makes the output's name."""
        last = self.nodes[-1]
        assert last.output[0] == tensor
        last.output[0] = output
        self.shapes[output] = self.shapes.pop(tensor)

    # --- what several kinds do

    def product(self, x: str, role: str, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> str:
        """Over the last axis; `weight` [outputs, inputs], as PyTorch has it."""
        shape = (*self.shapes[x][:-1], len(weight))
        made = self.node("MatMul", [x, self.constant(f"{role}.weight", weight.T)], role, shape)
        return self.same("Add", [made, self.constant(f"{role}.bias", bias)], f"{role}.add")

    def channels_first(self, x: str, role: str) -> str:
        n, rows, columns, width = self.shapes[x]
        return self.node("Transpose", [x], f"{role}.channels_first", (n, width, rows, columns), perm=[0, 3, 1, 2])

    def channels_last(self, x: str, role: str) -> str:
        n, width, rows, columns = self.shapes[x]
        return self.node("Transpose", [x], f"{role}.channels_last", (n, rows, columns, width), perm=[0, 2, 3, 1])

    def resize(self, x: str, role: str, size: tuple[int, int], *, corners: bool = False) -> str:
        """Bilinear, of [N, C, rows, columns]; nothing if it has the size already."""
        n, width, rows, columns = self.shapes[x]
        if (rows, columns) == size:
            return x
        return self.node(
            "Resize",
            [x, "", "", self.integers(n, width, *size)],
            role,
            (n, width, *size),
            mode="linear",
            coordinate_transformation_mode="align_corners" if corners else "half_pixel",
        )

    def shrink(self, x: str, role: str, factor: int) -> str:
        """Antialiased bilinear, of [N, C, rows, columns], to a whole fraction of the size: a depthwise convolution and, where its
        kernel reaches over the edge, a correction. Few runtimes know `antialias` of ONNX's Resize."""
        n, width, rows, columns = self.shapes[x]
        kernel, correction = antialiasing(factor, rows // factor, columns // factor)
        weight = self.constant(f"{role}.weight", np.broadcast_to(kernel, (width, 1, *kernel.shape)))
        size, edge = (n, width, rows // factor, columns // factor), [factor // 2] * 4
        made = self.node("Conv", [x, weight], role, size, strides=[factor] * 2, pads=edge, group=width)
        return self.same("Mul", [made, self.constant(f"{role}.correction", correction[None, None])], f"{role}.mul")

    def gelu(self, x: str, role: str) -> str:
        """In the form that the exporter gives it, which runtimes look for."""
        root = self.same("Div", [x, self.number("root_of_two", 2**0.5)], f"{role}.gelu.div")
        erf = self.same("Erf", [root], f"{role}.gelu.erf")
        one = self.same("Add", [erf, self.number("one", 1.0)], f"{role}.gelu.add")
        half = self.same("Mul", [one, self.number("half", 0.5)], f"{role}.gelu.half")
        return self.same("Mul", [x, half], f"{role}.gelu")
