from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgec.artefact.reading import open_artefact
from edgec.errors import ArtefactError
from edgec.records.manifest import SCHEMA_VERSION, UPGRADES, Manifest
from edgec.records.reading import read_record
from tests.support.forging import written

from .conftest import ENTRY, GOLDEN, SIDE, Forge, as_of_version_1

KEPT = Path(__file__).parent / "kept"

FILES = [ENTRY, "LICENSE.txt", "golden/frames.npz", "golden/expected_float32.npz", "golden/expected_shipped.npz"]


def refused(path: Path, pattern: str, **options: Any) -> ArtefactError:
    with pytest.raises(ArtefactError, match=pattern) as caught:
        open_artefact(path, **options)
    assert type(caught.value) is ArtefactError
    return caught.value


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position % len(data)] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["", "manifest.json"])
def test_a_whole_artefact_opens(artefact: Path, name: str) -> None:
    found = open_artefact(artefact / name)
    assert found.directory == artefact
    assert found.manifest.build_key == "0123abcd"
    assert found.lowered.entry == ENTRY
    assert found.lowered.files == (ENTRY,)
    assert found.lowered.size_bytes == (artefact / ENTRY).stat().st_size
    assert found.golden.frames.shape == (GOLDEN, SIDE, SIDE, 3)
    assert set(found.golden.expected_shipped) == {"cls", "patches"}


def test_a_relative_path_and_a_link_to_the_directory_open(artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(artefact.parent)
    (artefact.parent / "link").symlink_to(artefact)
    monkeypatch.chdir(artefact)
    for path in (Path(), Path("manifest.json"), Path("../link"), Path("../artefact/")):
        assert open_artefact(path).manifest.build_key == "0123abcd"


def test_report_files_may_change_and_come_and_go(artefact: Path) -> None:
    (artefact / "report.json").unlink()
    (artefact / "report.md").write_text("other timings")
    (artefact / "report.html").write_text("<html>")
    (artefact / "report" / "pictures").mkdir(parents=True)
    (artefact / "report" / "pictures" / "pca.png").write_bytes(b"png")
    assert open_artefact(artefact).manifest.build_key == "0123abcd"


@pytest.mark.parametrize(
    ("make", "pattern"),
    [
        (lambda path: None, "nothing is there"),
        (lambda path: path.write_text("a file"), "not a directory"),
        (lambda path: path.mkdir(), "no manifest.json"),
        (lambda path: (path / "manifest.json").mkdir(parents=True), "no manifest.json"),
    ],
    ids=["absent", "a file", "an empty directory", "a directory for a manifest"],
)
def test_a_folder_that_is_not_an_artefact(tmp_path: Path, make: Callable[[Path], object], pattern: str) -> None:
    make(tmp_path / "thing")
    refused(tmp_path / "thing", pattern)


def test_a_manifest_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "manifest.json")
    refused(tmp_path, "no manifest.json")


@pytest.mark.parametrize("length", [0, 1, 10, 100, 1000, -1])
def test_a_truncated_manifest(artefact: Path, length: int) -> None:
    path = artefact / "manifest.json"
    path.write_bytes(path.read_bytes().rstrip()[:length])
    refused(artefact, "not whole JSON")


@pytest.mark.parametrize(
    "data",
    [b"\x00" * 100, b"\xff\xfe{}", b"[]", b"null", b"[" * 100_000, b'{"schema_version": NaN}', b'{"a": ' + b"9" * 5000 + b"}"],
    ids=["zeros", "not UTF-8", "a list", "null", "nested deeply", "NaN", "a number without end"],
)
def test_a_manifest_that_is_not_edgec_s(artefact: Path, data: bytes) -> None:
    (artefact / "manifest.json").write_bytes(data)
    refused(artefact, "not whole JSON")


def test_a_manifest_that_is_too_large_is_not_read(artefact: Path) -> None:
    with (artefact / "manifest.json").open("r+b") as file:
        file.truncate(Manifest.limit_bytes + 1)
    refused(artefact, "too large")


def test_a_manifest_of_a_later_edgec(artefact: Path, forge: Forge) -> None:
    forge.edit(schema_version=SCHEMA_VERSION + 1, edgec_version="7.1", something_new=True)
    error = refused(artefact, r"written by edgec 7\.1; this is edgec")
    assert error.remedy == "update edgec"


