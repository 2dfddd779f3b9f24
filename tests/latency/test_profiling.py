"""Profiles by both runtimes of a model that they really run, and how their steps are told apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgec.errors import RuntimeFailure, TargetError
from edgec.graph.operations import operations
from edgec.latency.profile_mapping import KnownOperation, mapped
from edgec.latency.profiling import profile_model
from edgec.lowering import registry
from edgec.lowering.base import LoweredModel, Step
from edgec.records.report import OperationTime, Profile
from tests.lowering.cases import plan_of
from tests.support.frames import pictures
from tests.support.models import SPECS, exported

MakeModel = Callable[..., LoweredModel]
MakeFrames = Callable[..., np.ndarray[Any, np.dtype[np.uint8]]]


def profiled(runtime: str, precision: str, folder: Path) -> tuple[Profile, tuple[KnownOperation, ...]]:
    made, lowering = exported(SPECS["vit"]), registry.get(runtime)
    model = lowering.lower(made.graph, plan_of(lowering, precision, made), folder)
    known = tuple(KnownOperation(each.name, each.kind, each.macs) for each in operations(made.graph))
    return profile_model(model, pictures(made.size, 2)[:, None], known, threads=1, iterations=10), known


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_every_product_is_found_once(runtime: str, precision: str, tmp_path: Path) -> None:
    actual, known = profiled(runtime, precision, tmp_path)
    places = [name for step in actual.steps if step.gflops is not None for name in step.operations]
    assert sorted(name for name in places if name in {each.name for each in known}) == sorted(each.name for each in known)
    assert sum(step.gflops or 0 for step in actual.steps) == pytest.approx(2e-9 * sum(each.macs or 0 for each in known))
    assert {step.kind for step in actual.steps} >= {"product", "attention", "convolution", "norm", "reorder"}
    assert [step.name for step in actual.steps if step.kind == "other"] == []
    depth = len({each.name.split(".")[1] for each in known if each.name.startswith("blocks.")})
    assert {step.block for step in actual.steps} == {None, *range(depth)}
    for step in actual.steps:
        blocks = {name.split(".")[1] for name in step.operations if name.startswith("blocks.")}
        assert blocks <= {str(step.block)}, step
    assert actual.iterations == 10
    assert actual.plain_ms is not None
    assert sum(step.mean_ms for step in actual.steps) > 0
    assert "fp32" in actual.rates_gflops
    if precision == "int8":
        assert "int8" in actual.rates_gflops
    assert all(step.roofline_share for step in actual.steps if step.gflops and step.mean_ms)


def test_nothing_is_left_behind(
    make_model: MakeModel, frames: MakeFrames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model("a", "onnxruntime")
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    monkeypatch.setattr("tempfile.tempdir", None)
    actual = profile_model(model, frames(), (), threads=1, iterations=5)
    assert list((tmp_path / "scratch").iterdir()) == []
    assert {path.name for path in model.directory.iterdir()} == {"model.onnx"}
    # Nothing is known of this model: products are still products, of unknown work.
    assert [step.gflops for step in actual.steps if step.kind == "product"] == [None, None]


def test_a_runtime_without_timings(make_model: MakeModel, frames: MakeFrames) -> None:
    model = make_model("a")
    untold = LoweredModel("tensorrt", model.directory, model.entry, model.files, {})
    with pytest.raises(TargetError, match="does not time the steps"):
        profile_model(untold, frames(), (), threads=1)


def test_a_damaged_model(make_model: MakeModel, frames: MakeFrames) -> None:
    model = make_model("a")
    (model.directory / model.entry).write_bytes(b"nonsense")
    with pytest.raises(RuntimeFailure, match="could not be profiled"):
        profile_model(model, frames(), (), threads=1)


def step(layers: tuple[str, ...], operations: tuple[str, ...] = (), ms: float = 1.0, computes_in: str = "fp32") -> OperationTime:
    known = (
        KnownOperation("stages.0.layers.0.fc1", "linear", 10**9),
        KnownOperation("stages.0.layers.0.conv", "depthwise", 10**9),
        KnownOperation("stages.1.layers.0.fc1", "linear", 10**9),
        KnownOperation("stages.1.layers.0.fc2"),
    )
    (actual,) = mapped([Step("a step", layers, operations, "", computes_in, ms)], known, {"fp32": 1000.0})
    return actual


def test_unknown_steps_are_other() -> None:
    assert step(("a new layer",)).kind == "other"
    assert step(("subgraph",), ("no.such.name",)).kind == "other"
    assert step(("subgraph", "layernormalization", "fakequantize")).kind == "norm"


def test_work_and_roofline() -> None:
    actual = step(("gemm",), ("stages.1.layers.0.fc1",), ms=4.0)
    assert (actual.kind, actual.block, actual.gflops) == ("product", 1, 2.0)
    assert actual.roofline_share == pytest.approx(0.5)
    assert step(("gemm",), ("stages.1.layers.0.fc1",), ms=0.0).roofline_share is None
    assert step(("gemm",), ("stages.1.layers.0.fc1",), computes_in="").roofline_share is None
    assert step(("gemm",), ("stages.1.layers.0.fc2",)).gflops is None
    depthwise = step(("conv",), ("stages.0.layers.0.conv",))
    assert (depthwise.kind, depthwise.gflops, depthwise.roofline_share) == ("convolution", 2.0, None)


def test_a_bias_of_its_own_is_no_product() -> None:
    """The product's name leads it, but it does none of its work."""
    actual = step(("add",), ("stages.0.layers.0.fc1.add",))
    assert (actual.kind, actual.block, actual.gflops) == ("elementwise", 0, None)


def test_a_step_across_blocks_has_no_block() -> None:
    assert step(("add",), ("stages.0.layers.0.fc1", "stages.1.layers.0.fc1")).block is None
