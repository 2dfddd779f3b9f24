"""Builds with heads, from end to end: several tasks in one pass, judged by what they decide."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgec.artefact.golden import write_golden
from edgec.artefact.reading import open_artefact
from edgec.building import BuildResult, build
from edgec.cli import run
from edgec.errors import FidelityError, HeadError, RequestError, VerificationError
from edgec.fidelity.metrics import worst
from edgec.request import BuildRequest, resolve
from edgec.verifying import load_runner, verify
from tests.support import forging
from tests.support import heads as made
from tests.support.commands import edgec
from tests.support.files import SMALL as SHALLOW
from tests.support.files import save_checkpoint, save_profile
from tests.support.frames import draw_pictures, pictures
from tests.support.models import SMALL

SPEC = replace(SHALLOW, depth=4)
WIDTH = SPEC.width


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> BuildRequest:
    """Two runtimes, float32 and int8; a head of every kind."""
    folder = tmp_path_factory.mktemp("heads")
    save_checkpoint(folder / "checkpoint", SPEC)
    draw_pictures(folder / "frames")
    save_profile(folder / "both.toml", {"fp32": ["onnxruntime", "openvino"], "int8": ["openvino"]})
    heads = (
        made.linear(folder, WIDTH, name="kind"),
        made.segmentation(folder, WIDTH, name="floor"),
        made.mlp(folder, WIDTH, name="grasp"),
        made.depth(folder, (WIDTH,) * 4, (0, 1, 2, 3), name="far"),
    )
    made.pooled_onnx(folder / "scene.onnx", WIDTH)
    return BuildRequest(
        str(folder / "checkpoint"),
        target=str(folder / "both.toml"),
        calibration=str(folder / "frames"),
        size=SMALL,
        iterations=5,
        min_fidelity=0.5,
        # Heads of random weights on a random backbone are hardly robust.
        min_agreement=0.01,
        min_iou=0.01,
        max_depth_error=100.0,
        heads=(*(f"{head.name}={head.path}" for head in heads), f"scene={folder / 'scene.onnx'}"),
        output=folder / "robot.edgec",
    )


@pytest.fixture(scope="module")
def built(ask: BuildRequest) -> BuildResult:
    return build(ask)


def test_one_artefact_gives_the_features_and_what_each_head_makes_of_them(built: BuildResult) -> None:
    artefact = open_artefact(built.directory)
    outputs = {output.name: (output.role, output.dtype, output.shape[1:]) for output in artefact.manifest.outputs}
    height, width = SMALL.height, SMALL.width
    assert outputs == {
        "cls": ("features", "float32", (WIDTH,)),
        "patches": ("features", "float32", (height // 16, width // 16, WIDTH)),
        "kind": ("scores", "float32", (3,)),
        "floor": ("labels", "int32", (height, width)),
        "grasp": ("values", "float32", (height // 16, width // 16, 5)),
        "far": ("depth", "float32", (height, width)),
        "scene": ("scores", "float32", (3,)),
    }
    found = load_runner(artefact)(pictures(SMALL, 1))
    assert {name: (value.dtype.name, value.shape[1:]) for name, value in found.items()} == {
        name: (dtype, shape) for name, (_, dtype, shape) in outputs.items()
    }
    assert all(check.passed for check in verify(built.directory).outputs)


def test_the_names_of_classes_travel_with_the_head(built: BuildResult) -> None:
    heads = {head.name: head for head in built.manifest.heads}
    assert list(heads) == ["kind", "floor", "grasp", "far", "scene"]
    assert heads["floor"].classes == made.CLASSES
    assert heads["kind"].reads == ("cls", "patches")
    assert heads["far"].reads == ("patches_0", "patches_1", "patches_2", "patches_3")
    assert built.report.heads == built.manifest.heads
    (floor,) = (output for output in built.manifest.outputs if output.name == "floor")
    assert all(name in floor.meaning for name in made.CLASSES)


def test_every_stage_reports_what_each_head_kept(built: BuildResult) -> None:
    stages = {stage.stage: {task.head: task for task in stage.tasks} for stage in built.report.stages}
    assert next(iter(stages)) == "hub"
    assert list(stages)[-1] == "artefact"
    for tasks in stages.values():
        assert list(tasks) == ["kind", "floor", "grasp", "far", "scene"]
    hub = stages["hub"]
    assert hub["kind"].classes
    assert hub["kind"].classes.agreement == 1
    assert hub["floor"].masks
    assert hub["floor"].masks.mean_iou > 0.999
    assert hub["far"].depths
    assert hub["far"].depths.relative_error < 1e-4
    int8 = next(candidate for candidate in built.report.candidates if candidate.precision == "int8")
    assert int8.fidelity is not None
    lost = {task.head: 1 - task.retained for task in int8.fidelity.tasks}
    assert 0 < lost["floor"] < 0.2, "int8 moves some pixels of a mask"
    assert 0 < lost["far"] < 0.2


def test_the_golden_labels_are_what_float32_and_the_artefact_decide(built: BuildResult) -> None:
    golden = open_artefact(built.directory).golden
    shipped, float32 = golden.expected_shipped["floor"], golden.expected_float32["floor"]
    assert shipped.dtype == float32.dtype == np.int32
    assert (shipped == float32).mean() > 0.8
    assert set(np.unique(float32)) <= {0, 1, 2}
    assert len(np.unique(float32)) > 1


def test_verify_reports_how_many_labels_differ(built: BuildResult, tmp_path: Path) -> None:
    """Golden labels that another machine might have written: a whole corner is something else."""
    copy = tmp_path / "copy.edgec"
    shutil.copytree(built.directory, copy)
    artefact = open_artefact(copy)
    golden = artefact.golden
    labels = golden.expected_shipped["floor"].copy()
    labels[1, :20, :20] = (labels[1, :20, :20] + 1) % 3
    expected = [{**features, "floor": labels} for features in (golden.expected_float32, golden.expected_shipped)]
    write_golden(copy, golden.frames, *expected)
    forging.repair(copy)
    with pytest.raises(VerificationError, match=r"output floor, golden frame 1: \d\d\.\d{3}% of its labels"):
        verify(copy)


def test_without_features_unused_outputs_are_not_computed(ask: BuildRequest, tmp_path: Path) -> None:
    alone = tuple(head for head in ask.heads if head.startswith("kind="))
    request = replace(ask, heads=alone, precision="int8", min_fidelity=0.9999999, min_agreement=0.5, min_iou=None)
    with pytest.raises(FidelityError, match="what the heads decide"):
        build(replace(request, output=tmp_path / "features.edgec"))
    result = build(replace(request, features=False, output=tmp_path / "kind.edgec"))
    assert result.manifest.precision == "int8", "a robust head lets go of what the features' budget would have kept"
    assert [output.name for output in result.manifest.outputs] == ["kind"]
    assert result.manifest.fidelity[0].cosines, "the hub graph's own features are judged all the same"
    shipped = result.manifest.fidelity[-1]
    assert shipped.cosines == ()
    assert shipped.tasks[0].classes is not None
    assert worst(shipped) == shipped.tasks[0].classes.agreement
    assert result.report.min_agreement == 0.5
    assert result.report.min_iou == 0.97, "what is not bounded has a bound of its own"
    assert all(check.passed for check in verify(result.directory).outputs)


def test_a_head_s_budget_decides_what_ships(ask: BuildRequest, built: BuildResult, tmp_path: Path) -> None:
    """int8 is within the features' budget and loses some of a mask: a bound on the mask is what keeps it from shipping."""
    int8 = next(candidate for candidate in built.report.candidates if candidate.precision == "int8")
    assert int8.fidelity is not None
    (floor,) = (task.masks for task in int8.fidelity.tasks if task.head == "floor")
    assert floor is not None
    strict = replace(ask, min_iou=(1 + floor.mean_iou) / 2, output=tmp_path / "strict.edgec")
    result = build(strict)
    chosen = next(candidate for candidate in result.report.candidates if candidate.chosen)
    assert chosen.fidelity is not None
    (kept,) = (task.masks for task in chosen.fidelity.tasks if task.head == "floor")
    assert kept is not None
    assert kept.mean_iou >= strict.min_iou  # type: ignore[operator]
    assert f"{int8.name} loses what the heads decide (floor: mean IoU" in result.report.reason
    assert [candidate.name for candidate in result.report.candidates if "budget" in candidate.name] or chosen.precision == "fp32"


