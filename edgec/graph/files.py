"""Reading and writing ONNX files, below protobuf's limit of 2 GiB and above it."""

from __future__ import annotations

from pathlib import Path

import onnx

LIMIT = 2**31 - 2**20
"""A margin below protobuf's 2 GiB for everything that is not weights."""


def weight_bytes(model: onnx.ModelProto) -> int:
    return sum(len(initializer.raw_data) for initializer in model.graph.initializer)


def save(model: onnx.ModelProto, path: Path) -> tuple[str, ...]:
    """Write the model; returns the names of the files. One file below the limit, a `.data` file beside it above."""
    if weight_bytes(model) < LIMIT:
        path.write_bytes(model.SerializeToString(deterministic=True))
        return (path.name,)
    data = f"{path.name}.data"
    # onnx.save moves the weights out of the model that it is given; the caller still needs them.
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    onnx.save(copy, path, save_as_external_data=True, all_tensors_to_one_file=True, location=data)
    return path.name, data


def load(path: Path) -> onnx.ModelProto:
    return onnx.load(path)
