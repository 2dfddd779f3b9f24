"""The parts of the int8 benchmark on models small enough for a test: edgec's contenders, TensorRT's plan, shapes, cases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.cases import cases, data_folder
from benchmarks.outliers import write_huggingface
from benchmarks.own import all_contenders
from benchmarks.roofline import product_shapes
from benchmarks.tensorrt import simulate
from edgec.graph.operations import operations
from edgec.graph.statistics import observe
from edgec.model.spec import Size
from edgec.precision.static import int8_activations
from edgec.request import BuildRequest
from tests.support.frames import pictures
from tests.support.models import CONVNEXT, SMALL, VIT, exported, random_checkpoint


def test_every_candidate_takes_part_and_the_shipped_one_once(tmp_path: Path) -> None:
    write_huggingface(random_checkpoint(VIT), tmp_path / "checkpoint")
    request = BuildRequest(
        str(tmp_path / "checkpoint"),
        calibration="demo",
        size=SMALL,
        precision="int8",
        min_fidelity=0.5,
        iterations=5,
        threads=1,
        output=tmp_path / "made.edgec",
    )
    built = all_contenders(request)
    names = [contender.name for contender in built.contenders]
    assert len(set(names)) == len(names)
    assert [contender.name for contender in built.contenders if contender.shipped] == [built.shipped]
    assert built.int8 == built.shipped
    assert any(name.startswith("edgec: onnxruntime-int8-") for name in names)
    frame = pictures(SMALL, 1)[0]
    features = [contender.run(frame) for contender in built.contenders]
    for result in features:
        assert result["patches"].shape == (1, 4, 6, 64)
        np.testing.assert_allclose(result["cls"], features[0]["cls"], atol=0.3 * np.abs(features[0]["cls"]).max())
    assert set(built.statistics) == set(int8_activations(built.hub))


@pytest.mark.parametrize("spec", [VIT, CONVNEXT], ids=["vit", "convnext"])
def test_the_plan_for_tensorrt_runs(spec: object) -> None:
    model = exported(spec)
    hub = model.graph
    frames = list(pictures(SMALL, 4))
    expected = [model.features(frame[None]) for frame in frames]
    statistics = observe(hub, int8_activations(hub), iter(frames), 1, threads=1)
    result = simulate(hub, statistics, frames, expected, threads=1)
    assert result.judgement.evidence == "simulated on host"
    assert 0.9 < result.judgement.patch_p01 < 1 - 1e-6
    macs = {kind: sum(each.macs for each in operations(hub) if each.kind == kind) for kind in ("linear", "convolution")}
    assert result.share == pytest.approx(sum(macs.values()) / sum(each.macs for each in operations(hub)))
    assert result.share <= result.of_weights < 1


@pytest.mark.parametrize("spec", [VIT, CONVNEXT], ids=["vit", "convnext"])
def test_shapes_of_products_hold_all_multiply_accumulates(spec: object) -> None:
    hub = exported(spec).graph
    shapes, others = product_shapes(hub)
    assert sum(shape.macs for shape in shapes) + others == sum(operation.macs for operation in operations(hub))
    if spec is VIT:
        tokens = 1 + VIT.registers + 4 * 6
        assert {(shape.rows, shape.depth, shape.width) for shape in shapes} == {
            (tokens, 64, 64),
            (tokens, 64, 128),
            (tokens, 128, 64),
        }
    else:
        # The strided convolutions between stages, as products over patches of 2x2.
        assert {(4 * 6, 16 * 4, 24), (2 * 3, 32 * 4, 48)} & {(shape.rows, shape.depth, shape.width) for shape in shapes}


def test_cases_are_the_four_models_at_their_sizes(tmp_path: Path) -> None:
    result = list(cases(("plain", "outlier"), "demo", (), tmp_path))
    assert [case.label for case in result] == ["plain 224x224", "plain 480x640", "outlier 224x224", "outlier 480x640"]
    assert [case.checkpoint == "demo" for case in result] == [True, True, False, False]
    assert (Path(result[2].checkpoint) / "config.json").is_file()
    (only,) = cases(("convnext",), "demo", (Size(64, 96),), tmp_path)
    assert (only.label, only.trained) == ("convnext convnext_tiny 64x96", False)


def test_the_shared_data_is_found_where_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEC_DATA", str(tmp_path))
    assert data_folder() is None
    (tmp_path / "checkpoints").mkdir()
    assert data_folder() == tmp_path
