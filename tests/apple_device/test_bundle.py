"""What bundle.json may say of a package, and that nothing of a damaged artefact is run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgec.durable import sha256_of
from tests.apple_device.mac import UNITS, only, write_facts
from tests.device.robot import Robot

BUNDLE = Path("device", "bundle.json")


def change(artefact: Path, **changes: Any) -> None:
    document = json.loads((artefact / BUNDLE).read_text())
    (artefact / BUNDLE).write_text(json.dumps(document | changes))


def read(artefact: Path, function: str | None = None) -> Any:
    from edgec_device.bundle import read_bundle

    return read_bundle(artefact, function)


def test_a_variant_for_each_setting_of_compute_units(artefact: Path) -> None:
    bundle = read(artefact)
    assert [variant.name for variant in bundle.variants] == [f"w8-{units}" for units in UNITS]
    assert {variant.path for variant in bundle.variants} == {"model/w8.mlpackage/Manifest.json"}
    assert len(bundle.variants[0].others) == 2
    assert bundle.gate == dict.fromkeys(("cls_cosine_mean", "patch_cosine_mean", "patch_cosine_p01"), 0.98)
    assert [board.profile for board in bundle.boards] == [f"apple-m{number}" for number in range(1, 6)]
    assert bundle.golden_recorded == "golden/expected_shipped.npz"
    assert bundle.variants[0].bounds == {"floor": {"agreement": 0.99}, "kind": {"cosine": 0.999, "difference": 0.02}}


@pytest.mark.parametrize(
    "bounds",
    [
        {"floor": {"agreement": 0.9}, "kind": {"cosine": 0.999, "difference": 0.02}},
        {"floor": {"agreement": 0.99}, "kind": {"cosine": 0.9, "difference": 0.02}},
        {"floor": {"agreement": 0.99}, "kind": {"cosine": 0.999, "difference": 0.5}},
        {"floor": {"agreement": True}, "kind": {"cosine": 0.999, "difference": 0.02}},
        {"floor": {"agreement": 0.99}},
    ],
)
def test_no_bundle_loosens_the_bounds(own: Path, bounds: dict[str, Any]) -> None:
    from edgec_onboard.errors import ArtefactError

    variants = json.loads((own / BUNDLE).read_text())["variants"]
    change(own, variants=[{**variant, "bounds": bounds} for variant in variants])
    with pytest.raises(ArtefactError, match="bundle is damaged"):
        read(own)


def test_edgec_refuses_other_bounds_too(own: Path) -> None:
    """Stricter ones as well: they are edgec's, and nobody else's."""
    from edgec.artefact.contents import build_manifest_files
    from edgec.artefact.reading import open_artefact
    from edgec.backends.apple.program import mac_program
    from edgec.backends.bundle_checking import check_bundle
    from edgec.errors import ArtefactError
    from edgec.records.manifest import MANIFEST
    from tests.support.forging import written

    check_bundle(open_artefact(own), None, program=mac_program())
    variants = json.loads((own / BUNDLE).read_text())["variants"]
    strict = {"floor": {"agreement": 1.0}, "kind": {"cosine": 0.999, "difference": 0.02}}
    change(own, variants=[{**variant, "bounds": strict} for variant in variants])
    manifest = json.loads((own / MANIFEST).read_text())
    manifest["files"] = [file.model_dump() for file in build_manifest_files(own)]
    (own / MANIFEST).write_text(written(manifest))
    with pytest.raises(ArtefactError, match="contradicts the artefact"):
        check_bundle(open_artefact(own), None, program=mac_program())


def test_a_function_has_frames_of_its_own(own: Path) -> None:
    from edgec_onboard.errors import UsageError

    document = json.loads((own / BUNDLE).read_text())
    one = {name: document[name] for name in ("input", "outputs", "golden")}
    other = one | {"input": one["input"] | {"shape": [1, 96, 96, 3]}}
    change(own, sizes=[{"function": "frames_64x96", **one}, {"function": "frames_96x96", **other}])
    bundle = read(own)
    assert (bundle.function, bundle.input.shape) == ("frames_64x96", (1, 64, 96, 3))
    assert read(own, "frames_96x96").input.shape == (1, 96, 96, 3)
    with pytest.raises(UsageError, match="no function main"):
        read(own, "main")


@pytest.mark.parametrize(
    "changes",
    [
        {"sizes": [5]},
        {"sizes": [{"function": "x"}]},
        {"least_macos": 15},
        {"golden": {"frames": "golden/frames.npz", "expected": "golden/expected_float32.npz", "count": 4, "recorded": "x"}},
        {"boards": [{"profile": "x", "title": "x", "compatible": [], "compute_units": [], "macos": "", "examples": ""}]},
        {"boards": [{"profile": "x", "title": "x", "compatible": [], "compute_units": ["cpu"], "macos": None, "examples": ""}]},
    ],
)
def test_a_bundle_of_another_form_is_refused(own: Path, changes: dict[str, Any]) -> None:
    from edgec_onboard.errors import ArtefactError

    change(own, **changes)
    with pytest.raises(ArtefactError, match="bundle is damaged"):
        read(own)


def test_every_listed_file_is_checked(mac: Robot, own: Path) -> None:
    mac.bundle = own
    weights = next(own.rglob("weight.bin"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    done = mac.run("run-all")
    assert done.code == 8
    assert "weight.bin has other content" in " ".join(done.error["evidence"])
    weights.unlink()
    assert "missing" in " ".join(mac.run("run-all").error["evidence"])


def test_what_nobody_listed_does_not_become_part_of_the_package(mac: Robot, own: Path) -> None:
    mac.bundle = own
    for name in (".DS_Store", "extra.bin"):
        (own / "model" / "w8.mlpackage" / name).write_bytes(b"\0")
    assert mac.run("install").code == 0
    assert mac.run("build", *only("cpuOnly")).code == 0
    (engine,) = (mac.home / "engines").glob("w8-cpuOnly-*")
    files = {path.relative_to(engine).as_posix() for path in engine.rglob("*") if path.is_file()}
    package = {path for path in files if path.startswith("w8.mlpackage/")}
    assert package == {f"w8.mlpackage/{name}" for name in ("Manifest.json", *_DATA)}


_DATA = ("Data/com.apple.CoreML/model.mlmodel", "Data/com.apple.CoreML/weights/weight.bin")


@pytest.mark.parametrize("spoilt", ["frames", "labels", "scores"])
def test_golden_arrays_that_do_not_fit_are_refused(mac: Robot, own: Path, spoilt: str) -> None:
    mac.bundle = own
    if spoilt == "frames":
        np.savez(own / "golden" / "frames.npz", frames=np.zeros((4, 8, 8, 3), np.uint8))
    else:
        place = own / "golden" / "expected_shipped.npz"
        with np.load(place) as stored:
            arrays = dict(stored)
        arrays["floor"][0, 0, 0] = 3 if spoilt == "labels" else 0
        arrays["kind"][0, 0] = np.nan if spoilt == "scores" else 0
        np.savez(place, **arrays)
    files = json.loads((own / BUNDLE).read_text())["files"]
    facts = [(own / file["path"], file["path"]) for file in files]
    change(own, files=[{"path": name, "sha256": sha256_of(path), "size_bytes": path.stat().st_size} for path, name in facts])
    assert [mac.run(command, *only("cpuOnly")).code for command in ("install", "build")] == [0, 0]
    done = mac.run("verify", *only("cpuOnly"))
    assert done.code == 8
    assert "does not fit the bundle" in done.error["what"]


def test_without_features_only_heads_are_judged(mac: Robot, own: Path) -> None:
    mac.bundle = own
    outputs = [each for each in json.loads((own / BUNDLE).read_text())["outputs"] if each["role"] != "features"]
    change(own, outputs=outputs)
    assert [(each.name, each.dtype, each.classes) for each in read(own).outputs] == [
        ("floor", "int32", 3),
        ("kind", "float32", 0),
    ]
    done = mac.run("run-all", *only("cpuOnly", "all"), faults="blind@ALL")
    assert done.code == 0, done
    (verified,) = done.of("done", step="verify")
    assert verified["figures"] is None
    assert [task["head"] for task in verified["tasks"]] == ["floor", "kind"]
    (problem,) = done.of("problem")
    assert any("ignores its input" in line for line in problem["evidence"])


def test_options_that_make_no_sense_are_refused(mac: Robot, tmp_path: Path) -> None:
    for options in (["--iterations", "0"], ["--patience", "nan"], ["--variant", "tpu"], ["--seconds", "-1"], ["--function", "x"]):
        code, _, err = mac.say("run-all", *options)
        assert code == 2, err
        assert "Traceback" not in err
    mac.facts = write_facts(tmp_path / "facts")
    assert mac.say("run-all", "--dir", "x" * 300)[0] == 2