@pytest.mark.parametrize("version", [0, -1, "1", 1.5, None, True, []])
def test_a_manifest_with_an_invalid_version(artefact: Path, forge: Forge, version: object) -> None:
    forge.edit(schema_version=version)
    refused(artefact, "no schema version that edgec knows")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"build_key": 5}, "build_key"),
        ({"golden": {"relative_tolerance": -1}}, "golden.relative_tolerance"),
        ({"golden": {"min_cosine": "0.9"}}, "golden.min_cosine"),
        ({"golden": {"count": 0}}, "golden.count"),
        ({"golden": {"count": True}}, "golden.count"),
        ({"checkpoint": {"mean": [0, 0]}}, "checkpoint.mean.2"),
        ({"input": {"shape": "2x32"}}, "input.shape"),
        ({"surprise": 1}, "surprise"),
        ({"files": [{"path": "a"}]}, "files.0.sha256"),
        ({"fidelity": [{}]}, "fidelity.0.stage"),
    ],
)
def test_a_wrong_field_is_named(artefact: Path, forge: Forge, fields: dict[str, Any], named: str) -> None:
    forge.edit(**fields)
    error = refused(artefact, "does not say what a manifest must")
    assert any(line.startswith(f"{named}: ") for line in error.evidence), error.evidence


def test_a_number_that_no_float_holds_is_named(artefact: Path) -> None:
    path = artefact / "manifest.json"
    path.write_text(path.read_text().replace('"min_cosine": 0.9999', '"min_cosine": 1e999'))
    assert "it holds a number that is too large: 1e999" in refused(artefact, "not whole JSON").evidence


def test_a_missing_field_is_named(artefact: Path) -> None:
    path = artefact / "manifest.json"
    manifest = json.loads(path.read_text())
    for name in manifest:
        if name in ("open_with", "schema_version", "settings", "execution", "seal"):
            continue
        path.write_text(written({key: value for key, value in manifest.items() if key != name}))
        assert f"{name}: Field required" in refused(artefact, re.escape(f"{name} is wrong")).evidence


@pytest.mark.parametrize(
    ("fields", "pattern"),
    [
        ({"entry": "other.onnx"}, "does not list other.onnx"),
        ({"golden": {"frames": "frames.npz"}}, "does not list frames.npz"),
        ({"input": {"shape": [2, 32, 32]}}, "not uint8"),
        ({"input": {"shape": [2, 32, 32, 4]}}, "not uint8"),
        ({"input": {"shape": [0, 32, 32, 3]}}, "not uint8"),
        ({"input": {"dtype": "float32"}}, "not uint8"),
        ({"outputs": []}, "outputs are none"),
        ({"outputs": [{"name": "cls", "dtype": "float32", "shape": [2, 8]}] * 2}, "outputs are cls, cls"),
        ({"outputs": [{"name": "cls", "dtype": "float16", "shape": [2, 8]}]}, "output cls is float16"),
        ({"outputs": [{"name": "cls", "dtype": "float32", "shape": [3, 8]}]}, "output cls is float32"),
        ({"outputs": [{"name": "cls", "dtype": "float32", "shape": [2, -8]}]}, "output cls is float32"),
        ({"outputs": [{"name": "cls", "dtype": "float32", "shape": []}]}, "output cls is float32"),
    ],
)
def test_a_manifest_that_contradicts_itself(artefact: Path, forge: Forge, fields: dict[str, Any], pattern: str) -> None:
    forge.edit(**fields)
    refused(artefact, f"(?s)contradicts itself.*{pattern}")


def test_a_file_listed_twice(artefact: Path, forge: Forge) -> None:
    files = [file.model_dump() for file in open_artefact(artefact).manifest.files]
    forge.edit(files=[*files, files[0]])
    refused(artefact, "(?s)contradicts itself.*2 times")


@pytest.mark.parametrize(
    "path", ["../outside", "/etc/hostname", "runtime/../../outside", "..", ".", "", "./LICENSE.txt", "a\\..\\b", "a\x00b", "a//b"]
)
@pytest.mark.parametrize("place", ["files", "entry", "frames"])
def test_a_path_that_leaves_the_directory(artefact: Path, forge: Forge, place: str, path: str) -> None:
    (artefact.parent / "outside").write_text("secret")
    if place == "files":
        files = [file.model_dump() for file in open_artefact(artefact).manifest.files]
        forge.edit(files=[*files, {"path": path, "sha256": "0" * 64, "size_bytes": 6}])
    elif place == "entry":
        forge.edit(entry=path)
    else:
        forge.edit(golden={"frames": path})
    error = refused(artefact, "names a file outside the artefact")
    assert "secret" not in str(error)


def test_a_link_out_of_the_directory(artefact: Path) -> None:
    outside = artefact.parent / "outside"
    (artefact / "LICENSE.txt").rename(outside)
    (artefact / "LICENSE.txt").symlink_to(outside)
    refused(artefact, "names a file outside the artefact")


