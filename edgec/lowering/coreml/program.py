"""The hub graph as a MIL program: walks the graph in its order and leaves each node to its entry in the table of operations.

Operations are named as their nodes are (`mil_name`), tensors as what makes them; what is added on the way has the node's name and
an ending. So whoever runs a saved package can hold each of its tensors against the hub graph's, and name the first that differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edgec.errors import ExportError, UnsupportedOperation
from edgec.graph.contract import shape_of
from edgec.graph.operations import Kind, operations
from edgec.graph.plan import Precision, PrecisionPlan, QuantisedWeight
from edgec.lowering.coreml import patterns
from edgec.lowering.coreml.constants import BITS, Constants
from edgec.lowering.coreml.entries import remedy
from edgec.lowering.coreml.types import MOVES, computes_in_half, mil_name

COMPRESSED: tuple[Kind, ...] = ("linear", "convolution")
"""The kinds whose weights are stored in fewer bits. The others hold a hundredth of all weights."""


def compressed_weights(hub: onnx.ModelProto, plan: PrecisionPlan) -> dict[str, Precision]:
    """By operation, how its weight is stored, for those that are stored in fewer bits than they compute in."""
    return {
        entry.name: precision
        for entry in operations(hub)
        if entry.kind in COMPRESSED and (precision := plan.precision_of(entry.name)) in ("w8", *BITS)
    }


class Translator:
    """The program in the making, of the hub graph with its plan's Q/DQ pairs in it. `compressed` are the products whose weights
    are stored in fewer bits, and how. `values` are MIL's variables by the hub graph's tensors."""

    def __init__(self, model: onnx.ModelProto, plan: PrecisionPlan, compressed: Mapping[str, Precision], sdk: Any) -> None:
        self.sdk, self.mb, self.plan = sdk, sdk.mb, plan
        self.constants = Constants(sdk)
        self.values: dict[str, Any] = {}
        self._model, self._graph = model, model.graph
        self._arrays = {entry.name: entry for entry in model.graph.initializer}
        self._shapes = {
            value.name: shape_of(value) for value in (*model.graph.input, *model.graph.value_info, *model.graph.output)
        }
        self._held: dict[str, QuantisedWeight] = {}
        self._compressed = compressed
        convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
        self.embedding = convolutions[0] if convolutions else ""
        self._casts: dict[tuple[str, bool], Any] = {}
        self._names: dict[str, str] = {}

    # --- what operations ask for

    def name(self, hub_name: str, ending: str = "") -> str:
        """MIL's spelling. Raises `ExportError` if two of the hub graph's names are spelled alike."""
        name = mil_name(hub_name) + ending
        if self._names.setdefault(name, hub_name) != hub_name:
            raise ExportError(
                f"Two nodes are named {name} in MIL.",
                evidence=f"{self._names[name]} and {hub_name}",
                remedy="if one of them is a head's output, give that head another name",
            )
        return name

    def reserve(self, names: Iterable[str]) -> None:
        """The program's inputs."""
        self._names |= {name: f"the input {name}" for name in names}

    def half(self, node: onnx.NodeProto) -> bool:
        """Whether the node computes in fp16."""
        if node.op_type in MOVES:
            made = next((name for name in node.input if name in self.values), None)
            return self.is_half(self.values[made]) if made else computes_in_half(node, self.plan)
        return computes_in_half(node, self.plan)

    def is_half(self, value: Any) -> bool:
        return bool(value.dtype == self.sdk.types.fp16)

    def is_float(self, value: Any) -> bool:
        return value.dtype in (self.sdk.types.fp16, self.sdk.types.fp32)

    def tensor(self, name: str, half: bool) -> Any:
        """A tensor or constant of the hub graph in this type; casts are made once. Whole numbers are left as they are."""
        if name in self._arrays:
            value = self.array(name)
            if value.dtype.kind != "f":
                raise UnsupportedOperation(
                    f"{name} holds whole numbers, where Core ML's lowering takes floats.", remedy=remedy(name)
                )
            return self.constants.floats(value, half, self.name(name))
        value = self.values[name]
        if self.is_half(value) == half or not self.is_float(value):
            return value
        if (name, half) not in self._casts:
            kind = "fp16" if half else "fp32"
            self._casts[name, half] = self.mb.cast(x=value, dtype=self.text(kind), name=self.name(name, f"_{kind}"))
        return self._casts[name, half]

    def operand(self, name: str, half: bool) -> Any:
        """As `tensor`, of whole numbers and truths as well, which are int32 and bool."""
        if name not in self._arrays or self.array(name).dtype.kind == "f":
            return self.tensor(name, half)
        value = self.array(name)
        return self.constants.shared(value if value.dtype.kind == "b" else value.astype(np.int32), self.name(name))

    def array(self, name: str) -> NDArray[Any]:
        """Raises `UnsupportedOperation` if the tensor is no constant."""
        if name not in self._arrays:
            raise UnsupportedOperation(
                f"{name} is computed, where Core ML's lowering takes constants alone.", remedy=remedy(name)
            )
        return numpy_helper.to_array(self._arrays[name])

    def shape(self, tensor: str) -> tuple[int, ...]:
        shape = self._shapes.get(tensor)
        if shape is None:
            raise ExportError(f"{tensor} has no static shape.", remedy="edgec works on static shapes alone")
        return shape

    def sides(self, tensor: str) -> int:
        """How many dimensions a result has; 0 where nothing is said of it, as of quantised tensors."""
        return len(self._shapes.get(tensor) or ())

    def shape_of(self, tensor: str) -> tuple[int, ...]:
        """As `shape`, of constants and the program's inputs as well."""
        if tensor in self._arrays:
            return tuple(self._arrays[tensor].dims)
        return tuple(self.values[tensor].shape) if tensor in self.values else self.shape(tensor)

    # Literals' names have a capital letter, which outputs of heads have not.

    def integers(self, *numbers: int) -> Any:
        return self.constants.shared(np.array(numbers, np.int32), f"I_{'_'.join(str(n).replace('-', 'm') for n in numbers)}")

    def number(self, value: int | bool) -> Any:
        kind = np.bool_ if isinstance(value, bool) else np.int32
        return self.constants.shared(kind(value), f"N_{str(value).lower().replace('-', 'm')}")

    def text(self, value: str) -> Any:
        return self.constants.shared(value, f"T_{value}")

    def weight(self, operation: str, tensor: str, half: bool, *, transposed: bool = False) -> Any:
        """The weight of a product or convolution as the plan stores it, output channels first."""
        if tensor in self._held:
            held = self._held[tensor]
            integers = held.integers.T if transposed else held.integers
            weight = QuantisedWeight(np.ascontiguousarray(integers), held.scales)
            return self.constants.int8(weight, half, self.name(tensor))
        value = self.array(tensor)
        value = np.ascontiguousarray(value.T if transposed else value)
        # The exporter lets products share equal weights; each may be stored in its own way.
        return self.constants.weight(value, self._compressed.get(operation, ""), half, self.name(operation, "_weight"))

    def hold(self, tensor: str, weight: QuantisedWeight) -> None:
        """Keep a quantised weight for the product that reads it dequantised."""
        self._held[tensor] = weight

    def is_constant(self, tensor: str) -> bool:
        return tensor in self._arrays

    def is_weight(self, tensor: str) -> bool:
        """Whether it is a constant matrix, as it is or in 8 bits."""
        return tensor in self._held or (tensor in self._arrays and len(self._arrays[tensor].dims) == 2)

    # --- the walk

    def translate(self) -> list[Any]:
        """The program's outputs, float32 or int32, in the hub graph's order. `values` must hold what stands for the frames.

        Raises `UnsupportedOperation` naming an operation that has no translation.
        """
        from edgec.lowering.coreml.operations import PATTERNS, check, translate

        matches = patterns.find(self._model)
        absorbed = {name for match in matches.values() for name in match.absorbed}
        for node in self._graph.node:
            if node.output[0] in self.values:
                continue
            check(node)
            if node.name in absorbed:
                continue
            if node.name in matches:
                made = PATTERNS[matches[node.name].kind](self, node, matches[node.name])
            else:
                made = translate(self, node)
            if isinstance(made, list):
                self.values |= dict(zip(node.output, made, strict=True))
            elif made is not None:
                self.values[node.output[0]] = made
        return [self._handed_over(output.name) for output in self._graph.output]

    def _handed_over(self, name: str) -> Any:
        """In float32, or in int32 what are whole numbers, under its own name."""
        value = self.values[name]
        if self.is_half(value):
            return self.mb.cast(x=value, dtype=self.text("fp32"), name=self.name(name))
        return self.mb.identity(x=value, name=self.name(name))
