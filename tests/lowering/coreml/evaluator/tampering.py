"""Damaging saved packages, as a bug in a converter would."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgec.lowering.coreml.package import MODEL, WEIGHTS
from edgec.lowering.coreml.sdk import quiet

with quiet():
    from coremltools.proto import Model_pb2

ELEMENTS = {1: np.float16, 2: np.float32, 4: np.int8}


@contextmanager
def edited(package: Path) -> Iterator[dict[str, Any]]:
    """The program's operations by their first output's name, to be changed in place."""
    model = Model_pb2.Model.FromString((package / MODEL).read_bytes())
    function = model.mlProgram.functions["main"]
    yield {entry.outputs[0].name: entry for entry in function.block_specializations[function.opset].operations}
    (package / MODEL).write_bytes(model.SerializeToString())


def change_weight(package: Path, name: str, change: Callable[[NDArray[Any]], NDArray[Any]], part: str = "data") -> None:
    """`name` is the constant's; `change` is given a copy of what is stored, in its shape, or its bytes where elements share them.
    Of a constant that is stored smaller, `part` is what of it: `data`, `scale`, `indices` or `lut`."""
    with edited(package) as operations:
        constant = operations[name]
        value = constant.attributes["val"] if constant.type == "const" else constant.inputs[part].arguments[0].value
    content = bytearray((package / WEIGHTS).read_bytes())
    _, kind, size, start, _ = struct.unpack_from("<IIQQQ", content, value.blobFileValue.offset)
    element = ELEMENTS.get(kind, np.uint8)
    stored = np.frombuffer(bytes(content[start : start + size]), element)
    if kind in ELEMENTS:
        stored = stored.reshape([dim.constant.size for dim in value.type.tensorType.dimensions])
    content[start : start + size] = np.ascontiguousarray(change(stored.copy()), element).tobytes()
    (package / WEIGHTS).write_bytes(content)


def change_number(package: Path, operation: str, parameter: str, factor: float) -> None:
    """Multiply the fp16 number that a parameter of the operation is bound to, there and wherever else it is read."""
    with edited(package) as operations:
        constant = operations[operations[operation].inputs[parameter].arguments[0].name]
        content = constant.attributes["val"].immediateValue.tensor.bytes
        content.values = (np.frombuffer(content.values, np.float16) * np.float16(factor)).tobytes()


def swap_inputs(package: Path, name: str, first: str, second: str) -> None:
    with edited(package) as operations:
        one, other = (operations[name].inputs[parameter].arguments[0] for parameter in (first, second))
        one.name, other.name = other.name, one.name


def rebind(operation: Any, parameter: str, literal: NDArray[np.int32]) -> None:
    """Give a parameter other integers."""
    value = operation.inputs[parameter].arguments[0].value
    value.type.tensorType.dataType = 23
    value.type.tensorType.rank = literal.ndim
    for size in literal.shape:
        value.type.tensorType.dimensions.add().constant.size = size
    value.immediateValue.tensor.ints.values.extend(literal.ravel().tolist())
