"""Reading and writing ONNX files, below protobuf's limit of 2 GiB and above it."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

LIMIT = 2**31 - 2**20
"""A margin below protobuf's 2 GiB for everything that is not weights."""


def weight_bytes(model: ir.Model) -> int:
    """Bytes of all constants together."""
    return sum(tensor.nbytes for tensor in model.graph.initializers.tensors())


def save(model: ir.Model, path: Path) -> tuple[str, ...]:
    """Write the model; returns the names of the files. One file below the limit, a `.data` file beside it above."""
    if weight_bytes(model) < LIMIT:
        path.write_bytes(serialised(model))
        return (path.name,)
    data = f"{path.name}.data"
    ir.save(model, path, external_data=data)
    return path.name, data


def serialised(model: ir.Model) -> bytes:
    """The bytes of a file of the model, whose weights must be below the limit. The same model gives the same bytes."""
    content: bytes = ir.to_proto(model).SerializeToString(deterministic=True)
    return content


def load(path: Path) -> ir.Model:
    """The model, with all weights in memory, those in a file beside it too."""
    return ir.external_data.load_to_model(ir.load(path))
