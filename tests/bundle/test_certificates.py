"""Signing with certificates: a root, one below it, and the signer's, all made by openssl."""

from __future__ import annotations

import subprocess
import warnings
from pathlib import Path

import pytest

from edgec.bundle.keys import Signer
from edgec.bundle.packing import make_bundle
from edgec.bundle.trusting import trust_in, verify_signature
from edgec.errors import RequestError, Untrusted
from edgec.onboard.container import SIGNATURE
from edgec.onboard.oms import read_any_form, render
from edgec.onboard.trust import Policy
from tests.bundle.conftest import extract

AUTHORITY = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"
SIGNING = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=codeSigning\n"
SERVER = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,keyEncipherment\nextendedKeyUsage=serverAuth\n"


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def certify(folder: Path, name: str, extensions: str, issuer: str = "") -> None:
    openssl(folder, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")
    openssl(folder, "req", "-new", "-key", f"{name}.key", "-subj", f"/O=Robots/CN={name}", "-out", f"{name}.csr")
    (folder / f"{name}.ext").write_text(extensions)
    by = ["-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key", "-CAcreateserial"] if issuer else ["-signkey", f"{name}.key"]
    openssl(folder, "x509", "-req", "-in", f"{name}.csr", *by, "-days", "9", "-extfile", f"{name}.ext", "-out", f"{name}.pem")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("authority")
    certify(folder, "root", AUTHORITY)
    certify(folder, "below", AUTHORITY, "root")
    certify(folder, "signer", SIGNING, "below")
    certify(folder, "server", SERVER, "below")
    certify(folder, "stranger", AUTHORITY)
    return folder


def signer_in(folder: Path, name: str = "signer") -> Signer:
    return Signer(folder / f"{name}.key", folder / f"{name}.pem", (folder / "below.pem", folder / "root.pem"))


@pytest.fixture(scope="module")
def certified(whole: Path, authority: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(whole, tmp_path_factory.mktemp("certified") / "robot-1.edgec-bundle", signer_in(authority)).path


def test_a_certificate_signs_and_its_root_is_trusted(certified: Path, authority: Path, tmp_path: Path) -> None:
    verified = verify_signature(certified, Policy(trust_in([authority / "root.pem"])))
    assert verified.signer.startswith("certificate ")
    assert "Robots" in verified.signer
    folder = extract(certified, tmp_path / "files")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from model_signing import verifying

        config = verifying.Config().use_certificate_verifier(certificate_chain=[authority / "root.pem"])
        config.verify(folder, folder / SIGNATURE)


def test_another_root_is_not_trusted(certified: Path, authority: Path, key: object) -> None:
    with pytest.raises(Untrusted, match="no trusted one vouches for"):
        verify_signature(certified, Policy(trust_in([authority / "stranger.pem"])))
    with pytest.raises(Untrusted, match="only keys are trusted"):
        verify_signature(certified, Policy(key.trust))  # type: ignore[attr-defined]


def test_roots_that_the_system_trusts_do_not_count(
    certified: Path, authority: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "root.pem").write_bytes((authority / "root.pem").read_bytes())
    openssl(tmp_path, "rehash", ".")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority / "root.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    with pytest.raises(Untrusted):
        verify_signature(certified, Policy(trust_in([authority / "stranger.pem"])))


def test_every_bit_of_the_certificates_counts(certified: Path, authority: Path, tmp_path: Path) -> None:
    folder = extract(certified, tmp_path / "files")
    path, policy = folder / SIGNATURE, Policy(trust_in([authority / "root.pem"]))
    envelope = read_any_form(path.read_bytes())
    assert len(envelope.certificates) == 3
    for which, certificate in enumerate(envelope.certificates):
        for bit in range(which, len(certificate) * 8, len(certificate) // 2):
            changed = bytearray(certificate)
            changed[bit // 8] ^= 1 << bit % 8
            chain = [*envelope.certificates]
            chain[which] = bytes(changed)
            path.write_bytes(render(envelope._replace(certificates=tuple(chain))))
            with pytest.raises(Untrusted):
                verify_signature(folder, policy)
    path.write_bytes(render(envelope))
    verify_signature(folder, policy)


def test_a_certificate_for_servers_does_not_sign(whole: Path, authority: Path, tmp_path: Path) -> None:
    with pytest.raises(Untrusted, match="not for signing"):
        make_bundle(whole, tmp_path / "robot-1.edgec-bundle", signer_in(authority, "server"))
    assert list(tmp_path.iterdir()) == []


def test_a_certificate_of_another_key_is_refused(whole: Path, authority: Path, tmp_path: Path) -> None:
    signer = Signer(authority / "signer.key", authority / "server.pem", (authority / "root.pem",))
    with pytest.raises(RequestError, match="cannot sign with"):
        make_bundle(whole, tmp_path / "robot-1.edgec-bundle", signer)
