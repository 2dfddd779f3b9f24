"""An `.mlpackage` on disk, read as it was saved: manifest, model description, MIL program, weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from edgec.errors import RuntimeFailure
from edgec.lowering.coreml.evaluator.blob import BlobFile
from edgec.lowering.coreml.evaluator.messages import Message, read_model
from edgec.lowering.coreml.evaluator.types import TensorType, read_type, unpack
from edgec.untrusted import parse_json_object, read_bytes

MODEL_PATH = "@model_path/"
_MANIFEST_LIMIT_BYTES = 1 << 20
COLOURS = {20: "RGB", 30: "BGR"}
"""ImageFeatureType.ColorSpace, of the spaces that a camera's frame can be given in."""

Literal = Any
"""A numpy array, or a str."""


@dataclass(frozen=True)
class Argument:
    """The values that one parameter of an operation is bound to, one or several (where it takes a list): names of other
    operations' results where `named` is true, literals elsewhere."""

    bindings: tuple[str | Literal, ...]
    named: tuple[bool, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The bindings that are names."""
        return tuple(binding for binding, named in zip(self.bindings, self.named, strict=True) if named)


@dataclass(frozen=True)
class Operation:
    """One operation of a block. `attributes` are literals, such as a constant's `val`. An operation without a name has its first
    result's."""

    kind: str
    name: str
    inputs: Mapping[str, Argument]
    outputs: tuple[tuple[str, TensorType], ...]
    attributes: Mapping[str, Literal]


@dataclass(frozen=True)
class ImageInput:
    """An input that takes images. `colour` is RGB or BGR."""

    colour: str
    sizes: frozenset[tuple[int, int]]
    """(height, width), as many as the package enumerates."""


@dataclass(frozen=True)
class Function:
    """One function of a program. `inputs` are names and types, `outputs` names; `images` are the inputs that take images, by
    name."""

    name: str
    opset: str
    inputs: tuple[tuple[str, TensorType], ...]
    operations: tuple[Operation, ...]
    outputs: tuple[str, ...]
    images: Mapping[str, ImageInput]


@dataclass(frozen=True)
class Package:
    """A package as it was read. `specification` is the version of Core ML's format, `default` the name of the default
    function."""

    path: Path
    specification: int
    functions: Mapping[str, Function]
    default: str


def read_package(path: Path) -> Package:
    """Read an `.mlpackage`. Raises `RuntimeFailure` if it is no ML program package, is damaged, or holds something that the
    evaluator does not know."""
    model_file = _model_file(path)
    model = read_model(_read(model_file))
    if not model.HasField("mlProgram"):
        raise RuntimeFailure("The package holds no ML program.", evidence=str(model_file))
    description, blobs = model.description, _Blobs(model_file.parent)
    described = {entry.name: entry.input for entry in description.functions}
    functions = {
        entry.key: _function(entry.key, entry.value, described.get(entry.key) or description.input, blobs)
        for entry in model.mlProgram.functions
    }
    default = description.defaultFunctionName or "main"
    if default not in functions:
        raise RuntimeFailure("The package's default function is missing.", evidence=f"{default}, of {', '.join(functions)}")
    return Package(path, model.specificationVersion, functions, default)


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

    def tensor(self, name: str, offset: int, expected: TensorType) -> Literal:
        if name not in self._open:
            self._open[name] = BlobFile(_inside(self._folder, PurePosixPath(name.removeprefix(MODEL_PATH))))
        key = name, offset, expected
        if key not in self._read:
            self._read[key] = self._open[name].tensor(offset, expected)
        return self._read[key]


def _function(name: str, function: Message, features: Iterable[Message], blobs: _Blobs) -> Function:
    opset = function.opset
    blocks = {entry.key: entry.value for entry in function.block_specializations}
    if opset not in blocks:
        raise RuntimeFailure(f"Function {name} has no block for its operation set.", evidence=f"{opset}, of {', '.join(blocks)}")
    block = blocks[opset]
    images = {feature.name: image for feature in features if (image := _image(feature)) is not None}
    operations = tuple(_operation(entry, blobs) for entry in block.operations)
    return Function(name, opset, _named(function.inputs), operations, tuple(block.outputs), images)


def _named(entries: Iterable[Message]) -> tuple[tuple[str, TensorType], ...]:
    return tuple((entry.name, read_type(entry.type, entry.name)) for entry in entries)


def _image(feature: Message) -> ImageInput | None:
    if not feature.type.HasField("imageType"):
        return None
    image = feature.type.imageType
    colour = COLOURS.get(image.colorSpace)
    if colour is None or image.HasField("imageSizeRange"):
        raise RuntimeFailure(f"Input {feature.name} is an image of another kind than RGB or BGR of fixed or enumerated size.")
    return ImageInput(colour, frozenset((entry.height, entry.width) for entry in (image, *image.enumeratedSizes.sizes)))


def _operation(message: Message, blobs: _Blobs) -> Operation:
    attributes = {entry.key: _value(entry.value, blobs, entry.key) for entry in message.attributes}
    name = str(attributes.pop("name", "") or (message.outputs[0].name if message.outputs else "?"))
    kind = message.type
    if message.blocks:
        raise RuntimeFailure(f"Operation {name} ({kind}) holds blocks of its own; edgec's evaluator knows no control flow.")
    inputs = {}
    for entry in message.inputs:
        bindings = entry.value.arguments
        named = tuple(not binding.HasField("value") for binding in bindings)
        inputs[entry.key] = Argument(
            tuple(
                binding.name if is_name else _value(binding.value, blobs, f"{name}.{entry.key}")
                for binding, is_name in zip(bindings, named, strict=True)
            ),
            named,
        )
    return Operation(kind, name, inputs, _named(message.outputs), attributes)


def _value(value: Message, blobs: _Blobs, name: str) -> Literal:
    kind = read_type(value.type, name)
    if value.HasField("blobFileValue"):
        return blobs.tensor(value.blobFileValue.fileName, value.blobFileValue.offset, kind)
    tensor = value.immediateValue.tensor
    if kind.kind == "string" and not kind.shape:
        return next(iter(tensor.strings.values), "")
    return _immediate(tensor, kind, name)


def _immediate(tensor: Message, kind: TensorType, name: str) -> Literal:
    count = prod(kind.static)
    field = next((field.name for field, _ in tensor.ListFields()), "floats")
    if field == "bytes":
        data = np.frombuffer(tensor.bytes.values, np.uint8)
        if 8 * len(data) < count * kind.bits:
            raise RuntimeFailure(f"The value of {name} is damaged.", evidence=f"{len(data)} bytes for {kind}")
        return unpack(data, kind) if kind.bits < 8 else data.view(kind.dtype).reshape(kind.static)
    values = getattr(tensor, field).values
    if len(values) != count:
        raise RuntimeFailure(f"The value of {name} is damaged.", evidence=f"{len(values)} elements for {kind}")
    return np.array(values).astype(kind.dtype).reshape(kind.static)
