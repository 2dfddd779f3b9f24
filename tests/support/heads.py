"""Small heads of every kind, with weights that make each part of them matter, as files that users have."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from edgec.heads import Head, read_head

CLASSES = ("floor", "wall", "thing")


def drawn(seed: int, **shapes: tuple[int, ...]) -> dict[str, Tensor]:
    """Weights that keep the size of what they are given, biases and norms that are neither nought nor one."""
    random = np.random.default_rng(seed)
    return {name.replace("__", "."): _tensor(name, shape, random) for name, shape in shapes.items()}


def _tensor(name: str, shape: tuple[int, ...], random: np.random.Generator) -> Tensor:
    value = random.normal(0, 1.4 / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 0.3, shape)
    if name.endswith(("running_var", "variance")):
        value = np.abs(value) + 0.5
    elif len(shape) == 1 and "norm" in name and name.endswith("weight"):
        value += 1
    return torch.from_numpy(value.astype(np.float32))


def write(path: Path, tensors: dict[str, Tensor], **said: Any) -> Path:
    """A safetensors file with its description in the metadata."""
    metadata = {key: value if isinstance(value, str) else json.dumps(value) for key, value in said.items()}
    save_file({name: value.contiguous() for name, value in tensors.items()}, path, metadata)
    return path


def linear(folder: Path, width: int, *, features: str = "cls+mean", name: str = "kind") -> Head:
    count = 2 if features == "cls+mean" else 1
    tensors = drawn(1, weight=(len(CLASSES), count * width), bias=(len(CLASSES),))
    return read_head(name, write(folder / f"{name}.safetensors", tensors, kind="linear", features=features, classes=CLASSES))


def segmentation(folder: Path, width: int, *, name: str = "floor", layers: Sequence[int] = (), output: str = "labels") -> Head:
    tensors = drawn(
        2,
        conv__weight=(len(CLASSES), width, 1, 1),
        conv__bias=(len(CLASSES),),
        batchnorm_layer__weight=(width,),
        batchnorm_layer__bias=(width,),
        batchnorm_layer__running_mean=(width,),
        batchnorm_layer__running_var=(width,),
    )
    path = write(
        folder / f"{name}.safetensors", tensors, kind="segmentation", layers=list(layers), output=output, classes=CLASSES
    )
    return read_head(name, path)


def mlp(folder: Path, width: int, *, name: str = "grasp", activation: str = "gelu", output: str = "values") -> Head:
    tensors = drawn(3, a=(24, width), b=(24,), c=(5, 24), d=(5,))
    spelt = dict(zip(("0.weight", "0.bias", "2.weight", "2.bias"), tensors.values(), strict=True))
    path = write(folder / f"{name}.safetensors", spelt, kind="mlp", activation=activation, output=output)
    return read_head(name, path)


def dpt_tensors(
    widths: Sequence[int], *, bins: int = 6, channels: int = 12, norm: bool = True, bias: bool = False, project: bool = True
) -> dict[str, Tensor]:
    """Under the names of Meta's files."""
    outs = (8, 10, 12, 14)
    shapes: dict[str, tuple[int, ...]] = {}

    def conv(place: str, shape: tuple[int, ...], biased: bool = True) -> None:
        shapes[f"{place}.weight"] = shape
        if biased:
            shapes[f"{place}.bias"] = shape[:1]

    for index, (out, width) in enumerate(zip(outs, widths, strict=True)):
        conv(f"reassemble_blocks.projects.{index}.conv", (out, width, 1, 1))
        conv(f"convs.{index}.conv", (channels, out, 3, 3), False)
        conv(f"fusion_blocks.{index}.project.conv", (channels, channels, 1, 1))
        for unit in (1, 2) if index else (2,):
            for part in (1, 2):
                conv(f"fusion_blocks.{index}.res_conv_unit{unit}.conv{part}.conv", (channels, channels, 3, 3), bias)
        if norm:
            for part in ("weight", "bias", "running_mean", "running_var"):
                shapes[f"reassemble_blocks.batchnorm_layers.{index}.norm.{part}"] = (width,)
    for index, kernel in ((0, 4), (1, 2), (3, 3)):
        conv(f"reassemble_blocks.resize_layers.{index}", (outs[index], outs[index], kernel, kernel))
    if project:
        conv("project.conv", (channels, channels, 3, 3))
    conv("conv_depth.head.0", (channels // 2, channels, 3, 3))
    conv("conv_depth.head.2", (7, channels // 2, 3, 3))
    conv("conv_depth.head.4", (bins, 7, 1, 1))
    random = np.random.default_rng(4)
    tensors = {name.replace(".norm.", "."): _tensor(name, shape, random) for name, shape in shapes.items()}
    # Bins of about one size, as trained heads have them: all the weight on one would make every rounding a step.
    tensors["conv_depth.head.4.weight"] *= 0.1
    return tensors


def depth(folder: Path, widths: Sequence[int], layers: Sequence[int], *, name: str = "depth", **said: Any) -> Head:
    shape = {key: said.pop(key) for key in ("bins_count", "norm", "bias", "project") if key in said}
    if "bins_count" in shape:
        shape["bins"] = shape.pop("bins_count")
    tensors = dpt_tensors(widths, **shape)
    path = write(folder / f"{name}.safetensors", tensors, kind="depth", layers=list(layers), max_depth=10.0, **said)
    return read_head(name, path)


def pooled_onnx(path: Path, width: int, *, opset: int = 20, names: tuple[str, str] = ("cls", "patches")) -> Path:
    """A head as somebody would export it: it reads two features, has open dimensions but for the width, and works out shapes as
    it runs."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = drawn(5, weight=(2 * width, 3))["weight"].numpy()
    nodes = [
        helper.make_node("Shape", [names[1]], ["shape"]),
        helper.make_node("Gather", ["shape", "first"], ["count"]),
        helper.make_node("Concat", ["count", "open", "wide"], ["flat_shape"], axis=0),
        helper.make_node("Reshape", [names[1], "flat_shape"], ["flat"]),
        helper.make_node("ReduceMax", ["flat", "one"], ["largest"], keepdims=0),
        helper.make_node("Concat", [names[0], "largest"], ["both"], axis=-1),
        helper.make_node("MatMul", ["both", "weight"], ["scores"]),
    ]
    numbers = {"first": [0], "open": [-1], "wide": [width], "one": [1]}
    constants = [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in numbers.items()]
    constants.append(numpy_helper.from_array(weight, "weight"))
    inputs = [
        helper.make_tensor_value_info(names[0], TensorProto.FLOAT, ["n", width]),
        helper.make_tensor_value_info(names[1], TensorProto.FLOAT, ["n", "h", "w", width]),
    ]
    output = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph(nodes, "head", inputs, [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    helper.set_model_props(model, {"output": "scores", "classes": json.dumps(list(CLASSES))})
    onnx.save(model, path)
    return path
