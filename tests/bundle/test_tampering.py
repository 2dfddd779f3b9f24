"""What somebody may try who can write to a bundle, or to an artefact, and knows edgec well: every hash and seal is made good
again. edgec and `model-signing` refuse each of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgec.bundle.keys import Signer
from edgec.bundle.signing import sign_measurement, sign_release
from edgec.bundle.trusting import verify_signature
from edgec.errors import ArtefactError, Untrusted
from edgec.onboard.container import MEASURED, RELEASE, REPORT_SIGNATURE, SBOM, SIGNATURE, write_bundle
from edgec.onboard.trust import Policy
from tests.bundle.conftest import PROGRAM, Key, model_signing_accepts
from tests.support import forging


def change_a_byte(folder: Path) -> None:
    path = folder / "runtime/model.onnx"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)


def loosen_tolerances(folder: Path) -> None:
    forging.edit(folder / "manifest.json", lambda manifest: manifest["golden"].update(relative_tolerance=0.5, min_cosine=0.5))
    forging.repair_report(folder)


def replace_golden_frames(folder: Path) -> None:
    with np.load(folder / "golden/frames.npz") as archive:
        frames = {name: values[::-1] for name, values in archive.items()}
    np.savez(folder / "golden/frames.npz", **frames)
    forging.list_again(folder)


def replace_program(folder: Path) -> None:
    (folder / PROGRAM).write_text("#!/usr/bin/env python3\nprint('another program')\n")
    forging.list_again(folder)


def add_a_file(folder: Path) -> None:
    (folder / "device/more.py").write_text("print('more')")
    forging.list_again(folder)


def add_a_file_of_git(folder: Path) -> None:
    (folder / ".gitattributes").write_text("*.py")


def remove_a_file(folder: Path) -> None:
    (folder / PROGRAM).unlink()
    forging.list_again(folder)


def rename_a_file(folder: Path) -> None:
    (folder / PROGRAM).rename(folder / "device/renamed.pyz")
    forging.list_again(folder)


def truncate_a_file(folder: Path) -> None:
    path = folder / "golden/expected_float32.npz"
    path.write_bytes(path.read_bytes()[:-10])
    forging.list_again(folder)


def raise_the_serial(folder: Path) -> None:
    forging.edit(folder / RELEASE, lambda release: release.update(serial=2 * release["serial"]))


def change_the_bill(folder: Path) -> None:
    forging.edit(folder / SBOM, lambda bom: bom["metadata"]["component"].update(version="9"))


WAYS = [
    *(change_a_byte, loosen_tolerances, replace_golden_frames, replace_program, add_a_file, add_a_file_of_git, remove_a_file),
    *(rename_a_file, truncate_a_file, raise_the_serial, change_the_bill),
]
"""Of what the release's signature covers."""


@pytest.mark.parametrize("tamper", WAYS, ids=[way.__name__ for way in WAYS])
def test_each_way_is_refused(unpacked: Path, key: Key, tmp_path: Path, tamper: Callable[[Path], None]) -> None:
    """As a directory and as a bundle."""
    assert model_signing_accepts(unpacked, key.public)
    tamper(unpacked)
    with pytest.raises(Untrusted):
        verify_signature(unpacked, Policy(key.trust))
    with (tmp_path / "again.edgec-bundle").open("wb") as file:
        write_bundle(unpacked, file)
    with pytest.raises(Untrusted):
        verify_signature(tmp_path / "again.edgec-bundle", Policy(key.trust))
    assert not model_signing_accepts(unpacked, key.public)


def edit_the_report(folder: Path) -> None:
    forging.edit(folder / "report.json", lambda report: report.update(reason="it is ten times as fast"))


def edit_who_measured(folder: Path) -> None:
    forging.edit(folder / MEASURED, lambda measured: measured.update(by="somebody else"))


def remove_the_report(folder: Path) -> None:
    for name in ("report.json", "report.md", MEASURED, REPORT_SIGNATURE):
        (folder / name).unlink()


