"""What is in a bundle, and that the same inputs give the same bytes."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import time
from pathlib import Path

import pytest

from edgec.artefact.reading import open_artefact
from edgec.bundle.packing import make_bundle
from edgec.bundle.release import Naming, serial_of
from edgec.cli import run
from edgec.errors import ArtefactError, RequestError
from edgec.onboard.container import LICENCE, MEASURED, RELEASE, REPORT_SIGNATURE, SBOM, SIGNATURE
from edgec.records.manifest import LicenceFacts
from tests.bundle.conftest import PROGRAM, Key, extract, model_signing_accepts
from tests.support import forging

AGREEMENT = "DINOv3 License\n\n… DINO Materials …\n"
"""What edgec looks for in the text, which this repository does not hold."""


def contents(bundle: Path) -> dict[str, bytes]:
    with tarfile.open(bundle) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive.getmembers()}  # type: ignore[union-attr]


def test_the_same_inputs_give_the_same_bytes_but_for_the_signatures(
    bundle: Path, whole: Path, key: Key, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In other folders, at another time, with another umask, order of files, zone and locale."""
    copy = tmp_path / "elsewhere" / "copy"
    for path in sorted((path for path in whole.rglob("*") if path.is_file()), reverse=True):
        (copy / path.relative_to(whole)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy / path.relative_to(whole))
        os.utime(copy / path.relative_to(whole), (1, 1))
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    monkeypatch.setenv("LC_ALL", "tr_TR.UTF-8")
    time.tzset()
    before = os.umask(0o077)
    try:
        again = make_bundle(copy, tmp_path / "other" / bundle.name, key.signer).path
    finally:
        os.umask(before)
        monkeypatch.undo()
        time.tzset()
    one, other = contents(bundle), contents(again)
    assert [*one] == [*other]
    assert {name for name in one if one[name] != other[name]} == {SIGNATURE, REPORT_SIGNATURE}
    with tarfile.open(bundle) as archive, tarfile.open(again) as copied:
        for member, twin in zip(archive.getmembers(), copied.getmembers(), strict=True):
            facts = (member.mode, member.mtime, member.uid, member.gid, member.uname, member.gname)
            assert facts == (twin.mode, twin.mtime, twin.uid, twin.gid, twin.uname, twin.gname)
            assert facts == (0o755 if member.name == PROGRAM else 0o644, 0, 0, 0, "", "")


def test_what_is_in_it(bundle: Path, whole: Path) -> None:
    held = contents(bundle)
    added = {RELEASE, SBOM, SIGNATURE, MEASURED, REPORT_SIGNATURE}
    files = {path.relative_to(whole).as_posix() for path in whole.rglob("*") if path.is_file()}
    assert held.keys() == files | added
    assert [*held][:2] == [SIGNATURE, RELEASE]
    assert all(held[name] == (whole / name).read_bytes() for name in files)
    release = json.loads(held[RELEASE])
    assert (release["name"], release["version"], release["serial"], release["expires"]) == (
        "robot",
        "1.4.0",
        10**12 + 4 * 10**6,
        None,
    )
    assert release["licence"]["files"] == ["LICENSE.txt"]
    measured = json.loads(held[MEASURED])
    assert (measured["by"], measured["created"]) == ("edgec 0.1.0 on any", "2026-01-01T00:00:00+00:00")


