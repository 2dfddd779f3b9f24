"""Nothing of a damaged artefact is measured; and its figures are made as edgec makes them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgec.artefact.contents import build_manifest_files
from edgec.records.manifest import MANIFEST
from tests.apple_device.mac import Mac
from tests.support.forging import written


@pytest.fixture
def own(artefact: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(artefact, tmp_path / "own.edgec"))


def read(directory: Path) -> Any:
    from edgec_mac.artefact import read_artefact

    return read_artefact(directory)


def refusal(directory: Path) -> str:
    from edgec_onboard.errors import ArtefactError

    with pytest.raises(ArtefactError) as caught:
        read(directory)
    return str(caught.value)


def test_every_listed_file_is_checked(own: Path) -> None:
    found = read(own)
    assert found.precision == "w8"
    assert found.gate == dict.fromkeys(("cls_cosine_mean", "patch_cosine_mean", "patch_cosine_p01"), 0.98)
    assert [each.name for each in found.profiles] == [f"apple-m{number}" for number in range(1, 6)]
    weights = next(own.rglob("weight.bin"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert f"changed: {weights.relative_to(own).as_posix()}" in refusal(own)
    weights.unlink()
    assert "missing: " in refusal(own)


def test_only_finder_s_files_are_ignored(own: Path) -> None:
    (own / "model" / "w8.mlpackage" / ".DS_Store").write_bytes(b"\0")
    assert read(own).size_bytes == read(own).size_bytes
    (own / "model" / "w8.mlpackage" / "extra.bin").write_bytes(b"\0")
    assert "not listed: model/w8.mlpackage/extra.bin" in refusal(own)


def test_a_function_has_frames_of_its_own(own: Path) -> None:
    from edgec_mac.artefact import read_artefact
    from edgec_onboard.errors import UsageError

    document = json.loads((own / MANIFEST).read_text())
    one = {name: document[name] for name in ("input", "outputs", "golden")}
    other = one | {"input": one["input"] | {"shape": [1, 96, 96, 3]}}
    document["sizes"] = [{"function": "frames_64x96", **one}, {"function": "frames_96x96", **other}]
    (own / MANIFEST).write_text(written(document))
    assert (read(own).function, read(own).input_shape) == ("frames_64x96", (1, 64, 96, 3))
    assert read_artefact(own, "frames_96x96").input_shape == (1, 96, 96, 3)
    with pytest.raises(UsageError, match="no function main"):
        read_artefact(own, "main")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema_version": 99}, "another version"),
        ({"runtime": "openvino"}, "no Core ML package"),
        ({"entry": "../../etc/passwd"}, "lacks its package|outside the artefact"),
        ({"files": "all"}, "lists no files"),
        ({"files": [{"path": "../secret", "sha256": "", "size_bytes": 1}]}, "outside the artefact"),
        ({"input": {"shape": [1, 64, 96, 4]}}, "does not say what an artefact must"),
        ({"outputs": []}, "does not say what an artefact must"),
        ({"golden": {}}, "does not say what an artefact must"),
    ],
)
def test_a_manifest_that_contradicts_its_files_is_refused(own: Path, change: dict[str, Any], words: str) -> None:
    document = json.loads((own / MANIFEST).read_text())
    (own / MANIFEST).write_text(written(document | change))
    import re

    assert re.search(words, refusal(own))


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"[" * 100_000, b"\xff"])
def test_an_invalid_manifest_is_refused(own: Path, content: bytes) -> None:
    (own / MANIFEST).write_bytes(content)
    assert "not a complete artefact" in refusal(own)


@pytest.mark.parametrize("spoilt", ["frames", "labels", "scores"])
def test_golden_arrays_that_do_not_fit_are_refused(own: Path, spoilt: str) -> None:
    from edgec_mac.golden import read_golden
    from edgec_onboard.errors import ArtefactError

    if spoilt == "frames":
        np.savez(own / "golden" / "frames.npz", frames=np.zeros((4, 8, 8, 3), np.uint8))
    else:
        place = own / "golden" / "expected_shipped.npz"
        with np.load(place) as found:
            arrays = dict(found)
        arrays["floor"][0, 0, 0] = 3 if spoilt == "labels" else 0
        arrays["kind"][0, 0] = np.nan if spoilt == "scores" else 0
        np.savez(place, **arrays)
    document = json.loads((own / MANIFEST).read_text())
    document["files"] = [file.model_dump() for file in build_manifest_files(own)]
    (own / MANIFEST).write_text(written(document))
    with pytest.raises(ArtefactError, match="does not fit the manifest"):
        read_golden(read(own))


def test_measurements_are_written_beside_the_artefact_only(mac: Mac, artefact: Path, tmp_path: Path) -> None:
    mac.output = artefact / "device"
    inside = mac.run()
    assert inside.code == 2
    assert "cannot be written into the artefact" in inside.stderr
    mac.output = tmp_path / "file"
    mac.output.write_text("mine")
    assert mac.run().code == 8
    assert mac.output.read_text() == "mine"


def test_options_that_make_no_sense_are_refused(mac: Mac) -> None:
    for options in (["--iterations", "0"], ["--patience", "nan"], ["--compute-units", "tpu"], ["--seconds", "-1"]):
        assert mac.run(*options).code == 2


def test_without_features_only_heads_are_judged(own: Path) -> None:
    from edgec_mac.golden import read_golden
    from edgec_mac.parity import judge

    document = json.loads((own / MANIFEST).read_text())
    document["outputs"] = [each for each in document["outputs"] if each.get("role", "features") != "features"]
    (own / MANIFEST).write_text(written(document))
    found = read(own)
    assert not found.gives_features
    assert [(each.name, each.dtype, each.classes) for each in found.outputs] == [("floor", "int32", 3), ("kind", "float32", 0)]
    _, expected, shipped = read_golden(found)
    parity = judge(found, expected, shipped, shipped)
    assert not parity.verdict.problems
    assert parity.verdict.figures is None
    assert parity.compared
    assert (parity.to_shipped, parity.labels_as_shipped) == (pytest.approx(1), 1)
    other = judge(found, expected, shipped, {**shipped, "kind": shipped["kind"] * np.float32(1.1)})
    assert any("kind differs by 0.1 of its largest value; at most 0.02 is allowed" in each for each in other.verdict.problems)
    same = {name: np.repeat(value[:1], len(value), axis=0) for name, value in shipped.items()}
    assert any("ignores its input" in each for each in judge(found, expected, shipped, same).verdict.problems)


@pytest.mark.parametrize(
    "change",
    [
        {"role": "labels", "dtype": "float32"},
        {"role": "depth"},
        {"role": "nonsense"},
        {"dtype": "float16"},
    ],
)
def test_an_impossible_output_is_refused(own: Path, change: dict[str, str]) -> None:
    document = json.loads((own / MANIFEST).read_text())
    document["outputs"][-1] |= change
    (own / MANIFEST).write_text(written(document))
    assert "does not say what an artefact must" in refusal(own)