def test_nothing_within_a_head_s_budget_names_the_head(ask: BuildRequest, tmp_path: Path) -> None:
    impossible = replace(ask, precision="int8", max_depth_error=1e-9, output=tmp_path / "none.edgec")
    with pytest.raises(FidelityError, match="what the heads decide") as caught:
        build(impossible)
    assert "far: relative depth error" in str(caught.value)
    assert not impossible.output.exists()  # type: ignore[union-attr]


def test_a_head_that_changed_is_another_build(ask: BuildRequest, tmp_path: Path) -> None:
    key = resolve(ask).key
    assert resolve(ask).key == key
    other = tmp_path / "kind.safetensors"
    shutil.copy(ask.heads[0].partition("=")[2], other)
    moved = replace(ask, heads=(f"kind={other}", *ask.heads[1:]))
    assert resolve(moved).key == key, "where it lies does not matter"
    other.write_bytes(other.read_bytes()[:-4] + b"\0\0\0\0")
    assert resolve(moved).key != key
    assert resolve(replace(ask, heads=ask.heads[1:])).key != key
    assert resolve(replace(ask, features=False)).key != key


def test_a_head_for_another_backbone_is_refused_with_both_numbers(ask: BuildRequest, tmp_path: Path) -> None:
    wide = made.segmentation(tmp_path, 2 * WIDTH, name="wide")
    with pytest.raises(HeadError) as caught:
        build(replace(ask, heads=(f"wide={wide.path}",), output=tmp_path / "none.edgec"))
    assert str(WIDTH) in str(caught.value)
    assert str(2 * WIDTH) in str(caught.value)