def test_an_unpacked_bundle_is_an_artefact(bundle: Path, key: Key, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "made"
    assert run(["bundle", "unpack", str(bundle), "--trust", str(key.public), "-o", str(place)]) == 0
    assert open_artefact(place).manifest.runtime == "onnxruntime"
    assert os.access(place / PROGRAM, os.X_OK)
    assert model_signing_accepts(place, key.public)
    assert model_signing_accepts(place, key.public, REPORT_SIGNATURE)
    capsys.readouterr()
    assert run(["verify", str(place)]) == 0
    said = capsys.readouterr()
    assert "verified" in said.out
    assert "signature was not checked" in said.err
    assert run(["bundle", "unpack", str(bundle), "--trust", str(key.public), "-o", str(place)]) == 8


def test_an_unpacked_bundle_can_be_bundled_again(unpacked: Path, key: Key, bundle: Path, tmp_path: Path) -> None:
    again = make_bundle(unpacked, tmp_path / bundle.name, key.signer).path
    assert [*contents(again)] == [*contents(bundle)]


@pytest.mark.parametrize(
    ("version", "serial"),
    [
        ("1", 10**12),
        ("1.4.0", 10**12 + 4 * 10**6),
        ("1.4.2", 10**12 + 4 * 10**6 + 2),
        ("0.0", None),
        ("2026-11-30", None),
        ("1.4.0rc1", None),
    ],
)
def test_serials_follow_versions(version: str, serial: int | None) -> None:
    assert serial_of(version) == serial


@pytest.mark.parametrize(
    ("file", "naming", "expected"),
    [
        ("arm-robot-2.0.edgec-bundle", Naming(), ("arm-robot", "2.0", 2 * 10**12, "")),
        ("x.edgec-bundle", Naming("robot", "nightly", 7), ("robot", "nightly", 7, "")),
        ("robot-1.edgec-bundle", Naming(expires="2027-01-31"), ("robot", "1", 10**12, "2027-01-31T23:59:59Z")),
        ("robot-1.edgec-bundle", Naming(expires="2027-01-31T12:00:00Z"), ("robot", "1", 10**12, "2027-01-31T12:00:00Z")),
    ],
)
def test_names(whole: Path, key: Key, tmp_path: Path, file: str, naming: Naming, expected: tuple[object, ...]) -> None:
    assert make_bundle(whole, tmp_path / file, key.signer, naming=naming).verified.release == expected


@pytest.mark.parametrize(
    ("file", "naming", "what"),
    [
        ("robot.edgec-bundle", Naming(), "has no name"),
        ("robot.edgec-bundle", Naming(name="robot"), "has no version"),
        ("robot-1.4.0rc1.edgec-bundle", Naming(), "no place in an order"),
        ("robot-1.tar", Naming(), "is called NAME-VERSION"),
        ("robot-1.edgec-bundle", Naming(expires="tomorrow"), "cannot be called so"),
        ("robot-1.edgec-bundle", Naming(expires="2027-02-30"), "cannot be called so"),
        ("robot-1.edgec-bundle", Naming(name="../up"), "cannot be called so"),
    ],
)
def test_names_that_are_refused(whole: Path, key: Key, tmp_path: Path, file: str, naming: Naming, what: str) -> None:
    with pytest.raises(RequestError, match=what):
        make_bundle(whole, tmp_path / file, key.signer, naming=naming)
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_is_replaced_only_with_force(whole: Path, key: Key, tmp_path: Path) -> None:
    place = tmp_path / "robot-1.edgec-bundle"
    arguments = ["bundle", str(whole), "--sign", str(key.private), "-o", str(place)]
    assert run(arguments) == 0
    assert run(arguments) == 8
    assert run([*arguments, "--force"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == [place.name]


def test_a_place_that_cannot_be_written(whole: Path, key: Key, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtefactError, match="cannot be written"):
        make_bundle(whole, tmp_path / "file" / "robot-1.edgec-bundle", key.signer)


def test_other_commands_say_what_to_do_with_a_bundle(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", str(bundle)]) == 8
    assert "edgec bundle unpack" in capsys.readouterr().err


def test_a_damaged_artefact_is_not_signed(artefact: Path, key: Key, tmp_path: Path) -> None:
    (artefact / PROGRAM).write_text("another")
    with pytest.raises(ArtefactError, match="is not what its manifest says"):
        make_bundle(artefact, tmp_path / "robot-1.edgec-bundle", key.signer)


def of_meta(artefact: Path, text: str | None) -> None:
    (artefact / "LICENSE.txt").unlink()
    if text is not None:
        (artefact / "LICENSE").write_text(text)
    facts = LicenceFacts(name="DINOv3 License", spdx="LicenseRef-DINOv3", reason="its SHA-256 is that of Meta's").model_dump()
    forging.edit(artefact / "manifest.json", lambda manifest: manifest["checkpoint"].update(licence=facts))
    forging.list_again(artefact)


def test_metas_weights_do_not_travel_without_their_licence(artefact: Path, key: Key, tmp_path: Path) -> None:
    from edgec.checkpoint.provenance.licence import DINOV3_NOTICE

    place = tmp_path / "robot-1.edgec-bundle"
    for text in (None, DINOV3_NOTICE, "Apache License"):
        of_meta(artefact, text)
        with pytest.raises(ArtefactError, match="text of the weights' licence must go with them") as caught:
            make_bundle(artefact, place, key.signer)
        assert "--licence" in caught.value.remedy
        (artefact / "LICENSE.txt").write_text("")
        (artefact / "LICENSE").unlink(missing_ok=True)
    (artefact / "LICENSE.txt").write_text("")
    of_meta(artefact, AGREEMENT)
    make_bundle(artefact, place, key.signer)


def test_a_licence_may_be_added(artefact: Path, key: Key, tmp_path: Path) -> None:
    of_meta(artefact, None)
    (tmp_path / "LICENSE.md").write_text(AGREEMENT)
    made = make_bundle(artefact, tmp_path / "robot-1.edgec-bundle", key.signer, licence=tmp_path / "LICENSE.md")
    files = extract(made.path, tmp_path / "files")
    assert (files / LICENCE).read_text() == AGREEMENT
    assert json.loads((files / RELEASE).read_bytes())["licence"]["files"] == [LICENCE]
    assert open_artefact(files).manifest.checkpoint.licence.spdx == "LicenseRef-DINOv3"
