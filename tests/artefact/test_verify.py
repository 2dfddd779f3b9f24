from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgec.artefact.golden import write_golden
from edgec.artefact.reading import open_artefact
from edgec.cli.verify import verify as command
from edgec.errors import ArtefactError, RuntimeFailure, TargetError, VerificationError
from edgec.onboard.judging import GATES
from edgec.verifying import load_runner, verify
from tests.support import forging

from .conftest import ENTRY, GOLDEN, Forge, as_of_version_1, embedding, save_model


def replace_model(artefact: Path, forge: Forge, **options: object) -> None:
    save_model(artefact / ENTRY, **({"weights": embedding()} | options))  # type: ignore[arg-type]
    forge.relist()


def record_shipped(artefact: Path, forge: Forge, name: str, frame: int, scale: float) -> None:
    """Let the artefact expect other features of one golden frame."""
    golden = open_artefact(artefact).golden
    shipped = {key: array.copy() for key, array in golden.expected_shipped.items()}
    shipped[name][frame] *= scale
    write_golden(artefact, golden.frames, golden.expected_float32, shipped)
    forge.relist()


def test_a_whole_artefact_is_verified(artefact: Path) -> None:
    result = verify(artefact, threads=1)
    assert result.directory == artefact
    assert (result.runtime, result.threads, result.files, result.frames) == ("onnxruntime", 1, 5, GOLDEN)
    assert [output.name for output in result.outputs] == ["cls", "patches"]
    for output in result.outputs:
        assert output.passed
        assert 0 <= output.difference <= output.tolerance
        assert output.float32_cosine_mean == pytest.approx(1, abs=1e-6)
        assert output.float32_cosine_min == pytest.approx(1, abs=1e-6)


def test_features_of_float32_are_compared_too(artefact: Path, forge: Forge) -> None:
    golden = open_artefact(artefact).golden
    float32 = {name: -array for name, array in golden.expected_float32.items()}
    write_golden(artefact, golden.frames, float32, golden.expected_shipped)
    forge.relist()
    with pytest.raises(ArtefactError, match="states another fidelity than its golden features have") as caught:
        verify(artefact)
    assert "artefact: cls_cosine_mean of the golden frames is -1.000000 (at least 0.999)" in caught.value.evidence


def test_other_weights_are_noticed(artefact: Path, forge: Forge) -> None:
    replace_model(artefact, forge, weights=embedding() * np.float32(1.01))
    with pytest.raises(VerificationError, match="output cls, golden frame") as caught:
        verify(artefact)
    assert caught.value.exit_code == 9
    assert "(tolerance" in caught.value.what
    assert "lowest cosine 1.000000 (at least 1)" in caught.value.what
    assert caught.value.evidence[0].startswith("output patches, golden frame")
    assert "computes here in: " in caught.value.evidence[1]


@pytest.mark.parametrize("frame", range(GOLDEN))
def test_the_frame_is_named(artefact: Path, forge: Forge, frame: int) -> None:
    record_shipped(artefact, forge, "patches", frame, 1.5)
    with pytest.raises(VerificationError, match=f"output patches, golden frame {frame}: largest difference") as caught:
        verify(artefact)
    assert len(caught.value.evidence) == 2


def test_a_wrong_direction_is_noticed_within_a_wide_tolerance(artefact: Path, forge: Forge) -> None:
    record_shipped(artefact, forge, "cls", 1, -1)
    with pytest.raises(ArtefactError, match="states another fidelity"):
        verify(artefact)


def test_where_it_was_built_a_hundred_thousandth_is_too_much(artefact: Path, forge: Forge) -> None:
    replace_model(artefact, forge, weights=embedding() * np.float32(1.00001))
    with pytest.raises(VerificationError, match="tolerance") as caught:
        verify(artefact)
    assert "with the same version and as many threads" in caught.value.evidence[-1]


@pytest.mark.parametrize("changed", [{"machine": "0" * 64}, {"version": "1.0.0"}, {"threads": 2}])
def test_elsewhere_kernels_may_differ_and_weights_may_not(artefact: Path, forge: Forge, changed: dict[str, object]) -> None:
    forge.edit(execution=changed)
    replace_model(artefact, forge, weights=embedding() * np.float32(1.00001))
    result = verify(artefact, threads=1)
    assert not result.same_machine
    assert all(0 < output.difference <= output.tolerance for output in result.outputs)
    replace_model(artefact, forge, weights=embedding() * np.float32(1.01))
    with pytest.raises(VerificationError, match="tolerance"):
        verify(artefact, threads=1)


