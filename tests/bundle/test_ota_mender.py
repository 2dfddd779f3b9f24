"""`edgec bundle --for mender`: options and errors. In `tests/ota` the real `mender-artifact` writes, and robots install that."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edgec.bundle.ota.packer import Wish
from edgec.bundle.ota.registry import PACKERS
from edgec.bundle.packing import make_bundle
from edgec.errors import EdgecError
from tests.bundle.conftest import Key

OUTPUT = "robot-1.4.0.edgec-bundle"
TYPES = ("raspberrypi5",)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In place of `mender-artifact`: it is there, and has no room to write."""
    path = tmp_path / "programs" / "mender-artifact"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\necho '....... WriteArtifact: no space left on device' >&2\nexit 1\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
    return path


def mender(**given: object) -> Wish:
    return Wish(PACKERS["mender"], {"device-type": TYPES, "key": None} | {name.replace("_", "-"): given[name] for name in given})


def refusal(whole: Path, key: Key, wish: Wish, folder: Path) -> EdgecError:
    with pytest.raises(EdgecError) as raised:
        make_bundle(whole, folder / OUTPUT, key.signer, wishes=[wish])
    assert not folder.exists() or not list(folder.iterdir())
    return raised.value


def test_a_program_that_is_missing_is_named(whole: Path, key: Key, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    error = refusal(whole, key, mender(), tmp_path / "out")
    assert error.exit_code == 5
    assert "needs the program mender-artifact" in str(error)
    assert "apt install mender-artifact" in error.remedy


@pytest.mark.parametrize(
    ("kind", "evidence"),
    [
        ("ec -pkeyopt ec_paramgen_curve:P-384", "neither on P-256 nor RSA"),
        ("ed25519", "neither on P-256 nor RSA"),
        ("ec -pkeyopt ec_paramgen_curve:P-256 -aes256 -pass pass:word", "encrypted with a passphrase"),
        ("", "is not a private key in PEM"),
    ],
)
def test_keys_that_mender_does_not_take(whole: Path, key: Key, tmp_path: Path, program: Path, kind: str, evidence: str) -> None:
    path = tmp_path / "tool.key"
    path.write_text("no key")
    if kind:
        subprocess.run(["openssl", "genpkey", "-out", path, "-algorithm", *kind.split()], check=True, capture_output=True)
    error = refusal(whole, key, mender(key=path), tmp_path / "out")
    assert error.exit_code == 2
    assert evidence in " ".join(error.evidence)
    assert "edgec keygen" in error.remedy


def test_a_type_of_device_has_a_name(whole: Path, key: Key, tmp_path: Path, program: Path) -> None:
    for types in ((), (" ",), ("raspberry\npi",)):
        error = refusal(whole, key, mender(device_type=types), tmp_path / "out")
        assert error.exit_code == 2
        assert "--mender-device-type" in str(error)


def test_what_menders_program_says_is_passed_on(whole: Path, key: Key, tmp_path: Path, program: Path) -> None:
    error = refusal(whole, key, mender(), tmp_path / "out")
    assert "mender-artifact ended with code 1" in str(error)
    assert "no space left on device" in " ".join(error.evidence)
