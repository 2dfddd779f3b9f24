"""A package's description: the camera's image as its input, its outputs, its author and its licence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgec.lowering.base import Label
from edgec.lowering.coreml import package
from edgec.lowering.coreml.sdk import quiet

if TYPE_CHECKING:
    import onnx_ir as ir

FRAMES = "frames"


def frames_shape(hub: ir.Model) -> list[int]:
    """The shape of the hub graph's frames, [N, H, W, 3]."""
    shape = hub.graph.inputs[0].shape
    assert shape is not None
    return list(shape.numpy())


def image_names(count: int) -> list[str]:
    """The names of the inputs for a batch of frames: `frames`, or `frames_0`, `frames_1`, …"""
    return [FRAMES] if count == 1 else [f"{FRAMES}_{index}" for index in range(count)]


def describe_frames(specification: Any) -> None:
    """Declare the inputs as 8-bit RGB images. Core ML hands over values of 0 to 255; there is no scale and no bias to get
    wrong."""
    for described in _described(specification):
        for feature in described.input:
            height, width = feature.type.multiArrayType.shape[2:]
            image = feature.type.imageType
            image.height, image.width = height, width
            image.colorSpace = image.RGB


def _described(specification: Any) -> list[Any]:
    """What describes inputs and outputs: the model, or each of its functions where it has several."""
    description = specification.description
    return list(description.functions) or [description]


def write(path: Path, label: Label) -> None:
    """Write the label into a package's specification."""
    with quiet():
        from coremltools.proto import Model_pb2

    specification = Model_pb2.Model.FromString((path / package.MODEL).read_bytes())
    metadata = specification.description.metadata
    metadata.author, metadata.license, metadata.versionString = label.author, label.licence, label.version
    metadata.shortDescription = label.description
    metadata.userDefined.update(label.facts)
    for described in _described(specification):
        for feature in described.input:
            feature.shortDescription = label.input
        for feature in described.output:
            feature.shortDescription = label.outputs.get(feature.name, "")
    package.write_model(path, specification)
