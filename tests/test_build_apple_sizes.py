"""One package for several sizes of frames: its functions compute what each size should, and its weights are in it once."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgec.artefact.reading import open_artefact
from edgec.backends.apple.program import MAC_PROGRAM
from edgec.building import BuildResult, build
from edgec.errors import ArtefactError, InputSizeError, RuntimeFailure, VerificationError
from edgec.fidelity.metrics import compare, worst
from edgec.graph.operations import operations
from edgec.graph.plan import PrecisionPlan
from edgec.graph.statistics import Statistics
from edgec.lowering.base import LoweredModel
from edgec.lowering.coreml import CoreMl, package
from edgec.lowering.coreml.evaluator.package import read_package
from edgec.model.spec import Size, Spec, VitSpec
from edgec.onboard.figures import kept
from edgec.precision.static import uniform
from edgec.records.consistency import read_report
from edgec.records.evidence import Evidence
from edgec.records.manifest import MANIFEST, Manifest
from edgec.request import BuildRequest
from edgec.stages.sizes import widest_peaks, widest_ranges
from edgec.verifying import load_runner, verify
from tests.apple_device.mac import ENVIRONMENT, only, write_facts
from tests.device.robot import Robot
from tests.support import forging
from tests.support.commands import edgec
from tests.support.files import save_checkpoint
from tests.support.frames import draw_pictures
from tests.support.models import CONVNEXT, VIT, exported
from tests.support.onnx_graphs import AnyArray, replace_constant

pytest.importorskip("coremltools")

SIZES = (Size(64, 64), Size(64, 96))
NAMES = ("frames_64x64", "frames_64x96")
WIDE = VitSpec(384, 1, 6, 1536)
"""A block of ViT-S: next to its weights a program is as small as it is in a real model."""


@pytest.fixture(scope="module")
def request_(tmp_path_factory: pytest.TempPathFactory) -> BuildRequest:
    folder = tmp_path_factory.mktemp("sizes")
    save_checkpoint(folder / "checkpoint")
    draw_pictures(folder / "frames")
    return BuildRequest(
        str(folder / "checkpoint"),
        target="apple",
        calibration=str(folder / "frames"),
        size=SIZES[0],
        more_sizes=SIZES[1:],
        min_fidelity=0.9,
        output=folder / "built.edgec",
    )


@pytest.fixture(scope="module")
def built(request_: BuildRequest) -> BuildResult:
    return build(request_)


# --- the artefact


def test_one_package_takes_frames_of_each_size(built: BuildResult) -> None:
    manifest = built.manifest
    assert [size.function for size in manifest.sizes] == list(NAMES)
    assert [size.input.shape for size in manifest.sizes] == [(1, 64, 64, 3), (1, 64, 96, 3)]
    assert (manifest.input, manifest.outputs, manifest.golden) == (
        manifest.sizes[0].input,
        manifest.sizes[0].outputs,
        manifest.sizes[0].golden,
    )
    read = read_package(built.directory / "model" / "w8.mlpackage")
    assert (tuple(sorted(read.functions)), read.default) == (NAMES, NAMES[0])
    artefact = open_artefact(built.directory)
    runner = load_runner(artefact)
    for size, opened in zip(SIZES, artefact.sizes, strict=True):
        # To and fro: one program at a time is kept.
        features = runner(opened.golden.frames[:1])
        assert features["patches"].shape == (1, size.height // 16, size.width // 16, 64)
        assert worst(compare(_first(opened.golden.expected_float32), features, "", Evidence.SIMULATED)) > 0.99
    with pytest.raises(RuntimeFailure) as caught:
        runner(np.zeros((1, 96, 64, 3), np.uint8))
    assert "[1, 64, 64, 3] or [1, 64, 96, 3]; given: [1, 96, 64, 3]" in caught.value.evidence[0]


def _first(features: dict[str, Any]) -> dict[str, Any]:
    return {name: value[:1] for name, value in features.items()}


def test_every_size_is_judged_and_the_worst_counts(built: BuildResult) -> None:
    stages = [stage.stage for stage in built.report.stages]
    assert stages == [f"{what} at {size}" for what in ("hub", "coreml-w8", "artefact") for size in SIZES]
    by_stage = {stage.stage: worst(stage) for stage in built.report.stages}
    chosen = next(candidate for candidate in built.report.candidates if candidate.chosen)
    assert chosen.fidelity is not None
    assert worst(chosen.fidelity) == min(by_stage[f"coreml-w8 at {size}"] for size in SIZES)
    assert {candidate.precision for candidate in built.report.candidates} == {"fp16", "w8", "int8"}
    for candidate in built.report.candidates:
        note = next(note for note in built.report.notes if note.startswith(f"{candidate.name}: fidelity"))
        assert candidate.fidelity is not None
        figures = [float(part.split(" at ")[0]) for part in note.removeprefix(f"{candidate.name}: fidelity ").split(", ")]
        assert (len(figures), min(figures)) == (2, float(kept(worst(candidate.fidelity))))
    assert read_report(built.directory / "report.json") == built.report


def test_verify_runs_each_function_of_the_saved_package(built: BuildResult) -> None:
    result = verify(built.directory)
    assert [(output.size, output.name) for output in result.outputs] == [
        (str(size), name) for size in SIZES for name in ("cls", "patches")
    ]
    assert max(output.difference for output in result.outputs) == 0
    assert result.frames == sum(size.golden.count for size in built.manifest.sizes)


@pytest.mark.parametrize(
    ("function", "damaged"),
    [(None, SIZES), (NAMES[1], SIZES[1:]), (NAMES[0], SIZES[:1])],
    ids=["a weight that both read", "attention of one", "attention of the default"],
)
def test_the_size_and_the_operation_that_differs_are_named(
    built: BuildResult, tmp_path: Path, function: str | None, damaged: tuple[Size, ...]
) -> None:
    """The forger lists hashes anew."""
    forged = Path(shutil.copytree(built.directory, tmp_path / "forged.edgec"))
    place = forged / "model" / "w8.mlpackage"
    _flip_weight(place, "blocks_1_mlp_fc1_weight") if function is None else _swap(place, function, "blocks_1_attn_mix")
    forging.repair(forged)
    named = "blocks_1_mlp_fc1_add" if function is None else "blocks_1_attn_mix "
    with pytest.raises(VerificationError) as caught:
        verify(forged)
    said = "\n".join([caught.value.what, *caught.value.evidence])
    for size in SIZES:
        assert (f"at {size} the first operation that differs is {named}" in said) == (size in damaged), said


@pytest.mark.parametrize(("function", "size"), [(None, SIZES[0]), (NAMES[1], SIZES[1])], ids=["the default", "the other"])
def test_a_mac_verifies_the_function_that_it_is_asked_for(
    built: BuildResult, tmp_path: Path, function: str | None, size: Size
) -> None:
    mac = Robot(
        built.directory,
        write_facts(tmp_path / "facts"),
        tmp_path / "root",
        program=built.directory / MAC_PROGRAM,
        env=dict(ENVIRONMENT),
    )
    done = mac.run("run-all", *only("cpuOnly"), *(["--function", function] if function else []))
    assert done.code == 0, done
    report = mac.report()
    assert report.input_shape == (1, size.height, size.width, 3)
    assert any("what edgec's evaluator computed: 1.000000" in note for note in report.notes)
    assert any(f"Of the package's functions, {function or NAMES[0]} was measured" in note for note in report.notes)
    engine = json.loads((mac.home / "current" / "engine.json").read_text())
    assert (engine["units"], engine["function"]) == ("cpuOnly", function or NAMES[0])


def test_a_manifest_whose_sizes_contradict_it_is_refused(built: BuildResult, tmp_path: Path) -> None:
    forged = Path(shutil.copytree(built.directory, tmp_path / "forged.edgec"))
    sizes = json.loads((forged / MANIFEST).read_text())["sizes"]
    for changed, said in (
        (sizes[::-1], "the first of sizes is not what input, outputs and golden say"),
        ([sizes[0], sizes[0]], "sizes has a shape twice"),
        ([sizes[0], {**sizes[1], "golden": {**sizes[1]["golden"], "frames": "golden/no.npz"}}], "does not list golden/no.npz"),
    ):
        _edit(forged, sizes=changed)
        with pytest.raises(ArtefactError, match="contradicts itself") as caught:
            open_artefact(forged)
        assert any(said in line for line in caught.value.evidence)


def test_the_same_build_is_the_same_bytes(request_: BuildRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = build(replace(request_, precision="fp16", output=tmp_path / "one.edgec"))
    monkeypatch.setenv("EDGEC_CACHE_DIR", str(tmp_path / "other cache"))
    other = build(replace(request_, precision="fp16", output=tmp_path / "other.edgec"))
    assert (one.directory / MANIFEST).read_bytes() == (other.directory / MANIFEST).read_bytes()


def test_a_size_that_the_model_cannot_take_is_refused_before_work(request_: BuildRequest, tmp_path: Path) -> None:
    with pytest.raises(InputSizeError, match="70"):
        build(replace(request_, more_sizes=(Size(70, 64),), output=tmp_path / "odd.edgec"))
    assert not (tmp_path / "odd.edgec").exists()


def test_the_manifest_of_one_size_is_as_it_was(built: BuildResult) -> None:
    """Older readers refuse fields that they do not know."""
    alone = Manifest.model_validate({**built.manifest.model_dump(), "sizes": ()})
    assert "sizes" not in json.loads(alone.to_json())
    assert len(alone.all_sizes) == 1
    assert alone.all_sizes[0].golden == alone.golden


def test_the_command_line_takes_the_option_several_times(tmp_path: Path) -> None:
    done = edgec("build", "demo", "--input-size", "224", "--input-size", "480x640", cwd=tmp_path, cache=tmp_path / "cache")
    assert done.returncode == 2
    assert "An artefact for cpu takes frames of one size." in done.stderr
    assert "requested: 224x224, 480x640" in done.stderr


def test_int8_is_one_set_of_integers_for_every_size(request_: BuildRequest, built: BuildResult, tmp_path: Path) -> None:
    """A whole small model, smoothed, rounded and corrected as builds do it. What was judged for the choice is in the cache."""
    made = build(replace(request_, precision="int8", output=tmp_path / "int8.edgec"))
    assert made.manifest.precision == "int8"
    stages = {stage.stage: worst(stage) for stage in made.report.stages}
    assert min(stages[f"artefact at {size}"] for size in SIZES) > 0.97
    checked = verify(made.directory)
    assert {output.size for output in checked.outputs} == {str(size) for size in SIZES}
    read = read_package(made.directory / "model" / "int8.mlpackage")
    first, other = ({each.name: each for each in read.functions[name].operations} for name in NAMES)
    rounding = [name for name, each in first.items() if each.kind == "quantize"]
    stored = [name for name, each in first.items() if each.kind == "constexpr_blockwise_shift_scale"]
    # The last of 12 products that adds to the residual stream stays in fp16, and what it alone reads is not rounded.
    assert len(rounding) == 7
    assert len(stored) == 11
    for name in stored:
        for part in ("data", "scale"):
            one, two = (each[name].inputs[part].bindings[0] for each in (first, other))
            np.testing.assert_array_equal(one, two)
            # One place in the file, not two equal ones.
            assert np.shares_memory(one, two)
    for name in rounding:
        scales = [each[each[name].inputs["scale"].names[0]].attributes["val"] for each in (first, other)]
        np.testing.assert_array_equal(*scales)


# --- the package


@pytest.mark.parametrize("spec", [VIT, CONVNEXT], ids=["vit", "convnext"])
def test_one_plan_fits_every_size(spec: Spec, tmp_path: Path) -> None:
    """Plans go by the names of operations and tensors."""
    hubs = [exported(spec, size).graph for size in SIZES]
    first, other = ({node.name: [value.name for value in node.outputs] for node in hub.graph} for hub in hubs)
    assert first == other
    assert [entry.name for entry in operations(hubs[0])] == [entry.name for entry in operations(hubs[1])]
    model = CoreMl().lower_sizes(hubs, uniform("fp16"), tmp_path)
    runner = CoreMl().load(model)
    for size in SIZES:
        made = exported(spec, size)
        assert worst(compare(made.expected, runner(made.frames), "", Evidence.SIMULATED)) > 0.999


@pytest.mark.parametrize("precision", ["fp16", "w8", "w4"])
def test_weights_are_in_the_package_once(precision: Any, tmp_path: Path) -> None:
    hubs = [exported(WIDE, size).graph for size in SIZES]
    plan: PrecisionPlan = uniform(precision)
    one = CoreMl().lower(hubs[1], plan, _new(tmp_path / "one"))
    both = CoreMl().lower_sizes(hubs, plan, _new(tmp_path / "both"))
    # Lookup tables shrink weights to what does not change: norms, programs, RoPE tables.
    assert both.size_bytes < one.size_bytes * (1.06 if precision == "w4" else 1.03)
    assert _weights(both).stat().st_size < _weights(one).stat().st_size * 1.01
    again = CoreMl().lower_sizes(hubs, plan, _new(tmp_path / "again"))
    assert [(both.directory / name).read_bytes() for name in both.files] == [
        (again.directory / name).read_bytes() for name in again.files
    ]


def test_weights_that_differ_by_a_bit_are_stored_twice(tmp_path: Path) -> None:
    """coremltools' own deduplication takes fp16 constants for equal within 6e-8, which is all of a subnormal weight."""
    hubs = [exported(VIT, size).graph for size in SIZES]
    name = next(entry.weight for entry in operations(hubs[1]) if entry.kind == "linear")

    def moved(values: AnyArray) -> AnyArray:
        values.flat[-1] = np.nextafter(np.float16(values.flat[-1]), np.float16(np.inf))
        return values

    replace_constant(hubs[1], name, moved)
    model = CoreMl().lower_sizes(hubs, uniform("fp16"), tmp_path)
    read = read_package((model.directory / model.entry).parent)
    stored = [
        next(entry for entry in read.functions[function].operations if entry.outputs[0][0] == _stored(hubs[1], name))
        for function in NAMES
    ]
    first, other = (entry.attributes["val"] for entry in stored)
    assert (first != other).sum() == 1


