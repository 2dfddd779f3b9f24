"""A build for Apple's chips, from a checkpoint to a package that is run as it was saved, and what `verify` says of damage."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgec.building import BuildResult, build
from edgec.cli import run
from edgec.errors import FidelityError, TargetError, UnsupportedOperation, of_exit_code
from edgec.fidelity.metrics import worst
from edgec.progress import Silent, Step
from edgec.records.consistency import read_report
from edgec.records.evidence import Evidence
from edgec.request import BuildRequest
from edgec.verifying import verify
from tests.support import forging
from tests.support.files import save_checkpoint
from tests.support.frames import draw_pictures
from tests.support.models import SMALL

pytest.importorskip("coremltools")

from tests.lowering.coreml.evaluator.tampering import change_number, change_weight, edited, rebind, swap_inputs

Values = NDArray[Any]
Damage = Callable[[Path], None]


@pytest.fixture(scope="module")
def request_(tmp_path_factory: pytest.TempPathFactory) -> BuildRequest:
    folder = tmp_path_factory.mktemp("apple")
    save_checkpoint(folder / "checkpoint")
    draw_pictures(folder / "frames")
    return BuildRequest(
        str(folder / "checkpoint"),
        target="apple",
        calibration=str(folder / "frames"),
        size=SMALL,
        min_fidelity=0.9,
        output=folder / "built.edgec",
    )


@pytest.fixture(scope="module")
def built(request_: BuildRequest) -> BuildResult:
    return build(request_)


@pytest.fixture(scope="module")
def w8a8(request_: BuildRequest, built: BuildResult, tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    """For a chip where it pays. Everything but the choice comes from the cache."""
    return build(replace(request_, target="apple-m4", output=tmp_path_factory.mktemp("m4") / "m4.edgec"))


@pytest.fixture(scope="module")
def palettised(request_: BuildRequest, tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    return build(replace(request_, precision="w6", output=tmp_path_factory.mktemp("w6") / "w6.edgec"))


def test_one_package_for_every_m_series_with_its_proof(built: BuildResult) -> None:
    manifest, report = built.manifest, built.report
    assert (manifest.target, manifest.runtime, manifest.precision) == ("apple", "coreml", "w8")
    assert manifest.entry == "model/w8.mlpackage/Manifest.json"
    listed = {file.path for file in manifest.files}
    package = {path.relative_to(built.directory).as_posix() for path in (built.directory / "model").rglob("*") if path.is_file()}
    assert len(package) == 3
    assert package <= listed
    tried = {candidate.precision: candidate for candidate in report.candidates}
    assert set(tried) == {"fp16", "w8", "int8"}
    for candidate in tried.values():
        assert candidate.fidelity is not None
        assert candidate.fidelity.evidence is Evidence.SIMULATED
        assert candidate.latency is None
        assert candidate.bounds == ()
    assert not report.host_is_target
    assert any("No latency was measured" in note for note in report.notes)
    assert read_report(built.directory / "report.json") == report


def test_the_saved_package_is_what_verify_runs(built: BuildResult) -> None:
    result = verify(built.directory)
    assert (result.runtime, result.files) == ("coreml", len(built.manifest.files))
    assert result.execution_precision == "w8; simulated on host"
    assert max(output.difference for output in result.outputs) == 0


def test_the_package_has_a_label(built: BuildResult) -> None:
    from edgec.lowering.coreml.sdk import quiet

    with quiet():
        import coremltools as ct

        package = built.directory / "model" / "w8.mlpackage"
        said = ct.models.MLModel(str(package), skip_model_load=True)
    assert said.user_defined_metadata["edgec.build_key"] == built.manifest.build_key
    assert said.author.startswith("edgec ")
    assert said.license
    assert "RGB" in said.input_description["frames"]
    assert "CLS" in said.output_description["cls"]


def test_a_chip_where_w8a8_pays_gets_it_first(request_: BuildRequest, w8a8: BuildResult, tmp_path: Path) -> None:
    assert w8a8.manifest.precision == "int8"
    assert worst(w8a8.manifest.fidelity[-1]) > 0.9
    with pytest.raises(TargetError, match="does not offer int8"):
        build(replace(request_, target="apple-m1", precision="int8", output=tmp_path / "m1.edgec"))


def test_lookup_tables_are_built_when_asked_for_and_judged_like_others(
    request_: BuildRequest, palettised: BuildResult, tmp_path: Path
) -> None:
    assert palettised.manifest.precision == "w6"
    with pytest.raises(FidelityError, match="No candidate keeps the features"):
        build(replace(request_, precision="w4", min_fidelity=0.9999, output=tmp_path / "w4.edgec"))


def test_the_same_build_is_the_same_bytes(request_: BuildRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = build(replace(request_, precision="fp16", output=tmp_path / "one.edgec"))
    monkeypatch.setenv("EDGEC_CACHE_DIR", str(tmp_path / "other cache"))
    other = build(replace(request_, precision="fp16", output=tmp_path / "other.edgec"))
    assert one.manifest == other.manifest


# --- damage to what was saved


def flipped(values: Values) -> Values:
    """The sign of one of thousands, which hardly shows in the features."""
    place = np.unravel_index(np.abs(values.astype(np.float32)).argmax(), values.shape)
    values[place] = -values[place]
    return values


def next_entry(stored: Values) -> Values:
    """One weight's index into its table, which is in the first bits of the middle byte that begins with a whole one."""
    stored[len(stored) // 2 // 3 * 3] ^= 0b111111
    return stored


def weight(name: str, change: Callable[[Values], Values], part: str = "data") -> Damage:
    return lambda package: change_weight(package, name, change, part)


def integers(name: str, **parameters: tuple[int, ...]) -> Damage:
    def change(package: Path) -> None:
        with edited(package) as operations:
            for parameter, numbers in parameters.items():
                rebind(operations[name], parameter, np.array(numbers, np.int32))

    return change


def reads(name: str, parameter: str, other: str) -> Damage:
    def change(package: Path) -> None:
        with edited(package) as operations:
            operations[name].inputs[parameter].arguments[0].name = other

    return change


DAMAGES: dict[str, tuple[str, Damage, str]] = {
    "one weight": ("built", weight("blocks_1_mlp_fc1_weight", flipped), "blocks_1_mlp_fc1_add"),
    "a turned product": ("built", weight("blocks_0_attn_q_weight", np.transpose), "blocks_0_attn_q_add"),
    "turned patches": ("built", weight("patch_embed_weight", lambda kernel: kernel.swapaxes(-1, -2)), "patch_embed"),
    "mirrored colours": ("built", weight("patch_embed_weight", lambda kernel: kernel[:, ::-1]), "patch_embed"),
    "scales of other channels": (
        "built",
        weight("blocks_0_attn_proj_weight", lambda scale: scale[::-1], "scale"),
        "blocks_0_attn_proj_add",
    ),
    "an epsilon": ("built", lambda package: change_number(package, "blocks_0_norm1", "epsilon", 1024), "blocks_0_norm1"),
    "the factor before a norm": (
        "built",
        lambda package: change_number(package, "blocks_0_norm1_scaled", "y", 2),
        "blocks_0_norm1_scaled",
    ),
    "gamma for beta": ("built", lambda package: swap_inputs(package, "blocks_0_norm2", "gamma", "beta"), "blocks_0_norm2"),
    "keys for queries": ("built", lambda package: swap_inputs(package, "blocks_0_attn_mix", "query", "key"), "blocks_0_attn_mix"),
    "a skip connection": ("built", reads("blocks_0_add_2", "x", "blocks_0_mlp_fc2_add"), "blocks_0_add_2"),
    "the other half of a rotation": (
        "built",
        integers("blocks_0_attn_slice", begin=(0, 0, 0, 32), end=(1, 1, 29, 64)),
        "blocks_0_attn_slice",
    ),
    "an index into a table": ("palettised", weight("blocks_1_attn_v_weight", next_entry, "indices"), "blocks_1_attn_v_add"),
    "a table": ("palettised", weight("blocks_0_mlp_fc2_weight", flipped, "lut"), "blocks_0_mlp_fc2_add"),
    "the scale of an activation": (
        "w8a8",
        lambda package: change_number(package, "blocks_0_norm1_quantised", "scale", 2),
        "blocks_0_norm1_quantised",
    ),
}
"""By what was damaged: the artefact, how, and the first operation that is then another than the hub graph's."""


def damaged(built: BuildResult, change: Damage, place: Path, *, listed: bool = True) -> Path:
    """A copy whose forger lists hashes anew, unless told not to."""
    folder = Path(shutil.copytree(built.directory, place / "damaged.edgec"))
    change(next((folder / "model").glob("*.mlpackage")))
    if listed:
        forging.repair(folder)
    return folder


@pytest.mark.parametrize("what", DAMAGES)
def test_verify_names_the_first_operation_that_differs(
    what: str, request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fixture, change, operation = DAMAGES[what]
    assert run(["verify", str(damaged(request.getfixturevalue(fixture), change, tmp_path))]) == 9
    said = " ".join(capsys.readouterr().err.split())
    assert f"the first operation that differs is {operation} (" in said


def test_verify_names_an_operation_that_contradicts_its_shape(
    built: BuildResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No runtime runs that: heads for tokens, where the program goes on as before."""
    swapped = integers("blocks_0_attn_transpose", perm=(0, 1, 2, 3))
    assert run(["verify", str(damaged(built, swapped, tmp_path))]) == 10
    assert "blocks_0_attn_transpose (transpose) of the saved program" in " ".join(capsys.readouterr().err.split())


def test_verify_names_the_operation_that_gives_another_shape(
    built: BuildResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Consistently, so that the program runs: patches in a row."""

    def flattened(package: Path) -> None:
        with edited(package) as operations:
            output = operations["patches"]
            grid = operations[output.inputs["x"].arguments[0].name]
            row = grid.inputs["x"].arguments[0].name
            output.inputs["x"].arguments[0].name = row
            kept = output.outputs[0].type.tensorType.dataType
            output.outputs[0].type.CopyFrom(operations[row].outputs[0].type)
            output.outputs[0].type.tensorType.dataType = kept

    assert run(["verify", str(damaged(built, flattened, tmp_path))]) == 9
    said = " ".join(capsys.readouterr().err.split())
    assert "Output patches is of another shape" in said
    assert "the first operation that differs is patches (cast): its result has another shape" in said


def test_wrong_hashes_are_found_without_a_run(built: BuildResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change = weight("blocks_1_mlp_fc1_weight", flipped)
    assert run(["verify", str(damaged(built, change, tmp_path, listed=False))]) == 8
    assert "changed: model/w8.mlpackage/Data/com.apple.CoreML/weights/weight.bin" in capsys.readouterr().err


def test_a_head_that_core_ml_cannot_run_is_refused_at_once(request_: BuildRequest, tmp_path: Path) -> None:
    """Before frames are read and anything is exported, with a code of its own."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", "c"]) for name in ("cls", "own")]
    graph = helper.make_graph([helper.make_node("Sinh", ["cls"], ["own"])], "own", values[:1], values[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "own.onnx")
    begun: list[str] = []

    class Listening(Silent):
        def stage(self, title: str, total: int | None = None, *, alone: bool = False) -> AbstractContextManager[Step]:
            begun.append(title)
            return super().stage(title, total)

    asked = replace(request_, heads=(f"own={tmp_path / 'own.onnx'}",), output=tmp_path / "own.edgec")
    with pytest.raises(UnsupportedOperation) as caught:
        build(asked, Listening())
    assert begun == ["resolve", "check the heads"]
    assert caught.value.exit_code == 18
    assert of_exit_code(18) is UnsupportedOperation
    said = str(caught.value)
    for word in ("head own", "apple", "Core ML", "Sinh", "heads.own.sinh0", "To do"):
        assert word in said
    assert not (tmp_path / "own.edgec").exists()
