"""An artefact with a head of every kind for the robot, as edgec writes it: typed graphs, golden frames, bounds."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from edgec.artefact.golden import write_golden
from edgec.backends.base import Packing
from edgec.backends.candidate import Candidate
from edgec.backends.jetson.backend import JetsonBackend
from edgec.backends.profiles import family
from edgec.fidelity.budget import Budget
from edgec.graph.files import serialised
from edgec.graph.passes.base import rewritten
from edgec.graph.passes.outputs import GiveOnly
from edgec.heads import Head, read_head
from edgec.heads.attach import attach
from edgec.heads.reference import CameraModelWithHeads
from edgec.lowering.tensorrt import TensorRt
from edgec.precision.static import int8_activations, uniform
from edgec.records.fidelity import HeadFacts
from edgec.records.manifest import Tensor
from edgec.records.report import ModelFacts
from tests.device.robot import COUNT, SIZE
from tests.support import heads as made
from tests.support.frames import pictures
from tests.support.models import VIT, exported
from tests.support.plans import observed_ranges, plain_int8

DEEP = replace(VIT, depth=4)
LAYERS = (0, 1, 2, 3)
BATCH = 1


def drawn_heads(folder: Path) -> tuple[Head, ...]:
    return (
        made.linear(folder, 64, name="kind"),
        made.segmentation(folder, 64, name="floor"),
        made.segmentation(folder, 64, name="parts", output="logits"),
        made.mlp(folder, 64, name="grasp"),
        made.depth(folder, (64,) * 4, LAYERS, name="far"),
        read_head("scene", made.pooled_onnx(folder / "scene.onnx", 64)),
    )


_KEPT = TemporaryDirectory(prefix="edgec-heads-")
"""Until this process ends."""


@cache
def _content() -> tuple[tuple[Head, ...], bytes, NDArray[np.uint8], dict[str, NDArray[Any]]]:
    """Heads, the hub graph with them, golden frames, and what PyTorch makes of these."""
    backbone = exported(DEEP, SIZE, BATCH, layers=LAYERS)
    heads, frames = drawn_heads(Path(_KEPT.name)), pictures(SIZE, COUNT)
    model = CameraModelWithHeads(backbone.model(folded=False), heads)
    with torch.inference_mode():
        runs = [model(torch.from_numpy(frame[None].copy())) for frame in frames]
    expected = {name: np.concatenate([run[name].numpy() for run in runs]) for name in runs[0]}
    return heads, serialised(attach(backbone.graph, heads)), frames, expected


def write_heads(folder: Path, *, features: bool = True) -> Path:
    return Path(shutil.copytree(_made(features), folder))


@cache
def _made(features: bool) -> Path:
    folder = Path(_KEPT.name) / ("all" if features else "alone")
    heads, content, frames, expected = _content()
    facts = tuple(HeadFacts.model_validate(head.facts) for head in heads)
    roles = {name: head.output for head in facts for name in head.outputs}
    expected = {name: value for name, value in expected.items() if features or name in roles}
    hub = ir.from_proto(onnx.ModelProto.FromString(content))
    tensors = int8_activations(hub)
    ranges = observed_ranges(hub, list(tensors), list(frames), BATCH)
    plans = {
        "int8": plain_int8(hub, ranges, kinds=("linear",), rest="fp16", activations="s8"),
        "fp16": uniform("fp16"),
        "fp32": uniform("fp32"),
    }
    (folder / "model").mkdir(parents=True)
    variants = []
    for name, plan in plans.items():
        model = TensorRt().lower(rewritten(hub, GiveOnly(list(expected))), plan, folder / "model")
        variants.append(Candidate(f"tensorrt-{name}", "tensorrt", name, plan=plan, model=model))
    write_golden(folder, frames, expected, expected)
    JetsonBackend().pack(
        Packing(
            directory=folder,
            name="small-jetson-64x96",
            build_key="cd" * 32,
            profiles=family("jetson"),
            target="jetson",
            input=Tensor(name="frames", dtype="uint8", shape=(BATCH, SIZE.height, SIZE.width, 3)),
            outputs=tuple(
                Tensor(name=name, dtype=value.dtype.name, shape=(BATCH, *value.shape[1:]), role=roles.get(name, "features"))
                for name, value in expected.items()
            ),
            variants=variants,
            golden_count=COUNT,
            budget=Budget(0.9),
            model=ModelFacts(
                name="small", arch="64/4/1", checkpoint_sha256="0" * 64, random_weights=True, gflops=0.01, parameters=100000
            ),
            precision_asked="auto",
            calibration="made for a test",
            threads=1,
            folders={variant.name: "model" for variant in variants},
            heads=facts,
        ),
    )
    return folder


def said(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "device" / "bundle.json").read_text())
    return document
