"""The hub graph as a MIL program: walks the graph in its order and leaves each node to its entry in the table of operations.

Operations have their nodes' names (`mil_name`), tensors the names of the operations that make them; what is added has the node's
name and an ending. So each tensor of a saved package can be compared with the hub graph's, and the first that differs can be
named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgec.errors import ExportError, UnsupportedOperation
from edgec.graph.operations import Kind, operations
from edgec.graph.plan import Precision, PrecisionPlan, QuantisedWeight
from edgec.graph.values import array_of, name_of, shape_of
from edgec.lowering.coreml import patterns
from edgec.lowering.coreml.constants import BITS, Constants
from edgec.lowering.coreml.entries import remedy
from edgec.lowering.coreml.types import MOVES, computes_in_half, mil_name

COMPRESSED: tuple[Kind, ...] = ("linear", "convolution")
"""The kinds of operation whose weights are stored in fewer bits. All others together hold a hundredth of the weights."""


def compressed_weights(hub: ir.Model, plan: PrecisionPlan) -> dict[str, Precision]:
    """How the weight is stored, by operation, of those whose weights have fewer bits than they compute in."""
    return {
        entry.name: precision
        for entry in operations(hub)
        if entry.kind in COMPRESSED and (precision := plan.precision_of(entry.name)) in ("w8", *BITS)
    }


class Translator:
    """Builds the program of a hub graph that holds its plan's Q/DQ pairs. `compressed` says how the weights are stored of
    products whose weights have fewer bits. `values` are MIL's variables by the names of the hub graph's tensors."""

    def __init__(self, model: ir.Model, plan: PrecisionPlan, compressed: Mapping[str, Precision], sdk: Any) -> None:
        self.sdk, self.mb, self.plan = sdk, sdk.mb, plan
        self.constants = Constants(sdk)
        self.values: dict[str, Any] = {}
        self._model = model
        self._held: dict[ir.Value, QuantisedWeight] = {}
        self._compressed = compressed
        self.embedding = next((node for node in model.graph if node.op_type == "Conv"), None)
        self._casts: dict[tuple[ir.Value, bool], Any] = {}
        self._names: dict[str, str] = {}

    # --- what the entries of the table use

    def name(self, entry: ir.Node | ir.Value, ending: str = "") -> str:
        """MIL's spelling of a name, with an ending. Raises `ExportError` if two of the hub graph's names are spelled alike."""
        name = mil_name(name_of(entry)) + ending
        if self._names.setdefault(name, name_of(entry)) != entry.name:
            raise ExportError(
                f"Two nodes are named {name} in MIL.",
                evidence=f"{self._names[name]} and {entry.name}",
                remedy="if one of them is a head's output, give that head another name",
            )
        return name

    def reserve(self, names: Iterable[str]) -> None:
        """Keep the names of the program's inputs from being given to anything else."""
        self._names |= {name: f"the input {name}" for name in names}

    def half(self, node: ir.Node) -> bool:
        """Whether the node computes in fp16."""
        if node.op_type in MOVES:
            read = next((value for value in node.inputs if self.is_made(value)), None)
            return self.is_half(self.made(read)) if read else computes_in_half(node, self.plan)
        return computes_in_half(node, self.plan)

    def is_made(self, value: ir.Value | None) -> bool:
        """Whether the tensor is an input or was translated already."""
        return value is not None and value.name in self.values

    def made(self, value: ir.Value | None) -> Any:
        """MIL's variable for a tensor that is computed, or that is an input."""
        assert value is not None
        return self.values[name_of(value)]

    def is_half(self, value: Any) -> bool:
        """Whether a variable of MIL is fp16."""
        return bool(value.dtype == self.sdk.types.fp16)

    def is_float(self, value: Any) -> bool:
        """Whether a variable of MIL is fp16 or float32."""
        return value.dtype in (self.sdk.types.fp16, self.sdk.types.fp32)

    def tensor(self, tensor: ir.Value | None, half: bool) -> Any:
        """A tensor or constant of the hub graph in fp16 (`half`) or float32; equal casts are made once. Integers stay as they
        are. Raises `UnsupportedOperation` for a constant of integers."""
        assert tensor is not None
        if tensor.is_initializer():
            array = self.array(tensor)
            if array.dtype.kind != "f":
                raise UnsupportedOperation(
                    f"{tensor.name} holds integers, where Core ML's lowering takes floats.", remedy=remedy(tensor)
                )
            return self.constants.floats(array, half, self.name(tensor))
        value = self.made(tensor)
        if self.is_half(value) == half or not self.is_float(value):
            return value
        if (tensor, half) not in self._casts:
            kind = "fp16" if half else "fp32"
            self._casts[tensor, half] = self.mb.cast(x=value, dtype=self.text(kind), name=self.name(tensor, f"_{kind}"))
        return self._casts[tensor, half]

    def operand(self, tensor: ir.Value | None, half: bool) -> Any:
        """As `tensor`, and constants of integers and booleans too, as int32 and bool."""
        assert tensor is not None
        if not tensor.is_initializer() or self.array(tensor).dtype.kind == "f":
            return self.tensor(tensor, half)
        array = self.array(tensor)
        return self.constants.shared(array if array.dtype.kind == "b" else array.astype(np.int32), self.name(tensor))

    def array(self, tensor: ir.Value | None) -> NDArray[Any]:
        """What a constant holds. Raises `UnsupportedOperation` if the tensor is computed."""
        assert tensor is not None
        if not tensor.is_initializer():
            raise UnsupportedOperation(
                f"{tensor.name} is computed, where Core ML's lowering takes constants alone.", remedy=remedy(tensor)
            )
        return array_of(tensor)

    def shape(self, tensor: ir.Value | None) -> tuple[int, ...]:
        """The static shape. Raises `ExportError` if it is not known."""
        shape = shape_of(tensor) if tensor is not None else None
        if shape is None or tensor is None:
            raise ExportError(f"{tensor} has no static shape.", remedy="edgec works on static shapes alone")
        return shape

    def first(self, node: ir.Node) -> Any:
        """The node's first input, in the type that the node computes in."""
        return self.tensor(node.inputs[0], self.half(node))

    def scalar(self, node: ir.Node, value: Any, ending: str) -> Any:
        """A number as a constant of the node, in the type that the node computes in, named with this ending."""
        return self.constants.floats(np.float32(value), self.half(node), self.name(node, f"_{ending}"))

    def optional(self, node: ir.Node, index: int) -> NDArray[Any] | None:
        """The constant in an input that the node may leave out; None if it does. Raises `UnsupportedOperation` if the input is
        computed."""
        value = node.inputs[index] if index < len(node.inputs) else None
        return None if value is None else self.array(value)

    def sides(self, tensor: ir.Value) -> int:
        """How many dimensions a result has; 0 where that is not known."""
        return len(shape_of(tensor) or ())

    # Names of literals begin with a capital letter, so that they never equal the name of a head's output.

    def integers(self, *numbers: int) -> Any:
        """A constant vector, int32."""
        return self.constants.shared(np.array(numbers, np.int32), f"I_{'_'.join(str(n).replace('-', 'm') for n in numbers)}")

    def number(self, value: int | bool) -> Any:
        """A constant scalar, int32 or bool."""
        kind = np.bool_ if isinstance(value, bool) else np.int32
        return self.constants.shared(kind(value), f"N_{str(value).lower().replace('-', 'm')}")

    def text(self, value: str) -> Any:
        """A constant string."""
        return self.constants.shared(value, f"T_{value}")

    def weight(self, operation: ir.Node, tensor: ir.Value | None, half: bool, *, transposed: bool = False) -> Any:
        """The weight of a product or convolution as the plan stores it, output channels first; `transposed` where the hub graph
        has them last."""
        assert tensor is not None
        if tensor in self._held:
            held = self._held[tensor]
            integers = held.integers.T if transposed else held.integers
            weight = QuantisedWeight(np.ascontiguousarray(integers), held.scales)
            return self.constants.int8(weight, half, self.name(tensor))
        value = self.array(tensor)
        value = np.ascontiguousarray(value.T if transposed else value)
        # The exporter lets products share equal weights; each may be stored in its own way.
        precision = self._compressed.get(name_of(operation), "")
        return self.constants.weight(value, precision, half, self.name(operation, "_weight"))

    def hold(self, tensor: ir.Value, weight: QuantisedWeight) -> None:
        """Remember a quantised weight for the product that reads its dequantised values."""
        self._held[tensor] = weight

    def is_constant(self, tensor: ir.Value | None) -> bool:
        """Whether the tensor is a constant of the hub graph; no is an optional input that is left out."""
        return tensor is not None and tensor.is_initializer()

    def is_weight(self, tensor: ir.Value | None) -> bool:
        """Whether it is a constant matrix, in floats or in 8 bits."""
        return tensor in self._held or (tensor is not None and tensor.is_initializer() and self.sides(tensor) == 2)

    # --- the walk

    def translate(self) -> list[Any]:
        """The program's outputs, float32 or int32, in the hub graph's order. `values` must hold what stands for the frames.

        Raises `UnsupportedOperation` naming an operation that has no translation.
        """
        from edgec.lowering.coreml.operations import PATTERNS, check, translate

        matches = patterns.find(self._model)
        absorbed = {node for match in matches.values() for node in match.absorbed}
        for node in self._model.graph:
            if self.is_made(node.outputs[0]):
                continue
            check(node)
            if node in absorbed:
                continue
            match = matches.get(node)
            made = PATTERNS[match.kind](self, node, match) if match else translate(self, node)
            if isinstance(made, list):
                self.values |= dict(zip(map(name_of, node.outputs), made, strict=True))
            elif made is not None:
                self.values[name_of(node.outputs[0])] = made
        return [self._handed_over(output) for output in self._model.graph.outputs]

    def _handed_over(self, output: ir.Value) -> Any:
        """An output under its own name: float32, or int32 for integers."""
        value = self.made(output)
        if self.is_half(value):
            return self.mb.cast(x=value, dtype=self.text("fp32"), name=self.name(output))
        return self.mb.identity(x=value, name=self.name(output))