def add_a_picture(folder: Path) -> None:
    (folder / "report").mkdir()
    (folder / "report/more.png").write_bytes(b"picture")


def another_report(folder: Path) -> None:
    (folder / "report.html").write_text("<p>a page</p>")


OF_REPORTS = [edit_the_report, edit_who_measured, remove_the_report, add_a_picture, another_report]


@pytest.mark.parametrize("tamper", OF_REPORTS, ids=[way.__name__ for way in OF_REPORTS])
def test_the_measurement_is_signed_too(unpacked: Path, key: Key, tamper: Callable[[Path], None]) -> None:
    tamper(unpacked)
    with pytest.raises(Untrusted):
        verify_signature(unpacked, Policy(key.trust))


def test_what_changed_is_named(unpacked: Path, key: Key) -> None:
    replace_program(unpacked)
    (unpacked / "device/more.py").write_text("")
    (unpacked / "runtime/model.onnx").unlink()
    with pytest.raises(Untrusted, match="is not as it was signed") as caught:
        verify_signature(unpacked, Policy(key.trust))
    assert caught.value.exit_code == 19
    assert caught.value.evidence == (
        *("missing: runtime/model.onnx", f"changed: {PROGRAM}", "changed: manifest.json"),
        "not signed: device/more.py",
    )


def test_what_is_not_signed_is_refused(artefact: Path, key: Key, unpacked: Path) -> None:
    with pytest.raises(Untrusted, match=r"is not signed: it has no signed/model\.sig"):
        verify_signature(artefact, Policy(key.trust))
    (unpacked / SIGNATURE).unlink()
    with pytest.raises(Untrusted, match="is not signed"):
        verify_signature(unpacked, Policy(key.trust))
    with pytest.raises(ArtefactError, match="nothing is there"):
        verify_signature(artefact / "absent", Policy(key.trust))


def test_a_forger_who_signs_again_is_not_trusted(unpacked: Path, key: Key, other_key: Key) -> None:
    replace_program(unpacked)
    sign_release(unpacked, other_key.signer)
    sign_measurement(unpacked, other_key.signer)
    with pytest.raises(Untrusted, match=r"is by key [0-9a-f]{16}, which is not trusted"):
        verify_signature(unpacked, Policy(key.trust))


def test_a_forger_does_not_borrow_a_keys_name(unpacked: Path, key: Key, other_key: Key) -> None:
    """A signature by another key, which says that it is by the trusted one."""
    path = unpacked / SIGNATURE
    sign_release(unpacked, other_key.signer)
    path.write_bytes(path.read_bytes().replace(other_key.trust.keys[0].hint.encode(), key.trust.keys[0].hint.encode()))
    with pytest.raises(Untrusted, match="openssl says"):
        verify_signature(unpacked, Policy(key.trust))


def test_signatures_do_not_stand_in_for_each_other(unpacked: Path, key: Key, tmp_path: Path) -> None:
    """The measurement's signature in the release's place is by the right key, and about other files."""
    shutil.copy(unpacked / REPORT_SIGNATURE, unpacked / SIGNATURE)
    with pytest.raises(Untrusted, match="leaves out other files than a measurement"):
        verify_signature(unpacked, Policy(key.trust))


def test_a_measurement_of_another_artefact_is_refused(unpacked: Path, key: Key) -> None:
    forging.edit(unpacked / MEASURED, lambda measured: measured.update(artefact_sha256="0" * 64))
    sign_measurement(unpacked, Signer(key.private))
    with pytest.raises(Untrusted, match="a measurement of another artefact"):
        verify_signature(unpacked, Policy(key.trust))


def test_links_are_refused(unpacked: Path, key: Key, tmp_path: Path) -> None:
    shutil.move(unpacked / PROGRAM, tmp_path / "program")
    (unpacked / PROGRAM).symlink_to(tmp_path / "program")
    with pytest.raises(Untrusted, match="neither a file nor a folder"):
        verify_signature(unpacked, Policy(key.trust))
