"""From the hub graph and its plan to the package on disk."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from edgec.graph.operations import constants
from edgec.graph.planned import apply_plan
from edgec.lowering.coreml import metadata, package
from edgec.lowering.coreml.program import Translator, compressed_weights
from edgec.lowering.coreml.sdk import SPECIFICATION, quiet, sdk
from edgec.lowering.coreml.types import HALVES, PIXEL_SCALE, mil_name
from edgec.lowering.halves import constant_problem, unfit_products
from edgec.precision.plan import Precision, PrecisionPlan

FRAMES = "frames.transpose"
"""The hub graph's first tensor that is laid out as Core ML hands images over, [N, 3, H, W]: the program begins with it."""


def write(hub: onnx.ModelProto, plan: PrecisionPlan, place: Path) -> dict[str, str]:
    """Write the package; returns the products that stay in float32 because their constants do not fit fp16, with the reason.

    Raises `TargetError` if coremltools is not installed, `ExportError` naming an operation that has no translation.
    """
    tools = sdk()
    model = apply_plan(hub, plan)
    kept = _unfit(model) if plan.default in HALVES else {}
    exceptions: dict[str, Precision] = dict.fromkeys(kept, "fp32")
    plan = replace(plan, operations={**plan.operations, **exceptions})
    with quiet(), tempfile.TemporaryDirectory(prefix="edgec-", dir=place.parent) as folder:
        program = _program(model, plan, compressed_weights(hub, plan), tools)
        specification = tools.specification(program, folder, specification_version=SPECIFICATION)
        metadata.describe_frames(specification, metadata.frames_shape(hub))
        package.write_package(place, specification, next(Path(folder).glob("*.bin")))
    return kept


def _program(model: onnx.ModelProto, plan: PrecisionPlan, compressed: dict[str, Precision], tools: Any) -> Any:
    count, height, width, _ = metadata.frames_shape(model)
    names = metadata.image_names(count)
    inputs = {name: tools.mb.placeholder(shape=(1, 3, height, width), dtype=tools.types.fp32) for name in names}
    program = tools.Program()
    with tools.Function(inputs, opset_version=tools.target) as function:
        translator = Translator(model, plan, compressed, tools)
        images = [function.inputs[name] for name in names]
        translator.values |= {"frames": images[0], "frames.cast": images[0], FRAMES: _stacked(translator, images)}
        function.set_outputs(translator.translate())
    program.add_function("main", function)
    return program


def _stacked(translator: Translator, images: list[Any]) -> Any:
    """A Core ML image is one image: a batch is as many inputs."""
    if len(images) == 1:
        return images[0]
    number = translator.number
    return translator.mb.concat(values=images, axis=number(0), interleave=number(False), name=mil_name(FRAMES))


def _unfit(model: onnx.ModelProto) -> dict[str, str]:
    found = unfit_products(model)
    embedding = next(node for node in model.graph.node if node.op_type == "Conv")
    if embedding.name in found:
        # Its weights are multiplied before they are rounded.
        scaled = numpy_helper.to_array(constants(model)[embedding.input[1]]) / np.float32(PIXEL_SCALE)
        if not constant_problem(scaled):
            del found[embedding.name]
    return found