@pytest.mark.parametrize("asked", [{"min_iou": 0.9}, {"features": False}, {"max_depth_error": 0.1}])
def test_options_about_heads_need_heads(ask: BuildRequest, asked: dict[str, float]) -> None:
    none = {"min_agreement": None, "min_iou": None, "max_depth_error": None}
    with pytest.raises(RequestError, match="there is no head"):
        resolve(replace(ask, heads=(), **{**none, **asked}))  # type: ignore[arg-type]


def test_heads_have_bounds_with_features_or_without(ask: BuildRequest) -> None:
    none = replace(ask, min_agreement=None, min_iou=None, max_depth_error=None)
    for features in (True, False):
        tasks = replace(none, features=features).budget.tasks
        assert (tasks.min_agreement, tasks.min_iou, tasks.max_depth_error) == (0.99, 0.97, 0.02)
    assert replace(none, min_iou=0.5).budget.tasks.min_iou == 0.5
    assert replace(none, heads=()).budget.tasks.min_iou is None


def test_inspect_takes_a_head(ask: BuildRequest, capsys: pytest.CaptureFixture[str]) -> None:
    paths = dict(head.split("=", 1) for head in ask.heads)
    said = {}
    for name, path in paths.items():
        assert run(["inspect", path, "--json"]) == 0
        said[name] = json.loads(capsys.readouterr().out)["head"]
    assert [head["kind"] for head in said.values()] == ["linear", "segmentation", "mlp", "depth", "onnx"]
    assert said["floor"]["classes"] == list(made.CLASSES)
    assert said["far"]["reads"] == ["patches_0", "patches_1", "patches_2", "patches_3"]
    assert said["kind"]["width"] == said["floor"]["width"] == WIDTH
    assert run(["inspect", paths["floor"]]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "kind segmentation" in text
    assert "3: floor, wall, thing" in text
    assert run(["inspect", str(Path(ask.checkpoint) / "preprocessor_config.json")]) == 3
    assert "checkpoint" in capsys.readouterr().err


def test_the_command_takes_heads(ask: BuildRequest, tmp_path: Path) -> None:
    given = ("--head", ask.heads[0], "--target", ask.target, "--calibration", str(ask.calibration), "--input-size", str(SMALL))
    done = edgec("build", ask.checkpoint, *given, "--min-agreement", "2", cwd=tmp_path, cache=tmp_path / "cache")
    assert (done.returncode, done.stdout) == (2, "")
    assert "agreement" in done.stderr
    done = edgec("build", ask.checkpoint, *given, "--head", ask.heads[0], cwd=tmp_path, cache=tmp_path / "cache")
    assert done.returncode == 2
    assert "kind" in done.stderr
    assert list(tmp_path.iterdir()) == []