def test_ranges_cover_every_size() -> None:
    def shown(low: float, high: float) -> dict[str, Statistics]:
        rows = np.ones((3, 2), np.float32)
        ends = np.array([low, -1], np.float32), np.array([2, high], np.float32)
        rest = np.float32(1), np.zeros(3, np.int64), np.eye(2, dtype=np.float32)[None]
        return {"x": Statistics(*ends, rows[0], rows * high, *rest)}

    found = widest_ranges([shown(-3, 5), shown(-4, 4)])["x"]
    assert (found.range.low, found.range.high) == (-4, 5)
    assert (found.rows == 5).all()
    assert widest_peaks([{"a": 1.0, "b": 7.0}, {"a": 2.0, "b": 3.0}]) == {"a": 2.0, "b": 7.0}


# --- tools


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _weights(model: LoweredModel) -> Path:
    return (model.directory / model.entry).parent / package.WEIGHTS


def _stored(hub: Any, weight: str) -> str:
    """The constant that holds a product's weight."""
    operation = next(entry.name for entry in operations(hub) if entry.weight == weight)
    return f"{operation.replace('.', '_')}_weight"


def _edit(artefact: Path, **fields: Any) -> None:
    manifest = json.loads((artefact / MANIFEST).read_text())
    (artefact / MANIFEST).write_text(forging.written({**manifest, **fields}))
    forging.repair_report(artefact)


