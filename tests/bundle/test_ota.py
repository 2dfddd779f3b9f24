"""`edgec bundle --for TOOL`: options, errors, and the form that needs no tool. `tests/ota` installs what comes of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from edgec import cli
from edgec.bundle.ota.packer import Wish
from edgec.bundle.ota.rauc import manifest
from edgec.bundle.ota.registry import PACKERS
from edgec.bundle.packing import make_bundle
from edgec.errors import EdgecError
from edgec.onboard.trust import Release
from tests.bundle.conftest import Key

Certify = Callable[..., tuple[Path, Path]]
OUTPUT = "robot-1.4.0.edgec-bundle"


@pytest.fixture
def certified(tmp_path: Path) -> Certify:
    """A private key and its certificate, by OpenSSL."""

    def make(name: str, *kind: str) -> tuple[Path, Path]:
        key, certificate = tmp_path / f"{name}.tool", tmp_path / f"{name}.pem"
        new = ["-newkey", *(kind or ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")), "-noenc", "-keyout", str(key)]
        made = ["openssl", "req", "-x509", *new, "-addext", "extendedKeyUsage=emailProtection", "-days", "2"]
        subprocess.run([*made, "-subj", f"/CN={name}", "-out", str(certificate)], check=True, capture_output=True)
        return key, certificate

    return make


def swu(key: Path, certificate: Path, **more: object) -> Wish:
    return Wish(PACKERS["swupdate"], {"key": key, "certificate": certificate, **more})


def members(archive: bytes) -> dict[str, bytes]:
    """A cpio archive's files (cpio(5), "New ASCII Format")."""
    files, place = {}, 0
    while True:
        size, length, checksum = (int(archive[place + at : place + at + 8], 16) for at in (54, 94, 102))
        name = archive[place + 110 : place + 109 + length].decode()
        begin = place + 110 + length + -(110 + length) % 4
        if name == "TRAILER!!!":
            return files
        files[name] = archive[begin : begin + size]
        assert checksum == sum(files[name]) % 2**32, name
        place = begin + size + -size % 4


