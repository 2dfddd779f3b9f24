"""fp16 for an Arm board: built here, where nothing can judge it, and left to the board's own golden run."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgec.backends.cpu.profile import CpuProfile
from edgec.backends.profiles import lacks, resolve
from edgec.building import BuildResult, build
from edgec.errors import ArtefactError, TargetError, VerificationError
from edgec.host.facts import facts
from edgec.request import BuildRequest
from edgec.verifying import verify
from tests.support.files import save_checkpoint
from tests.support.forging import edit, repair
from tests.support.frames import draw_pictures
from tests.support.models import SMALL

BOARD = "cpu-raspberry-pi-5"
PROFILE = f'extends = "{BOARD}"\nname = "robot"\n[precisions]\nfp32 = ["openvino", "onnxruntime"]\nint8 = []\n'
FP16, FP32 = "openvino-fp16", "onnxruntime-fp32"


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> BuildRequest:
    if not lacks(BOARD, facts()):
        pytest.skip("this machine is such a board, and judges fp16 itself")
    folder = tmp_path_factory.mktemp("target-judges")
    draw_pictures(folder / "frames")
    (folder / "robot.toml").write_text(PROFILE)
    return BuildRequest(
        str(save_checkpoint(folder / "checkpoint")), target=str(folder / "robot.toml"), calibration=str(folder / "frames"),
        size=SMALL, output=folder / "robot.edgec",
    )  # fmt: skip


@pytest.fixture(scope="module")
def built(asked: BuildRequest) -> BuildResult:
    """Not to be changed."""
    return build(asked)


@pytest.fixture
def own(built: BuildResult, tmp_path: Path) -> Path:
    """A test's own, which it may change."""
    return Path(shutil.copytree(built.directory, tmp_path / "own.edgec"))


def test_it_goes_along_without_a_figure(built: BuildResult) -> None:
    report = built.report
    (fp16,) = (candidate for candidate in report.candidates if candidate.name == FP16)
    assert fp16.fidelity is None
    assert fp16.execution_precision == "", "what this machine would compute in is of no interest"
    assert fp16.problem.startswith("not judged here: fp16 is the arithmetic of Raspberry Pi 5")
    assert report.chosen != FP16
    assert report.reason.endswith(f"Also along, for the target alone to judge: {FP16}.")
    variants = {variant.entry.split("/")[1]: variant for variant in built.manifest.variants}
    assert variants[FP16].expected == ""
    assert variants[FP16].settings == {"INFERENCE_PRECISION_HINT": "f16"}
    assert all(variant.expected for name, variant in variants.items() if name != FP16)


def test_it_is_float32_s_file_with_another_setting(built: BuildResult) -> None:
    (float32,) = (
        variant.entry for variant in built.manifest.variants if variant.settings.get("INFERENCE_PRECISION_HINT") == "f32"
    )
    for name in ("model.xml", "model.bin"):
        one, other = built.directory / float32, built.directory / "variants" / FP16 / name
        assert one.with_name(name).samefile(other)


def test_verify_says_that_it_did_not_run_it(built: BuildResult) -> None:
    assert f"{FP16} was not run: only the target judges it." in verify(built.directory, threads=1).notes


def test_only_what_no_other_machine_can_run_may_be_left_to_the_target(own: Path) -> None:
    """Else a model could escape `verify` by having nothing recorded."""

    def forget(document: dict[str, Any]) -> None:
        for variant in document["variants"]:
            if variant["entry"] == f"variants/{FP32}/model.onnx":
                variant["expected"] = ""

    edit(own / "manifest.json", forget)
    repair(own)
    with pytest.raises(VerificationError) as caught:
        verify(own, threads=1)
    assert f"nothing is recorded of {FP32}" in " ".join(caught.value.evidence)


def test_the_entry_is_never_left_to_the_target(own: Path) -> None:
    def forget(document: dict[str, Any]) -> None:
        for variant in document["variants"]:
            variant["expected"] = ""

    edit(own / "manifest.json", forget)
    repair(own)
    with pytest.raises(ArtefactError) as caught:
        verify(own, threads=1)
    assert "which is the artefact's entry" in " ".join(caught.value.evidence)


def test_alone_it_cannot_be_built_here(asked: BuildRequest, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="itself can judge fp16") as caught:
        build(replace(asked, precision="fp16", output=tmp_path / "fp16.edgec"))
    assert "--precision auto" in caught.value.remedy


def test_a_profile_offers_it_only_where_the_cpu_has_it() -> None:
    profile = resolve(BOARD, facts())
    assert isinstance(profile, CpuProfile)
    with pytest.raises(ValueError, match="isa must require fphp"):
        CpuProfile.model_validate({**profile.model_dump(), "isa": ["asimd", "asimddp"]})
