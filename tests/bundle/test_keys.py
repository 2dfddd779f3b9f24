"""Keys that edgec makes, and those that others made."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edgec.bundle.keys import Signer, generate, public_of
from edgec.bundle.packing import make_bundle
from edgec.bundle.trusting import trust_in, verify_signature
from edgec.cli import run
from edgec.errors import RequestError, Untrusted
from edgec.onboard.trust import Policy
from tests.bundle.conftest import extract, model_signing_accepts


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def test_keygen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keygen", str(tmp_path / "key")]) == 0
    assert public_of(Signer(tmp_path / "key")).hint in capsys.readouterr().out
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "key.pub").stat().st_mode & 0o777 == 0o644
    openssl(tmp_path, "pkey", "-in", "key", "-pubout", "-out", "by-openssl.pub")
    assert (tmp_path / "by-openssl.pub").read_bytes() == (tmp_path / "key.pub").read_bytes()
    assert b"BEGIN PRIVATE KEY" in (tmp_path / "key").read_bytes()


@pytest.mark.parametrize("there", ["key", "key.pub"])
def test_a_key_is_never_overwritten(tmp_path: Path, there: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / there).write_text("dear to somebody")
    assert run(["keygen", str(tmp_path / "key")]) == 2
    assert "never overwritten" in capsys.readouterr().err
    assert (tmp_path / there).read_text() == "dear to somebody"
    assert [path.name for path in tmp_path.iterdir()] == [there]


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="there is no folder"):
        generate(tmp_path / "absent" / "key")


def test_a_link_in_the_keys_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RequestError, match="never overwritten"):
        generate(tmp_path / "key")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("curve", ["P-256", "P-384", "P-521"])
def test_keys_of_openssl_sign(whole: Path, tmp_path: Path, curve: str) -> None:
    openssl(tmp_path, "genpkey", "-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{curve}", "-out", "key")
    openssl(tmp_path, "pkey", "-in", "key", "-pubout", "-out", "key.pub")
    made = make_bundle(whole, tmp_path / "robot-1.edgec-bundle", Signer(tmp_path / "key"))
    assert verify_signature(made.path, Policy(trust_in([tmp_path / "key.pub"]))).release.name == "robot"
    assert model_signing_accepts(extract(made.path, tmp_path / "files"), tmp_path / "key.pub")


def test_several_keys_may_be_trusted(bundle: Path, key: object, other_key: object, tmp_path: Path) -> None:
    both = tmp_path / "both.pub"
    both.write_bytes(other_key.public.read_bytes() + key.public.read_bytes())  # type: ignore[attr-defined]
    verify_signature(bundle, Policy(trust_in([both])))
    verify_signature(bundle, Policy(trust_in([other_key.public, key.public])))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("genrsa", "-out", "key", "2048"), "is not a key for ECDSA"),
        (("genpkey", "-algorithm", "ed25519", "-out", "key"), "is not a key for ECDSA"),
        (("ecparam", "-name", "secp256k1", "-genkey", "-noout", "-out", "key"), "is not a key on P-256"),
        (
            ("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-aes256", "-pass", "pass:x", "-out", "key"),
            "passphrase",
        ),
    ],
)
def test_keys_that_cannot_sign_are_refused(tmp_path: Path, arguments: tuple[str, ...], problem: str) -> None:
    openssl(tmp_path, *arguments)
    with pytest.raises(RequestError, match="cannot sign") as caught:
        public_of(Signer(tmp_path / "key"))
    assert problem in caught.value.evidence[0]
    assert "edgec keygen" in caught.value.remedy


def test_what_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a key")
    with pytest.raises(RequestError, match="cannot sign"):
        public_of(Signer(tmp_path / "text"))
    with pytest.raises(RequestError, match="no key at"):
        public_of(Signer(tmp_path / "absent"))
    with pytest.raises(RequestError, match="cannot be trusted"):
        trust_in([tmp_path / "text"])
    with pytest.raises(RequestError, match="cannot be trusted"):
        trust_in([tmp_path / "absent"])


def test_a_private_key_is_not_trusted_by_mistake(tmp_path: Path) -> None:
    generate(tmp_path / "key")
    with pytest.raises(RequestError, match="cannot be trusted") as caught:
        trust_in([tmp_path / "key"])
    assert "private key" in caught.value.evidence[0]


def test_no_key_trusts_nobody(bundle: Path) -> None:
    with pytest.raises(Untrusted, match="not trusted"):
        verify_signature(bundle, Policy(trust_in([])))
