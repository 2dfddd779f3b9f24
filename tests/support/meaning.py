"""An artefact whose outputs are known without running anything: its heads read colours. Run by the real ONNX Runtime lowering."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, checker, helper, numpy_helper, save

from edgec.artefact.arrays import write_arrays
from edgec.artefact.contents import build_manifest_files
from edgec.artefact.drift import drift_path
from edgec.artefact.golden import EXPECTED_FLOAT32, EXPECTED_SHIPPED, FRAMES, write_golden
from edgec.artefact.write import write_artefact
from edgec.fidelity.drift import fit
from edgec.lowering.base import LoweredModel
from edgec.lowering.registry import get
from edgec.records.evidence import Evidence
from edgec.records.fidelity import HeadFacts, StageFidelity
from edgec.records.manifest import CheckpointFacts, FrameSetFacts, Golden, LicenceFacts, Manifest, Tensor

CLASSES = ("red", "green", "blue")
Frame = NDArray[np.uint8]
HEIGHT, WIDTH, PATCH, FEATURES = 32, 48, 16, 8
ENTRY = "runtime/model.onnx"


def heads() -> tuple[HeadFacts, ...]:
    def head(name: str, kind: str, output: str, classes: tuple[str, ...] = ()) -> HeadFacts:
        return HeadFacts.model_validate(
            {
                "name": name,
                "kind": kind,
                "output": output,
                "outputs": (name,),
                "classes": classes,
                "reads": ("patches",),
                "sha256": hashlib.sha256(name.encode()).hexdigest(),
            }
        )

    return (
        head("colour", "linear", "scores", CLASSES),
        head("where", "segmentation", "labels", CLASSES),
        head("bright", "depth", "depth"),
        head("grid", "mlp", "values"),
    )


def write_meaning(folder: Path, *, batch: int = 1, with_heads: bool = True, like: Sequence[Frame] = ()) -> Path:
    """`colour`: the mean of each channel of the frame, of 0 to 10. `where`: of each pixel, the greatest channel. `bright`: of
    each pixel, the mean of its channels. `grid`: the means of each patch. `patches` and `cls` are a convolution with drawn
    weights. `like` are calibration and validation frames, half each: frames that are unlike them drift."""
    return write_artefact(folder, lambda work: _fill(work, batch, with_heads, like), force=False)


def _fill(folder: Path, batch: int, with_heads: bool, like: Sequence[Frame]) -> None:
    rows, columns = HEIGHT // PATCH, WIDTH // PATCH
    outputs = [Tensor(name="cls", dtype="float32", shape=(batch, FEATURES))]
    outputs.append(Tensor(name="patches", dtype="float32", shape=(batch, rows, columns, FEATURES)))
    if with_heads:
        outputs += [
            Tensor(name="colour", dtype="float32", shape=(batch, 3), role="scores"),
            Tensor(name="where", dtype="int32", shape=(batch, HEIGHT, WIDTH), role="labels"),
            Tensor(name="bright", dtype="float32", shape=(batch, HEIGHT, WIDTH), role="depth"),
            Tensor(name="grid", dtype="float32", shape=(batch, rows, columns, 3), role="values"),
        ]
    _save_model(folder / ENTRY, batch, outputs)
    runner = get("onnxruntime").load(LoweredModel("onnxruntime", folder, ENTRY, (ENTRY,)), threads=1)
    frames = np.random.default_rng(1).integers(0, 256, (batch, HEIGHT, WIDTH, 3), dtype=np.uint8)
    found = runner(frames)
    write_golden(folder, frames, found, found)
    if like:
        runs = [runner(np.stack([frame] * batch)) for frame in like]
        tokens = [run["cls"][0] for run in runs]
        write_arrays(folder / drift_path(), fit(tokens[::2], tokens[1::2]).arrays())
    fidelity = StageFidelity(
        stage="artefact", cls_cosine_mean=1, patch_cosine_mean=1, patch_cosine_p01=1, frames=1, evidence=Evidence.HOST
    )
    manifest = Manifest(
        edgec_version="0.1.0",
        build_key="0123abcd",
        checkpoint=CheckpointFacts(
            name="colours",
            form="random",
            arch="convolution",
            sha256="0" * 64,
            random_weights=True,
            normalisation="none",
            mean=(0, 0, 0),
            std=(1, 1, 1),
            licence=LicenceFacts(name="Apache-2.0", spdx="Apache-2.0", reason="made here"),
        ),
        calibration=None,
        validation=FrameSetFacts(name="noise", sha256="0" * 64, frames=1),
        target="cpu",
        runtime="onnxruntime",
        precision="fp32",
        execution_precision="fp32",
        entry=ENTRY,
        settings={"precision": "fp32"},
        input=Tensor(name="frames", dtype="uint8", shape=(batch, HEIGHT, WIDTH, 3)),
        outputs=tuple(outputs),
        operations={"Conv_0": "fp32"},
        fidelity=(fidelity,),
        golden=Golden(
            frames=FRAMES,
            expected_float32=EXPECTED_FLOAT32,
            expected_shipped=EXPECTED_SHIPPED,
            count=batch,
            relative_tolerance=1e-4,
            min_cosine=0.9999,
        ),
        heads=heads() if with_heads else (),
        tools={"onnxruntime": "1"},
        files=build_manifest_files(folder),
    )
    (folder / "manifest.json").write_text(manifest.to_json())
    (folder / "report.json").write_text("{}")
    (folder / "report.md").write_text("# report")


def _save_model(path: Path, batch: int, outputs: list[Tensor]) -> None:
    weights = np.random.default_rng(0).standard_normal((FEATURES, 3, PATCH, PATCH), dtype=np.float32) / 255
    nodes = [
        helper.make_node("Cast", ["frames"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "weights"], ["map"], kernel_shape=[PATCH, PATCH], strides=[PATCH, PATCH]),
        helper.make_node("Transpose", ["map"], ["patches"], perm=[0, 2, 3, 1]),
        helper.make_node("ReduceMean", ["patches", "plane"], ["cls"], keepdims=0),
    ]
    if len(outputs) > 2:
        nodes += [
            helper.make_node("ReduceMean", ["pixels", "plane"], ["means"], keepdims=0),
            helper.make_node("Mul", ["means", "tenth"], ["colour"]),
            helper.make_node("ArgMax", ["pixels"], ["greatest"], axis=3, keepdims=0),
            helper.make_node("Cast", ["greatest"], ["where"], to=TensorProto.INT32),
            helper.make_node("ReduceMean", ["pixels", "channel"], ["bright"], keepdims=0),
            helper.make_node("AveragePool", ["planes"], ["coarse"], kernel_shape=[PATCH, PATCH], strides=[PATCH, PATCH]),
            helper.make_node("Transpose", ["coarse"], ["grid"], perm=[0, 2, 3, 1]),
        ]
    constants: dict[str, NDArray[Any]] = {"weights": weights, "plane": np.array([1, 2]), "channel": np.array([3])}
    constants["tenth"] = np.array(10 / 255, np.float32)
    types = {"float32": TensorProto.FLOAT, "int32": TensorProto.INT32}
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, [batch, HEIGHT, WIDTH, 3])],
        [helper.make_tensor_value_info(output.name, types[output.dtype], output.shape) for output in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items() if name in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model)
    path.parent.mkdir(exist_ok=True)
    save(model, path)
