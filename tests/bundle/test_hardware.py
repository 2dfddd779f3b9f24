"""Keys that do not lie about: in a token, which SoftHSM stands for, and behind a passphrase."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from edgec.bundle.trusting import trust_in, verify_signature
from edgec.cli import run
from edgec.onboard.trust import Policy
from tests.bundle.conftest import extract, model_signing_accepts

MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so", "/opt/homebrew/lib/softhsm/libsofthsm2.so")
PIN, WORD = "4321", "a word"


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A token with a key `robots`; returns its public key."""
    module = next((path for path in MODULES if Path(path).exists()), None)
    if module is None or shutil.which("pkcs11-tool") is None:
        pytest.skip("there is no SoftHSM here: apt-get install softhsm2 opensc")
    pytest.importorskip("PyKCS11", reason="edgec[pkcs11] is not installed")
    (tmp_path / "tokens").mkdir()
    config = tmp_path / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {tmp_path / 'tokens'}\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(config))
    tool = ["pkcs11-tool", "--module", module, "--login", "--pin", PIN, "--token-label", "releases"]
    for command in (
        ["softhsm2-util", "--init-token", "--free", "--label", "releases", "--pin", PIN, "--so-pin", "8765"],
        [*tool, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "robots", "--id", "01"],
        [*tool, "--read-object", "--type", "pubkey", "--label", "robots", "--output-file", str(tmp_path / "key.der")],
        ["openssl", "pkey", "-pubin", "-inform", "DER", "-in", str(tmp_path / "key.der"), "-out", str(tmp_path / "key.pub")],
    ):
        subprocess.run(command, check=True, capture_output=True)
    return tmp_path / "key.pub"


def uri(pin: str = PIN, label: str = "robots") -> str:
    module = next(path for path in MODULES if Path(path).exists())
    return f"pkcs11:token=releases;object={label}?module-path={module}&pin-value={pin}"


def test_a_key_in_a_token_signs(whole: Path, token: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = tmp_path / "robot-1.edgec-bundle"
    assert run(["bundle", str(whole), "--sign", uri(), "-o", str(bundle)]) == 0
    assert verify_signature(bundle, Policy(trust_in([token]))).release.name == "robot"
    assert model_signing_accepts(extract(bundle, tmp_path / "files"), token)
    for key in (uri(label="absent"), uri(pin="9753"), "pkcs11:token=releases"):
        capsys.readouterr()
        assert run(["bundle", str(whole), "--sign", key, "-o", str(tmp_path / "robot-2.edgec-bundle")]) == 2
        said = capsys.readouterr().err
        assert "leads to no key that can sign" in said
        assert "9753" not in said


def test_a_key_with_a_passphrase_signs(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key, public = tmp_path / "key", tmp_path / "key.pub"
    new = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-aes256", "-pass", f"pass:{WORD}"]
    subprocess.run([*new, "-out", key], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", key, "-passin", f"pass:{WORD}", "-pubout", "-out", public], check=True)
    command = ["bundle", str(whole), "--sign", str(key), "-o", str(tmp_path / "robot-1.edgec-bundle")]
    assert run(command) == 2
    assert "set EDGEC_PASSPHRASE" in capsys.readouterr().err
    monkeypatch.setenv("EDGEC_PASSPHRASE", "another")
    assert run(command) == 2
    assert "its passphrase is another" in capsys.readouterr().err
    monkeypatch.setenv("EDGEC_PASSPHRASE", WORD)
    assert run(command) == 0
    assert verify_signature(Path(command[-1]), Policy(trust_in([public]))).release.version == "1"
