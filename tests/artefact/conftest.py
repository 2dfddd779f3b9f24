"""A small artefact with a real model in it: a convolution as patch embedding, run by the real ONNX Runtime lowering."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, checker, helper, numpy_helper, save

from edgec.artefact.contents import build_manifest_files
from edgec.artefact.golden import EXPECTED_FLOAT32, EXPECTED_SHIPPED, FRAMES, write_golden
from edgec.artefact.machine import execution
from edgec.artefact.write import write_artefact
from edgec.durable import sha256_of
from edgec.lowering.base import Features, LoweredModel
from edgec.lowering.registry import get
from edgec.records.evidence import Evidence
from edgec.records.fidelity import StageFidelity
from edgec.records.manifest import CheckpointFacts, FrameSetFacts, Golden, LicenceFacts, Manifest, Tensor
from edgec.records.report import Beside, CandidateFigures, Host, ModelFacts, Report
from tests.support import forging

BATCH, SIDE, PATCH, WIDTH, GOLDEN = 2, 32, 16, 8, 3
GRID = SIDE // PATCH
ENTRY = "runtime/model.onnx"


def embedding() -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(0).standard_normal((WIDTH, 3, PATCH, PATCH), dtype=np.float32) / 255


def save_model(path: Path, weights: np.ndarray[Any, np.dtype[np.float32]], *, patches: str = "patches", side: int = SIDE) -> None:
    """uint8 frames [N, H, W, 3] to `patches` [N, H/p, W/p, D] and their mean, `cls` [N, D]."""
    grid = side // PATCH
    nodes = [
        helper.make_node("Cast", ["frames"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "weights"], ["map"], kernel_shape=[PATCH, PATCH], strides=[PATCH, PATCH]),
        helper.make_node("Transpose", ["map"], [patches], perm=[0, 2, 3, 1]),
        helper.make_node("ReduceMean", [patches, "axes"], ["cls"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, [BATCH, side, side, 3])],
        [
            helper.make_tensor_value_info("cls", TensorProto.FLOAT, [BATCH, WIDTH]),
            helper.make_tensor_value_info(patches, TensorProto.FLOAT, [BATCH, grid, grid, WIDTH]),
        ],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.array([1, 2]), "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model)
    path.parent.mkdir(exist_ok=True)
    save(model, path)


def golden_frames() -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(1).integers(0, 256, (GOLDEN, SIDE, SIDE, 3), dtype=np.uint8)


def float32_features() -> Features:
    """By numpy, independent of the runtime."""
    grid = golden_frames().astype(np.float64).reshape(GOLDEN, GRID, PATCH, GRID, PATCH, 3)
    patches = np.einsum("nhiwjc,dcij->nhwd", grid, embedding())
    return {"cls": patches.mean(axis=(1, 2)).astype(np.float32), "patches": patches.astype(np.float32)}


def fill(folder: Path) -> None:
    save_model(folder / ENTRY, embedding())
    (folder / "LICENSE.txt").write_text("a licence")
    runner = get("onnxruntime").load(LoweredModel("onnxruntime", folder, ENTRY, (ENTRY,), {"precision": "fp32"}), threads=1)
    frames = golden_frames()
    batches = [runner(frames[:2]), runner(frames[1:])]
    shipped = {name: np.concatenate([batches[0][name], batches[1][name][1:]]) for name in ("cls", "patches")}
    write_golden(folder, frames, float32_features(), shipped)
    fidelity = StageFidelity(
        stage="artefact", cls_cosine_mean=1, patch_cosine_mean=1, patch_cosine_p01=1, frames=3, evidence=Evidence.HOST
    )
    manifest = Manifest(
        edgec_version="0.1.0",
        build_key="0123abcd",
        checkpoint=CheckpointFacts(
            name="small",
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
        validation=FrameSetFacts(name="noise", sha256="0" * 64, frames=3),
        target="cpu",
        runtime="onnxruntime",
        precision="fp32",
        execution_precision=runner.execution_precision,
        execution=execution("onnxruntime", runner),
        entry=ENTRY,
        settings={"precision": "fp32"},
        input=Tensor(name="frames", dtype="uint8", shape=(BATCH, SIDE, SIDE, 3)),
        outputs=(
            Tensor(name="cls", dtype="float32", shape=(BATCH, WIDTH)),
            Tensor(name="patches", dtype="float32", shape=(BATCH, GRID, GRID, WIDTH)),
        ),
        operations={"Conv_0": "fp32"},
        fidelity=(fidelity,),
        golden=Golden(
            frames=FRAMES,
            expected_float32=EXPECTED_FLOAT32,
            expected_shipped=EXPECTED_SHIPPED,
            count=GOLDEN,
            relative_tolerance=1e-4,
            min_cosine=0.9999,
        ),
        tools={"onnxruntime": "1"},
        files=build_manifest_files(folder),
    )
    (folder / "manifest.json").write_text(manifest.to_json())
    (folder / "report.md").write_text("# report")
    (folder / "report.json").write_text(report_of(folder, fidelity).to_json())


def report_of(folder: Path, fidelity: StageFidelity) -> Report:
    files = [Path("manifest.json"), Path("report.md")]
    manifest, beside = (
        Beside(path=str(path), sha256=sha256_of(folder / path), size_bytes=(folder / path).stat().st_size) for path in files
    )
    return Report(
        edgec_version="0.1.0",
        created="2026-01-01T00:00:00+00:00",
        artefact_sha256=manifest.sha256,
        model=ModelFacts(
            name="small", arch="convolution", checkpoint_sha256="0" * 64, random_weights=True, gflops=0, parameters=6144
        ),
        target="cpu",
        host_is_target=True,
        input_shape=(BATCH, SIDE, SIDE, 3),
        precision_asked="fp32",
        min_fidelity=0.99,
        calibration="noise",
        validation_frames=3,
        stages=(fidelity,),
        candidates=(CandidateFigures(name="onnxruntime-fp32", runtime="onnxruntime", precision="fp32", chosen=True),),
        chosen="onnxruntime-fp32",
        reason="there is no other",
        host=Host(
            cpu="any",
            architecture="x86_64",
            physical_cores=1,
            logical_cores=1,
            usable_cores=1,
            memory_bytes=1,
            os="Linux",
            python="3",
        ),
        files=(beside,),
    )


@pytest.fixture(scope="session")
def _whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_artefact(tmp_path_factory.mktemp("artefact") / "whole", fill, force=False)


@pytest.fixture
def artefact(_whole: Path, tmp_path: Path) -> Path:
    """A copy of one's own, to be tampered with."""
    return Path(shutil.copytree(_whole, tmp_path / "artefact"))


