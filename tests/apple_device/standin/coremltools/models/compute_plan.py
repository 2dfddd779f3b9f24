"""As coremltools/models/compute_plan.py. Casts are on the CPU, constants on no device, all else where it is hoped for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coremltools import ComputeUnit, planted
from coremltools.models.compute_device import MLCPUComputeDevice, MLGPUComputeDevice, MLNeuralEngineComputeDevice
from edgec.lowering.coreml.evaluator.package import read_package


@dataclass(frozen=True)
class NamedValueType:
    name: str


@dataclass(frozen=True)
class Operation:
    operator_name: str
    outputs: list[NamedValueType]


@dataclass(frozen=True)
class Block:
    operations: list[Operation]


@dataclass(frozen=True)
class Function:
    block: Block


@dataclass(frozen=True)
class Program:
    functions: dict[str, Function]


@dataclass(frozen=True)
class Structure:
    program: Program


@dataclass(frozen=True)
class Usage:
    preferred_compute_device: Any


class MLComputePlan:
    def __init__(self, structure: Structure, units: ComputeUnit) -> None:
        self.model_structure = structure
        self._units = units

    @classmethod
    def load_from_path(cls, path: str, compute_units: ComputeUnit = ComputeUnit.ALL) -> MLComputePlan:
        assert path.endswith(".mlmodelc")
        functions = {}
        for name, function in read_package(Path(path)).functions.items():
            operations = [
                Operation(f"ios18.{each.kind}", [NamedValueType(output) for output, _ in each.outputs])
                for each in function.operations
            ]
            functions[name] = Function(Block(operations))
        return cls(Structure(Program(functions)), compute_units)

    def get_compute_device_usage_for_mlprogram_operation(self, operation: Operation) -> Usage | None:
        kind = operation.operator_name.removeprefix("ios18.")
        if kind == "const" or kind.startswith("constexpr_") or planted("no-plan", self._units):
            return None
        if kind == "cast" or self._units is ComputeUnit.CPU_ONLY:
            return Usage(MLCPUComputeDevice())
        return Usage(MLGPUComputeDevice() if self._units is ComputeUnit.CPU_AND_GPU else MLNeuralEngineComputeDevice())