def test_a_manifest_may_be_stricter_than_edgec(artefact: Path, forge: Forge) -> None:
    forge.edit(golden={"relative_tolerance": 1e-12})
    outputs = verify(artefact).outputs
    assert all(output.tolerance < 1e-9 for output in outputs)


def shipped_anew(artefact: Path, forge: Forge, weights: np.ndarray) -> None:  # type: ignore[type-arg]
    """Other weights, and everything that was recorded of them as well, but for float32."""
    replace_model(artefact, forge, weights=weights)
    opened = open_artefact(artefact)
    runner = load_runner(opened, 1)
    frames = opened.golden.frames
    shipped = {name: np.concatenate([runner(frames[:2])[name], runner(frames[1:])[name][1:]]) for name in ("cls", "patches")}
    write_golden(artefact, frames, opened.golden.expected_float32, shipped)
    forge.relist()


def test_features_that_were_recorded_again_must_have_the_stated_fidelity(artefact: Path, forge: Forge) -> None:
    weights = embedding()
    weights[3] *= -1
    shipped_anew(artefact, forge, weights)
    with pytest.raises(ArtefactError, match="states another fidelity") as caught:
        verify(artefact)
    assert any("the golden frames lose" in line for line in caught.value.evidence)
    fidelity = [{**open_artefact(artefact).manifest.fidelity[0].model_dump(mode="json"), **dict.fromkeys(GATES, 0.1)}]
    forge.edit(fidelity=fidelity)
    forging.edit(artefact / "report.json", lambda report: report.update(stages=fidelity))
    with pytest.raises(ArtefactError, match="or too low a one") as caught:
        verify(artefact)
    assert "artefact: fidelity 0.100000 (at least 0.999)" in caught.value.evidence
    assert verify(artefact, min_fidelity=0.1).same_machine


def test_the_report_must_be_the_artefact_s_own(artefact: Path, forge: Forge) -> None:
    (artefact / "report.md").write_text("# another report")
    with pytest.raises(ArtefactError, match="is not the artefact's") as caught:
        verify(artefact)
    assert caught.value.evidence == ("changed: report.md is not as report.json says",)
    (artefact / "report.md").unlink()
    with pytest.raises(ArtefactError, match="is not the artefact's") as caught:
        verify(artefact)
    assert caught.value.evidence == ("missing: report.md",)
    (artefact / "report.json").unlink()
    with pytest.raises(ArtefactError, match="There is no report"):
        verify(artefact)


@pytest.mark.parametrize(
    ("changes", "evidence"),
    [
        ({"artefact_sha256": "0" * 64}, "it is about a manifest with SHA-256 000000000000…"),
        ({"artefact_sha256": None}, "it is about a manifest with SHA-256 None…"),
        ({"stages": []}, "it has another fidelity than the manifest"),
    ],
)
def test_a_report_of_another_artefact(artefact: Path, changes: dict[str, object], evidence: str) -> None:
    forging.edit(artefact / "report.json", lambda report: report.update(changes))
    with pytest.raises(ArtefactError, match="is not the artefact's") as caught:
        verify(artefact)
    assert caught.value.evidence == (evidence,)


def test_a_report_may_not_name_files_outside(artefact: Path) -> None:
    file = {"path": "../outside", "sha256": "0" * 64, "size_bytes": 1}
    forging.edit(artefact / "report.json", lambda report: report.update(files=[file]))
    with pytest.raises(ArtefactError, match="names a file outside the artefact"):
        verify(artefact)


