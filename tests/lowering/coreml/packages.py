"""Packages for tests, and looking into them with coremltools: another reader than edgec's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx_ir as ir

from edgec.graph.plan import PrecisionPlan
from edgec.lowering.base import LoweredModel
from edgec.lowering.coreml import CoreMl, package
from edgec.lowering.coreml.sdk import quiet


def lower(hub: ir.Model, plan: PrecisionPlan, folder: Path) -> LoweredModel:
    folder.mkdir(parents=True, exist_ok=True)
    return CoreMl().lower(hub, plan, folder)


def specification(model: LoweredModel) -> Any:
    with quiet():
        from coremltools.proto import Model_pb2

    place = (model.directory / model.entry).parent
    return Model_pb2.Model.FromString((place / package.MODEL).read_bytes())


def operations(model: LoweredModel) -> list[Any]:
    function = specification(model).mlProgram.functions["main"]
    return list(function.block_specializations[function.opset].operations)


def kinds(model: LoweredModel) -> list[str]:
    """Of all operations but constants, in order."""
    return [each.type for each in operations(model) if each.type != "const"]


def named(model: LoweredModel, name: str) -> Any:
    return next(each for each in operations(model) if each.outputs[0].name == name)


def element_type(operation: Any) -> str:
    """Of its first output: FLOAT16, FLOAT32, INT8, …"""
    from coremltools.proto import MIL_pb2

    name: str = MIL_pb2.DataType.Name(operation.outputs[0].type.tensorType.dataType)
    return name