class Forge:
    """What someone does who edits an artefact: change the manifest, or change files and list them anew. Every hash and every seal
    is made good again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def edit(self, **fields: Any) -> None:
        """Set top-level fields; a dict is merged into the one there."""

        def change(manifest: dict[str, Any]) -> None:
            for name, value in fields.items():
                manifest[name] = {**manifest[name], **value} if isinstance(value, dict) and name in manifest else value

        forging.edit(self.directory / "manifest.json", change)
        forging.repair_report(self.directory)

    def relist(self) -> None:
        forging.repair(self.directory)


def as_of_version_1(directory: Path) -> None:
    """Let the artefact be as an edgec wrote it that knew no seals."""
    path, report = directory / "manifest.json", directory / "report.json"
    manifest = json.loads(path.read_text())
    for name in ("seal", "execution", "variants"):
        manifest.pop(name, None)
    path.write_text(json.dumps({**manifest, "schema_version": 1}, indent=1))
    said = {name: value for name, value in json.loads(report.read_text()).items() if name not in ("seal", "files")}
    sha256 = sha256_of(path)
    report.write_text(json.dumps({**said, "schema_version": 4, "artefact_sha256": sha256}, indent=1))


@pytest.fixture
def forge(artefact: Path) -> Forge:
    return Forge(artefact)