def test_a_folder_that_is_a_link_out_of_the_directory(artefact: Path) -> None:
    (artefact / "golden").rename(artefact.parent / "outside")
    (artefact / "golden").symlink_to(artefact.parent / "outside")
    refused(artefact, "names a file outside the artefact")


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_named(artefact: Path, name: str) -> None:
    flip(artefact / name, -60)
    error = refused(artefact, "1 changed")
    assert error.evidence[0].startswith(f"changed: {name} has SHA-256")


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_size_is_named(artefact: Path, name: str) -> None:
    with (artefact / name).open("ab") as file:
        file.write(b"x")
    error = refused(artefact, "1 changed", check_hashes=False)
    assert error.evidence[0].startswith(f"changed: {name} has {(artefact / name).stat().st_size} bytes")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(artefact: Path, name: str) -> None:
    (artefact / name).unlink()
    assert refused(artefact, "1 missing").evidence == (f"missing: {name}",)


@pytest.mark.parametrize("name", ["extra.bin", "golden/extra.npz", ".hidden", "runtime/report.json", "reports"])
def test_a_file_that_is_not_listed_is_named(artefact: Path, name: str) -> None:
    (artefact / name).write_text("extra")
    assert refused(artefact, "1 not listed").evidence == (f"not in the manifest: {name}",)


def test_a_link_that_is_not_listed_is_named(artefact: Path) -> None:
    (artefact / "extra").symlink_to("/etc")
    assert refused(artefact, "1 not listed").evidence == ("not in the manifest: extra",)


def test_all_problems_are_named_at_once(artefact: Path) -> None:
    (artefact / "LICENSE.txt").unlink()
    flip(artefact / ENTRY, 40)
    flip(artefact / "golden/frames.npz", 400)
    (artefact / "extra\n\x1b[31m").write_text("extra")
    error = refused(artefact, "1 missing, 2 changed, 1 not listed")
    assert len(error.evidence) == 4
    assert "\x1b" not in str(error)


def test_without_hashes_a_flipped_byte_goes_unnoticed(artefact: Path) -> None:
    flip(artefact / ENTRY, 40)
    assert open_artefact(artefact, check_hashes=False).manifest.build_key == "0123abcd"


def test_golden_arrays_that_do_not_fit_are_refused_though_their_hash_is_right(artefact: Path, forge: Forge) -> None:
    np.savez(artefact / "golden" / "frames.npz", frames=np.zeros((GOLDEN, SIDE, SIDE), np.uint8))
    forge.relist()
    refused(artefact, r"frames\.npz in .* does not fit the manifest")


def test_a_flipped_bit_in_the_manifest_is_refused(artefact: Path) -> None:
    path = artefact / "manifest.json"
    whole = path.read_bytes()
    chance = random.Random(0)
    for _ in range(300):
        position = chance.randrange(len(whole))
        path.write_bytes(whole[:position] + bytes([whole[position] ^ (1 << chance.randrange(8))]) + whole[position + 1 :])
        with pytest.raises(ArtefactError):
            open_artefact(artefact)


def test_an_edited_manifest_is_refused(artefact: Path) -> None:
    path = artefact / "manifest.json"
    path.write_text(path.read_text().replace('"target": "cpu"', '"target": "gpu"'))
    refused(artefact, "manifest at .* is not as it was written: its seal does not fit")


def test_a_manifest_of_the_first_version_is_read(artefact: Path, forge: Forge) -> None:
    as_of_version_1(artefact)
    opened = open_artefact(artefact)
    assert opened.manifest.execution is None
    assert opened.manifest.schema_version == SCHEMA_VERSION
    real = read_record(KEPT / "manifest-1.json", Manifest, "manifest", UPGRADES)
    assert real.precision == "fp32"
    assert [output.name for output in real.outputs] == ["cls", "patches", "kind", "floor"]


def test_a_manifest_of_the_second_version_is_read() -> None:
    """Its variants are of the artefact's own runtime."""
    real = read_record(KEPT / "manifest-2.json", Manifest, "manifest", UPGRADES)
    assert (real.target, real.runtime) == ("jetson", "tensorrt")
    assert [variant.precision for variant in real.variants].count("fp16") == 1
    assert {(variant.runtime, *variant.settings) for variant in real.variants} == {("",)}


@pytest.mark.parametrize("golden", [{"relative_tolerance": 1e300}, {"relative_tolerance": 2e-3}, {"min_cosine": 1e-9}])
def test_a_manifest_that_allows_more_than_edgec_does(artefact: Path, forge: Forge, golden: dict[str, float]) -> None:
    forge.edit(golden=golden)
    assert next(iter(golden)) in refused(artefact, "contradicts itself").evidence[0]


def test_a_precision_that_edgec_does_not_know(artefact: Path, forge: Forge) -> None:
    forge.edit(precision="fp64")
    refused(artefact, "(?s)contradicts itself.*precision is 'fp64'")


def test_a_manifest_of_300_000_files_is_not_read(artefact: Path, forge: Forge) -> None:
    facts = [{"path": f"golden/{number}", "sha256": "0" * 64, "size_bytes": 1} for number in range(300_000)]
    forge.edit(files=facts)
    refused(artefact, "too large")
