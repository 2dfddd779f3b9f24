"""An `.mlpackage` on disk, read as it was saved: manifest, model description, MIL program, weights.

Message and field numbers are those of Model.proto, FeatureTypes.proto and MIL.proto: mlmodel/format in
github.com/apple/coremltools.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from edgec.errors import RuntimeFailure
from edgec.lowering.coreml.evaluator.blob import BlobFile
from edgec.lowering.coreml.evaluator.types import TensorType, read_type, unpack
from edgec.lowering.coreml.evaluator.wire import Message
from edgec.untrusted import parse_json_object, read_bytes

MODEL_PATH = "@model_path/"
_MANIFEST_LIMIT_BYTES = 1 << 20
COLOURS = {20: "RGB", 30: "BGR"}
"""ImageFeatureType.ColorSpace, of the spaces that a camera's frame can be given in."""

Literal = Any
"""A numpy array, or a str."""


@dataclass(frozen=True)
class Argument:
    """What one parameter of an operation is bound to: names of values, or literals. `several` where it takes a list."""

    bindings: tuple[str | Literal, ...]
    named: tuple[bool, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(binding for binding, named in zip(self.bindings, self.named, strict=True) if named)


@dataclass(frozen=True)
class Operation:
    """One operation of a block. `attributes` are literals: a constant's `val`, for one. Without a name of its own it has its
    result's."""

    kind: str
    name: str
    inputs: Mapping[str, Argument]
    outputs: tuple[tuple[str, TensorType], ...]
    attributes: Mapping[str, Literal]


@dataclass(frozen=True)
class ImageInput:
    colour: str
    sizes: frozenset[tuple[int, int]]
    """(height, width), as many as the package enumerates."""


@dataclass(frozen=True)
class Function:
    name: str
    opset: str
    inputs: tuple[tuple[str, TensorType], ...]
    operations: tuple[Operation, ...]
    outputs: tuple[str, ...]
    images: Mapping[str, ImageInput]


@dataclass(frozen=True)
class Package:
    path: Path
    specification: int
    functions: Mapping[str, Function]
    default: str


def read_package(path: Path) -> Package:
    """Raises `RuntimeFailure` if it is no ML program package, damaged, or holds what the evaluator does not know."""
    model_file = _model_file(path)
    model = Message(_read(model_file))
    if 502 not in model:
        raise RuntimeFailure("The package holds no ML program.", evidence=str(model_file))
    description, program = model.message(2), model.message(502)
    blobs = _Blobs(model_file.parent)
    described = {entry.text(1): entry.messages(2) for entry in description.messages(20)}
    functions = {
        name: _function(name, entry, described.get(name) or description.messages(1), blobs)
        for name, entry in program.entries(2).items()
    }
    default = description.text(21) or "main"
    if default not in functions:
        raise RuntimeFailure("The package's default function is missing.", evidence=f"{default}, of {', '.join(functions)}")
    return Package(path, model.integer(1), functions, default)


def _model_file(path: Path) -> Path:
    """Manifest.json names the package's items and which of them is the model."""
    try:
        manifest = parse_json_object(read_bytes(path / "Manifest.json", _MANIFEST_LIMIT_BYTES))
        items = manifest["itemInfoEntries"]
        relative = PurePosixPath(items[manifest["rootModelIdentifier"]]["path"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RuntimeFailure("The package's Manifest.json names no model.", evidence=(str(path), repr(error))) from error
    return _inside(path / "Data", relative)


def _inside(folder: Path, relative: PurePosixPath) -> Path:
    if relative.is_absolute() or ".." in relative.parts:
        raise RuntimeFailure("The package names a file outside itself; it was not read.", evidence=str(relative))
    return folder / relative


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RuntimeFailure("The package cannot be read.", evidence=(str(path), str(error))) from error


class _Blobs:
    """The package's weight files, each opened once; what several functions refer to is read once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, BlobFile] = {}
        self._read: dict[tuple[str, int, TensorType], Literal] = {}

    def tensor(self, name: str, offset: int, wanted: TensorType) -> Literal:
        if name not in self._open:
            self._open[name] = BlobFile(_inside(self._folder, PurePosixPath(name.removeprefix(MODEL_PATH))))
        key = name, offset, wanted
        if key not in self._read:
            self._read[key] = self._open[name].tensor(offset, wanted)
        return self._read[key]


def _function(name: str, function: Message, features: list[Message], blobs: _Blobs) -> Function:
    opset = function.text(2)
    blocks = function.entries(3)
    if opset not in blocks:
        raise RuntimeFailure(f"Function {name} has no block for its operation set.", evidence=f"{opset}, of {', '.join(blocks)}")
    block = blocks[opset]
    inputs = tuple((entry.text(1), read_type(entry.message(2), entry.text(1))) for entry in function.messages(1))
    images = {feature.text(1): image for feature in features if (image := _image(feature)) is not None}
    operations = tuple(_operation(entry, blobs) for entry in block.messages(3))
    return Function(name, opset, inputs, operations, tuple(block.texts(2)), images)


def _image(feature: Message) -> ImageInput | None:
    kind = feature.message(3)
    if 4 not in kind:
        return None
    image = kind.message(4)
    colour = COLOURS.get(image.integer(3))
    if colour is None or 31 in image:
        raise RuntimeFailure(f"Input {feature.text(1)} is an image of another kind than RGB or BGR of fixed or enumerated size.")
    sizes = [image, *image.message(21).messages(1)]
    return ImageInput(colour, frozenset((entry.integer(2), entry.integer(1)) for entry in sizes))


def _operation(message: Message, blobs: _Blobs) -> Operation:
    attributes = {key: _value(value, blobs, key) for key, value in message.entries(5).items()}
    results = message.messages(3)
    name = str(attributes.pop("name", "") or (results[0].text(1) if results else "?"))
    kind = message.text(1)
    if message.messages(4):
        raise RuntimeFailure(f"Operation {name} ({kind}) holds blocks of its own; edgec's evaluator knows no control flow.")
    inputs = {}
    for parameter, argument in message.entries(2).items():
        bindings = argument.messages(1)
        named = tuple(1 in binding for binding in bindings)
        inputs[parameter] = Argument(
            tuple(
                binding.text(1) if is_name else _value(binding.message(2), blobs, f"{name}.{parameter}")
                for binding, is_name in zip(bindings, named, strict=True)
            ),
            named,
        )
    outputs = tuple((entry.text(1), read_type(entry.message(2), entry.text(1))) for entry in results)
    return Operation(kind, name, inputs, outputs, attributes)


def _value(value: Message, blobs: _Blobs, name: str) -> Literal:
    kind = read_type(value.message(2), name)
    if 5 in value:
        blob = value.message(5)
        return blobs.tensor(blob.text(1), blob.integer(2), kind)
    tensor = value.message(3).message(1)
    if kind.kind == "string":
        return tensor.message(4).texts(1)[0] if not kind.shape else np.array(tensor.message(4).texts(1))
    return _immediate(tensor, kind, name)


_FIELDS: dict[int, Callable[[Message], Any]] = {
    1: lambda field: field.numbers(1, np.float32),
    2: lambda field: field.integers(1),
    3: lambda field: field.integers(1),
    5: lambda field: field.integers(1),
    6: lambda field: field.numbers(1, np.float64),
}
"""TensorValue's repeated fields: floats, ints, bools, longInts, doubles."""


def _immediate(tensor: Message, kind: TensorType, name: str) -> Literal:
    count = prod(kind.static)
    if 7 in tensor:
        data = np.frombuffer(tensor.message(7).data(1), np.uint8)
        if 8 * len(data) < count * kind.bits:
            raise RuntimeFailure(f"The value of {name} is damaged.", evidence=f"{len(data)} bytes for {kind}")
        return unpack(data, kind) if kind.bits < 8 else data.view(kind.dtype).reshape(kind.static)
    found: Any = next((read(tensor.message(number)) for number, read in _FIELDS.items() if number in tensor), [])
    if len(found) != count:
        raise RuntimeFailure(f"The value of {name} is damaged.", evidence=f"{len(found)} elements for {kind}")
    return np.array(found).astype(kind.dtype).reshape(kind.static)