def test_an_artefact_of_an_older_edgec_is_verified_with_a_warning(artefact: Path) -> None:
    as_of_version_1(artefact)
    result = verify(artefact)
    assert not result.same_machine
    assert "neither its manifest nor its report is sealed" in result.notes[0]
    (artefact / "report.json").unlink()
    assert verify(artefact).notes == result.notes
    told = CliRunner().invoke(command, [str(artefact)])
    assert told.exit_code == 0
    assert "Warning: An older edgec wrote this artefact" in told.stderr


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_inf_are_noticed(artefact: Path, forge: Forge, value: float) -> None:
    weights = embedding()
    weights[0] = value
    replace_model(artefact, forge, weights=weights)
    with pytest.raises(VerificationError, match="output cls, golden frame 0: holds NaN or Inf"):
        verify(artefact)


def test_a_missing_output_is_noticed(artefact: Path, forge: Forge) -> None:
    replace_model(artefact, forge, patches="grid")
    with pytest.raises(VerificationError, match="Output patches is missing") as caught:
        verify(artefact)
    assert "the model's outputs: cls, grid" in caught.value.evidence


def test_a_model_for_other_frames_is_a_failure_of_the_runtime(artefact: Path, forge: Forge) -> None:
    replace_model(artefact, forge, side=64)
    with pytest.raises(RuntimeFailure):
        verify(artefact)


def test_an_output_of_another_shape_is_noticed(artefact: Path, forge: Forge) -> None:
    outputs = [output.model_dump() for output in open_artefact(artefact).manifest.outputs]
    golden = open_artefact(artefact).golden
    flat = [
        {name: a.reshape(GOLDEN, -1, 8) if name == "patches" else a for name, a in features.items()}
        for features in (golden.expected_float32, golden.expected_shipped)
    ]
    write_golden(artefact, golden.frames, *flat)
    forge.edit(outputs=[outputs[0], {**outputs[1], "shape": [2, 4, 8]}])
    forge.relist()
    with pytest.raises(VerificationError, match="Output patches is of another shape") as caught:
        verify(artefact)
    assert caught.value.evidence[0] == "recorded: (2, 4, 8); here: (2, 2, 2, 8)"


def test_a_file_that_is_not_a_model_is_a_failure_of_the_runtime(artefact: Path, forge: Forge) -> None:
    (artefact / ENTRY).write_text("not a model")
    forge.relist()
    with pytest.raises(RuntimeFailure):
        verify(artefact)


def test_an_unknown_runtime(artefact: Path, forge: Forge) -> None:
    forge.edit(runtime="abacus")
    with pytest.raises(TargetError, match="abacus"):
        verify(artefact)


def test_a_damaged_artefact_is_not_run(artefact: Path) -> None:
    (artefact / ENTRY).write_bytes(b"")
    with pytest.raises(ArtefactError, match="1 changed"):
        verify(artefact)


def test_only_numpy_and_the_runtime_are_needed(artefact: Path) -> None:
    script = """
import sys
from pathlib import Path
from edgec.onboard.judging import GATES
from edgec.verifying import load_runner, verify
verify(Path(sys.argv[1]))
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""
    done = subprocess.run([sys.executable, "-c", script, str(artefact)], capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())
    assert {"numpy", "onnxruntime"} <= modules
    assert not modules & {"torch", "onnx", "onnxscript", "openvino", "transformers", "safetensors", "PIL", "ml_dtypes"}


def test_the_command_prints_a_table(artefact: Path) -> None:
    result = CliRunner().invoke(command, [str(artefact), "--threads", "1"])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "hashes ok, 5 files"
    assert lines[1] == "3 golden frames in onnxruntime, fp32, 1 thread"
    assert lines[2].split() == ["output", "difference", "tolerance", "like", "float32", "worst", "as"]
    assert [line.split()[0] for line in lines[3:]] == ["cls", "patches", "verified"]
    assert max(map(len, lines)) <= 80


def test_the_command_prints_json(artefact: Path) -> None:
    result = CliRunner().invoke(command, [str(artefact), "--json"])
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["verified"] is True
    assert found["files"] == 5
    assert [output["name"] for output in found["outputs"]] == ["cls", "patches"]


def test_the_command_lets_errors_through(artefact: Path) -> None:
    (artefact / ENTRY).unlink()
    result = CliRunner().invoke(command, [str(artefact)])
    assert isinstance(result.exception, ArtefactError)
    assert "verified" not in result.stdout


def test_the_command_refuses_no_threads(artefact: Path) -> None:
    assert CliRunner().invoke(command, [str(artefact), "--threads", "0"]).exit_code == 2
