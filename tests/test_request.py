"""What a request comes to before any work: refusals, hashes, and the build's key."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from edgec.dependencies import version
from edgec.errors import CalibrationError, EdgecError, RequestError, TargetError, UnreadableCheckpoint
from edgec.host.facts import facts
from edgec.model.spec import Size
from edgec.request import BuildRequest, resolve
from tests.support.commands import python
from tests.support.files import save_profile
from tests.support.frames import draw_pictures


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("request") / "frames", 10)


@pytest.fixture
def request_(frames: Path) -> BuildRequest:
    return BuildRequest("demo", calibration=str(frames))


# --- the key


@pytest.mark.parametrize(
    "change",
    [
        {"size": Size(224, 240)},
        {"target": "apple", "more_sizes": (Size(224, 240),)},
        {"batch": 2},
        {"precision": "fp32"},
        {"min_fidelity": 0.98},
        {"registers": True},
        {"layers": (3,)},
        {"threads": 7},
        {"iterations": 50},
        {"calibration_frames": 64},
        {"seed": 1},
        {"checkpoint": "random:vitt16"},
        {"calibration": "demo"},
        {"target": "cpu-arm64"},
    ],
    ids=lambda change: "-".join(change),
)
def test_everything_that_changes_the_artefact_is_in_the_key(request_: BuildRequest, change: dict[str, Any]) -> None:
    assert resolve(replace(request_, **change)).key != resolve(request_).key


def test_the_destination_is_not_in_the_key(request_: BuildRequest, tmp_path: Path) -> None:
    assert resolve(replace(request_, output=tmp_path / "x", force=True)).key == resolve(request_).key


def test_the_key_is_over_contents_and_not_over_paths(
    request_: BuildRequest, frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(frames, tmp_path / "frames")
    monkeypatch.chdir(tmp_path)
    assert resolve(replace(request_, calibration="frames")).key == resolve(request_).key
    assert resolve(replace(request_, calibration="./frames/../frames")).key == resolve(request_).key


def test_one_pixel_is_in_the_key(request_: BuildRequest, frames: Path, tmp_path: Path) -> None:
    shutil.copytree(frames, tmp_path / "frames")
    picture = Image.open(tmp_path / "frames" / "scene d.png")
    picture.putpixel((0, 0), (1, 2, 3))
    picture.save(tmp_path / "frames" / "scene d.png")
    changed = replace(request_, calibration=str(tmp_path / "frames"))
    assert resolve(changed).key != resolve(request_).key


def test_a_profile_s_content_is_in_the_key(request_: BuildRequest, tmp_path: Path) -> None:
    one = save_profile(tmp_path / "board.toml", {"fp32": ["onnxruntime"]})
    first = resolve(replace(request_, target=str(one))).key
    (tmp_path / "elsewhere").mkdir()
    moved = save_profile(tmp_path / "elsewhere" / "board.toml", {"fp32": ["onnxruntime"]})
    assert resolve(replace(request_, target=str(moved))).key == first
    save_profile(one, {"fp32": ["onnxruntime"], "int8": ["onnxruntime"]})
    assert resolve(replace(request_, target=str(one))).key != first


def test_the_versions_of_tools_are_in_the_key(request_: BuildRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    before = resolve(request_)
    assert {"edgec", "numpy", "onnx", "onnxruntime", "openvino", "torch"} <= set(before.tools)
    assert "coremltools" not in before.tools, "a CPU's artefact does not depend on it"
    monkeypatch.setattr("edgec.dependencies._version", lambda name: "99" if name == "torch" else before.tools.get(name, ""))
    version.cache_clear()
    try:
        after = resolve(request_)
    finally:
        monkeypatch.undo()
        version.cache_clear()
    assert after.key != before.key
    assert after.tools["torch"] == "99"


@pytest.mark.parametrize("name", ["openvino-int4", "onnxruntime", "tensorrt-int8", "openvino-int88", ""])
def test_a_candidate_that_no_build_could_have_is_refused_before_work(request_: BuildRequest, name: str) -> None:
    with pytest.raises(RequestError, match="There is no candidate") as caught:
        resolve(replace(request_, candidate=name))
    assert "openvino-int8" in caught.value.evidence[0]
    resolve(replace(request_, candidate="openvino-int8-but-last-6"))
    resolve(replace(request_, candidate="openvino-fp32"))


def test_the_machine_is_in_the_key_as_far_as_it_decides_what_is_computed(
    request_: BuildRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = resolve(request_).key
    for changes, same in (
        ({"memory_bytes": 1 << 30, "python": "3.99", "os": "another", "physical_cores": 64, "virtual_machine": None}, True),
        ({"isa": ("sse4_2", "avx2", "fma")}, False),
        ({"cpu": "another"}, False),
    ):
        there = facts().model_copy(update=changes)
        with monkeypatch.context() as patch:
            patch.setattr("edgec.host.facts.facts", lambda there=there: there)
            assert (resolve(request_).key == before) is same, changes


# --- the frames


def test_the_validation_set_is_joined_to_the_calibration_set(request_: BuildRequest, tmp_path: Path) -> None:
    draw_pictures(tmp_path / "judges", 4, side=80)
    alone = resolve(request_)
    both = resolve(replace(request_, validation=str(tmp_path / "judges")))
    assert both.key != alone.key
    assert [frame.side for frame in both.frames.frames] == ["calibration"] * 10 + ["validation"] * 4
    names = [frame.name for frame in both.frames.frames]
    assert len(set(names)) == 14
    assert "judges" in both.frames.name


@pytest.mark.parametrize(
    ("option", "change"),
    [
        ("--calibration", {"calibration": "random"}),
        ("--calibration", {"calibration": "random:32"}),
        ("--validation", {"validation": "random:32"}),
        ("--foreign", {"foreign": "random:32"}),
    ],
    ids=["calibration", "count", "validation", "foreign"],
)
@pytest.mark.parametrize("checkpoint", ["demo", "copy"])
def test_noise_is_refused_for_trained_weights(
    request_: BuildRequest, option: str, change: dict[str, str], checkpoint: str, tmp_path: Path
) -> None:
    if checkpoint == "copy":
        import edgec.checkpoint

        shutil.copytree(Path(edgec.checkpoint.__file__).parent / "demo", tmp_path / "random:vitt16")
        checkpoint = str(tmp_path / "random:vitt16")
    with pytest.raises(CalibrationError, match="Random frames show nothing") as caught:
        resolve(replace(request_, checkpoint=checkpoint, **change))
    assert option in caught.value.evidence[0]


def test_noise_is_right_for_random_weights() -> None:
    resolved = resolve(BuildRequest("random:vits16", calibration="random:16"))
    assert resolved.frames.random
    assert len(resolved.frames.frames) == 16


def test_without_a_calibration_set_the_user_learns_what_is_used() -> None:
    assert any("demo pictures" in note for note in resolve(BuildRequest("random:vits16")).notes)
    assert not any("demo pictures" in note for note in resolve(BuildRequest("demo")).notes)


# --- refusals


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"batch": 0}, RequestError),
        ({"batch": -1}, RequestError),
        ({"min_fidelity": 0.0}, RequestError),
        ({"min_fidelity": 1.0001}, RequestError),
        ({"min_fidelity": -0.5}, RequestError),
        ({"min_fidelity": float("nan")}, RequestError),
        ({"checkpoint": "no/such/file.pth"}, UnreadableCheckpoint),
        ({"checkpoint": ""}, EdgecError),
        ({"checkpoint": "random:vitx16"}, RequestError),
        ({"calibration": "no/such/folder"}, CalibrationError),
        ({"validation": "no/such/folder"}, CalibrationError),
        ({"target": "no-such-board"}, TargetError),
        ({"target": "no/such/board.toml"}, TargetError),
    ],
    ids=str,
)
def test_wrong_requests_are_refused_before_work(request_: BuildRequest, change: dict[str, Any], error: type[EdgecError]) -> None:
    with pytest.raises(error) as caught:
        resolve(replace(request_, **change))
    assert caught.value.evidence or caught.value.remedy


def test_a_precision_that_the_target_does_not_offer_is_refused(request_: BuildRequest, tmp_path: Path) -> None:
    profile = save_profile(tmp_path / "plain.toml", {"fp32": ["onnxruntime"]})
    with pytest.raises(TargetError, match="does not offer int8"):
        resolve(replace(request_, target=str(profile), precision="int8"))


def test_an_unknown_runtime_is_refused(request_: BuildRequest, tmp_path: Path) -> None:
    profile = save_profile(tmp_path / "odd.toml", {"fp32": ["abacus"]})
    with pytest.raises(TargetError, match="no lowering named 'abacus'"):
        resolve(replace(request_, target=str(profile)))


def test_without_any_runtime_the_line_that_installs_one_is_given(request_: BuildRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("openvino", "onnxruntime"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(TargetError, match="No runtime of this target is installed") as caught:
        resolve(request_)
    assert "pip install" in caught.value.remedy
    assert len(caught.value.evidence) == 2


def test_one_runtime_is_enough(request_: BuildRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert ("onnxruntime", "fp32") in resolve(request_).pairs


@pytest.mark.parametrize(
    ("target", "evidence"),
    [("cpu", "ONNX Runtime and OpenVINO have"), ("jetson", "TensorRT has"), ("jetson-orin-nano", "TensorRT has")],
)
def test_several_sizes_need_a_runtime_whose_files_hold_several(request_: BuildRequest, target: str, evidence: str) -> None:
    with pytest.raises(RequestError, match=f"An artefact for {target} takes frames of one size") as caught:
        resolve(replace(request_, target=target, more_sizes=(Size(480, 640), Size(64, 96))))
    assert caught.value.evidence[0] == "requested: 224x224, 480x640, 64x96"
    assert evidence in caught.value.evidence[1]
    assert "edgec sweep" in caught.value.remedy


def test_a_size_given_twice_is_refused(request_: BuildRequest) -> None:
    with pytest.raises(RequestError, match="given twice"):
        resolve(replace(request_, target="apple", more_sizes=(Size(64, 96), Size(224, 224))))


# --- what is shown and where it goes


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({}, "demo-cpu-224x224.edgec"),
        ({"size": Size(480, 640), "batch": 4}, "demo-cpu-480x640-b4.edgec"),
        ({"target": "apple", "more_sizes": (Size(480, 640),)}, "demo-apple-224x224-480x640.edgec"),
        ({"checkpoint": "random:vits16", "target": "cpu-arm64"}, "random-vits16-cpu-arm64-224x224.edgec"),
    ],
    ids=["plain", "batch", "sizes", "random"],
)
def test_the_artefact_is_named_for_what_it_is(request_: BuildRequest, change: dict[str, Any], name: str) -> None:
    assert resolve(replace(request_, **change)).output == Path(name)


def test_untrusted_names_do_not_become_paths(request_: BuildRequest, tmp_path: Path) -> None:
    import edgec.checkpoint

    folder = tmp_path / "a b\n:*?"
    shutil.copytree(Path(edgec.checkpoint.__file__).parent / "demo", folder)
    output = resolve(replace(request_, checkpoint=str(folder))).output
    assert output.name == str(output)
    assert all(letter.isalnum() or letter in "._-" for letter in output.name)


def test_a_tilde_is_the_home_folder(request_: BuildRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve(replace(request_, output=Path("~/x.edgec"))).output == tmp_path / "x.edgec"


def test_all_settings_are_listed(request_: BuildRequest) -> None:
    resolved = resolve(
        replace(request_, size=Size(480, 640), batch=3, registers=True, layers=(2, 5), threads=5, precision="fp32")
    )
    rows = dict(resolved.rows())
    assert rows["input"] == "uint8 NHWC [3, 480, 640, 3]"
    assert rows["outputs"] == "cls, patches, registers, patches_2, patches_5"
    assert rows["threads"].startswith("5 of ")
    assert rows["precision"] == "fp32, effort quick, fidelity at least 0.99"
    assert "10 frames" in rows["frames"]
    assert resolved.identity.sha256[:12] in rows["checkpoint"]
    assert resolved.profile.name in rows["target"]
    assert "onnxruntime fp32" in rows["candidates"]
    assert "int8" not in rows["candidates"]
    assert rows["output"] == str(resolved.output)


def test_resolving_imports_no_torch(frames: Path, tmp_path: Path) -> None:
    done = python(
        "import sys\n"
        "from edgec.request import BuildRequest, resolve\n"
        "resolve(BuildRequest('demo', calibration=sys.argv[1]))\n"
        "print(*sorted({'torch', 'onnxscript', 'transformers'} & set(sys.modules)))\n",
        frames,
        cwd=tmp_path,
        cache=tmp_path / "cache",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""
    assert not (tmp_path / "cache").exists()