def _functions(place: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each function's operations by their first output's name, to be changed in place."""
    from coremltools.proto import Model_pb2

    model = Model_pb2.Model.FromString((place / package.MODEL).read_bytes())
    for name, function in model.mlProgram.functions.items():
        yield name, {entry.outputs[0].name: entry for entry in function.block_specializations[function.opset].operations}
    (place / package.MODEL).write_bytes(model.SerializeToString())


def _flip_weight(place: Path, name: str) -> None:
    offsets = {entries[name].inputs["data"].arguments[0].value.blobFileValue.offset for _, entries in _functions(place)}
    assert len(offsets) == 1
    content = bytearray((place / package.WEIGHTS).read_bytes())
    _, _, size, start, _ = struct.unpack_from("<IIQQQ", content, offsets.pop())
    stored = np.frombuffer(content, np.int8, size, start)
    largest = int(np.abs(stored.astype(np.int32)).argmax())
    struct.pack_into("<b", content, start + largest, -int(stored[largest]))
    del stored
    (place / package.WEIGHTS).write_bytes(content)


def _swap(place: Path, function: str, attention: str) -> None:
    """Keys for values, in one function."""
    for name, entries in _functions(place):
        if name == function:
            key, value = (entries[attention].inputs[part].arguments[0] for part in ("key", "value"))
            key.name, value.name = value.name, key.name