def test_the_command_writes_the_form_beside_the_bundle(
    whole: Path, key: Key, certified: Certify, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, certificate = certified("tool")
    place = tmp_path / "out" / OUTPUT
    options = ["--for", "swupdate", "--swupdate-key", str(own), "--swupdate-certificate", str(certificate)]
    more = ["--swupdate-hardware", "rev2", "--swupdate-hardware", "rev3", "--json"]
    assert cli.run(["bundle", str(whole), "--sign", str(key.private), "-o", str(place), *options, *more]) == 0
    made = place.with_name("robot-1.4.0.swu")
    assert json.loads(capsys.readouterr().out)["beside"] == [str(made)]
    assert sorted(path.name for path in place.parent.iterdir()) == sorted([OUTPUT, made.name])

    files = members(made.read_bytes())
    assert list(files) == ["sw-description", "sw-description.sig", "edgec.sh", "robot.edgec-bundle"]
    assert files["robot.edgec-bundle"] == place.read_bytes()
    description = files["sw-description"].decode()
    assert 'version = "1.4.0";' in description
    assert 'hardware-compatibility: [ "rev2", "rev3" ];' in description
    assert "@" not in description.replace("edgec-ota/robot", "")
    for name in ("sw-description", "sw-description.sig"):
        (tmp_path / name).write_bytes(files[name])
    verify = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", "sw-description.sig", "-content", "sw-description"]
    for trusted, code in ((certificate, 0), (certified("stranger")[1], 4)):
        done = subprocess.run([*verify, "-CAfile", trusted], cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == code, done.stderr


def test_the_same_bundle_gives_the_same_archive(bundle: Path, certified: Certify, tmp_path: Path) -> None:
    """With RSA, whose signature is always the same; one by ECDSA never is."""
    from edgec.bundle.ota.packer import Payload

    wish, payload = swu(*certified("rsa", "rsa:2048")), Payload(bundle, Release("robot", "1.4.0", 1))
    made = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        made.append(wish.pack(payload, bundle, tmp_path / name).read_bytes())
    assert made[0] == made[1]


@pytest.mark.parametrize("tool", sorted(PACKERS))
def test_each_tool_says_what_it_needs(
    tool: str, whole: Path, key: Key, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if not any(setting.required for setting in PACKERS[tool].settings):
        pytest.skip("it needs nothing")
    arguments = ["bundle", str(whole), "--sign", str(key.private), "-o", str(tmp_path / "out" / OUTPUT)]
    assert cli.run([*arguments, "--for", tool]) == 2
    needed = next(setting.name for setting in PACKERS[tool].settings if setting.required)
    assert f"--{tool}-{needed}" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()
    assert cli.run([*arguments, f"--{tool}-key", str(key.private)]) == 2
    assert f"--for {tool}" in capfd.readouterr().err


def test_a_program_that_is_missing_is_named_with_its_package(
    whole: Path, key: Key, certified: Certify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, certificate = certified("tool")
    wish = Wish(PACKERS["rauc"], {"key": own, "certificate": certificate})
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EdgecError, match="needs the program rauc") as raised:
        make_bundle(whole, tmp_path / "out" / OUTPUT, key.signer, wishes=[wish])
    assert raised.value.exit_code == 5
    assert "apt install rauc" in raised.value.remedy
    assert not (tmp_path / "out").exists()

    for name, text in (("rauc", "#!/bin/sh\necho rauc 1.8\n"), ("mksquashfs", "#!/bin/sh\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    with pytest.raises(EdgecError, match="RAUC is too old") as raised:
        make_bundle(whole, tmp_path / "out" / OUTPUT, key.signer, wishes=[wish])
    assert (raised.value.exit_code, raised.value.evidence) == (5, (f"{tmp_path / 'rauc'} says 'rauc 1.8'",))


def test_keys_that_cannot_be_used(whole: Path, key: Key, certified: Certify, tmp_path: Path) -> None:
    own, certificate = certified("tool")
    _, other = certified("other")
    ed25519 = certified("ed25519", "ed25519")
    (tmp_path / "text").write_text("no key")
    encrypted = tmp_path / "encrypted"
    hide = ["openssl", "pkey", "-in", own, "-aes256", "-passout", "pass:word", "-out", encrypted]
    subprocess.run(hide, check=True, capture_output=True)
    for wish, evidence in (
        (swu(own, other), "its public key is another one"),
        (swu(*ed25519), "neither an RSA key nor one for ECDSA"),
        (swu(tmp_path / "text", certificate), "is not in PEM"),
        (swu(own, tmp_path / "text"), "is not in PEM"),
        (swu(encrypted, certificate), "encrypted with a passphrase"),
        (swu(own, certificate, hardware=('"',)), "is no revision of hardware"),
        (swu(own, certificate, chain=(tmp_path / "none",)), "is not there"),
    ):
        with pytest.raises(EdgecError) as raised:
            make_bundle(whole, tmp_path / "out" / OUTPUT, key.signer, wishes=[wish])
        assert raised.value.exit_code == 2
        assert evidence in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_not_replaced_unasked(whole: Path, key: Key, certified: Certify, tmp_path: Path) -> None:
    wish, place = swu(*certified("tool")), tmp_path / OUTPUT
    taken = tmp_path / "robot-1.4.0.swu"
    taken.write_text("mine")
    with pytest.raises(EdgecError, match="exists already") as raised:
        make_bundle(whole, place, key.signer, wishes=[wish])
    assert raised.value.exit_code == 8
    assert (taken.read_text(), place.exists()) == ("mine", False)
    assert make_bundle(whole, place, key.signer, wishes=[wish], force=True).beside == (taken,)
    assert taken.read_bytes().startswith(b"070702")


def test_raucs_manifest(bundle: Path) -> None:
    from edgec.bundle.ota.packer import Payload

    payload = Payload(bundle, Release("robot", "1.4.0", 1004))
    opening = "[update]\ncompatible={}\nversion=1.4.0\nbuild=1004\n\n[bundle]\nformat={}\n\n"
    verity, plain = (
        manifest(payload, {}, "robot.edgec-bundle"),
        manifest(payload, {"format": "plain", "compatible": "my robot"}, "robot.edgec-bundle"),
    )
    assert verity == opening.format("robot", "verity") + "[image.edgec/robot]\nfilename=robot.edgec-bundle\n"
    assert plain == opening.format("my robot", "plain") + "[handler]\nfilename=edgec.sh\n"
