"""From the hub graph and its plan to the package on disk: one function, or one for each size of frames.

Functions of several sizes share weights: equal constants are in the blob file once. coremltools' `save_multifunction` would do
that too, but treats constants as equal that differ by 6e-8, which in fp16 is another weight.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from edgec.graph.operations import is_of_a_head
from edgec.graph.plan import Precision, PrecisionPlan
from edgec.graph.planned import apply_plan
from edgec.graph.values import array_of, input_of, name_of, shape_of
from edgec.lowering.coreml import metadata, package
from edgec.lowering.coreml.head_operations import FLOATS
from edgec.lowering.coreml.program import Translator, compressed_weights
from edgec.lowering.coreml.sdk import SPECIFICATION, quiet, sdk
from edgec.lowering.coreml.types import HALVES, PIXEL_SCALE, mil_name
from edgec.lowering.halves import constant_problem, unfit_nodes, unfit_products

FRAMES = "frames.transpose"
"""The hub graph's first tensor with the layout of Core ML's images, [N, 3, H, W]: the program begins with it."""
MAIN = "main"
"""The name of the function in a package with a single one."""


def write(hubs: Mapping[str, ir.Model], plan: PrecisionPlan, path: Path) -> dict[str, str]:
    """Write the package of these hub graphs, which are given by the names of their functions, the default first. Returns the
    products that stay in float32 because a constant does not fit fp16, each with the reason.

    Raises `TargetError` if coremltools is not installed, `UnsupportedOperation` naming an operation that has no translation.
    """
    tools = sdk()
    in_float32: dict[str, str] = {}
    models: dict[str, ir.Model] = {}
    for name, hub in hubs.items():
        models[name] = apply_plan(hub, plan)
        in_float32 |= _unfit(models[name]) if plan.default in HALVES else {}
    plan = plan.with_float32(in_float32)
    with quiet(), tempfile.TemporaryDirectory(prefix="edgec-", dir=path.parent) as folder:
        program = tools.Program()
        for name, hub in hubs.items():
            program.add_function(name, _function(models.pop(name), plan, compressed_weights(hub, plan), tools))
        if len(hubs) > 1:
            program.export_as_multifunction, program.default_function_name = True, next(iter(hubs))
            _share_weights(program, tools)
        specification = tools.specification(program, folder, specification_version=SPECIFICATION)
        _drop_names(specification)
        metadata.describe_frames(specification)
        package.write_package(path, specification, next(Path(folder).glob("*.bin")))
    return in_float32


def check_head(head: ir.Model) -> None:
    """Translate a head by itself; its inputs are the backbone's features. Raises `UnsupportedOperation` naming an operation that
    has no translation, `TargetError` if coremltools is not installed."""
    tools = sdk()
    shapes = {name_of(value): shape_of(value) for value in head.graph.inputs}
    with quiet():
        inputs = {name: tools.mb.placeholder(shape=shape, dtype=tools.types.fp32) for name, shape in shapes.items()}
        with tools.Function(inputs, opset_version=tools.target) as function:
            translator = Translator(head, PrecisionPlan("fp16", "fp16"), {}, tools)
            translator.embedding = None
            translator.values |= {name: function.inputs[name] for name in inputs}
            function.set_outputs(translator.translate())


def _drop_names(specification: Any) -> None:
    """Remove the attribute `name` of operations where it equals the name of the result. Core ML does not need it: Chromium's
    WebNN writes programs without names (services/webnn/coreml/graph_builder_coreml.cc), and coremltools reads them. The names are
    half a per cent of a ViT-T in 8 bits."""
    for function in specification.mlProgram.functions.values():
        for block in function.block_specializations.values():
            for operation in block.operations:
                if [each.name for each in operation.outputs] == operation.attributes["name"].immediateValue.tensor.strings.values:
                    del operation.attributes["name"]


def _share_weights(program: Any, tools: Any) -> None:
    """Give equal constants of all functions one identifier, by which the exporter writes them once."""
    for function in program.functions.values():
        for operation in function.operations:
            value = operation.outputs[0].val if operation.op_type == "const" else None
            if isinstance(value, np.ndarray):
                kind = f"{tools.types.builtin_to_string(operation.outputs[0].dtype)} {value.shape} "
                operation.weight_id = kind + hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()


def _function(model: ir.Model, plan: PrecisionPlan, compressed: dict[str, Precision], tools: Any) -> Any:
    count, height, width, _ = metadata.frames_shape(model)
    names = metadata.image_names(count)
    inputs = {name: tools.mb.placeholder(shape=(1, 3, height, width), dtype=tools.types.fp32) for name in names}
    with tools.Function(inputs, opset_version=tools.target) as function:
        translator = Translator(model, plan, compressed, tools)
        translator.reserve(names)
        images = [function.inputs[name] for name in names]
        translator.values |= {"frames": images[0], "frames.cast": images[0], FRAMES: _stacked(translator, images)}
        function.set_outputs(translator.translate())
    return function


def _stacked(translator: Translator, images: list[Any]) -> Any:
    """A Core ML image is a single image: a batch is as many inputs."""
    if len(images) == 1:
        return images[0]
    number = translator.number
    return translator.mb.concat(values=images, axis=number(0), interleave=number(False), name=mil_name(FRAMES))


def _unfit(model: ir.Model) -> dict[str, str]:
    problems = unfit_products(model)
    embedding = next(node for node in model.graph if node.op_type == "Conv")
    # Its weights are multiplied before they are rounded.
    if embedding.name in problems and not constant_problem(array_of(input_of(embedding, 1)) / np.float32(PIXEL_SCALE)):
        del problems[embedding.name]
    # Of heads, any operation counts: one may read the 1e-12 that keeps a divisor from zero.
    heads = (node for node in model.graph if is_of_a_head(node) and node.op_type != "BatchNormalization")
    return problems | unfit_nodes(heads, FLOATS)
