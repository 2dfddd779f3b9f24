"""`edgec verify --trust`: bundles and directories, exit codes, and installations without the extra."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from edgec import onboard
from edgec.cli import run
from tests.bundle.conftest import PROGRAM, Key
from tests.bundle.test_tampering import replace_program
from tests.device.robot import interpreter
from tests.support.commands import python

SERIAL = 10**12 + 4 * 10**6


def test_a_bundle_is_checked_and_run(bundle: Path, key: Key, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(bundle), "--trust", str(key.public)]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"robot 1.4.0, serial {SERIAL}, signed by key ")
    assert "signatures ok, 14 files\nhashes ok, 6 files\n" in said
    assert said.endswith("verified\n")
    assert run(["verify", str(bundle), "--trust", str(key.public), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["release"]["serial"] == SERIAL
    assert document["measurement"]["by"] == "edgec 0.1.0 on any"
    assert (document["directory"], document["verified"], document["files"]) == (str(bundle), True, 6)


def test_signatures_alone(bundle: Path, key: Key, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(bundle), "--trust", str(key.public), "--signature-only"]) == 0
    said = capsys.readouterr().out
    assert "signatures ok" in said
    assert "golden" not in said


def test_exit_codes(bundle: Path, artefact: Path, unpacked: Path, key: Key, other_key: Key) -> None:
    trust = ["--trust", str(key.public)]
    assert run(["verify", str(unpacked), *trust, "--newer-than", str(SERIAL - 1), "--name", "robot"]) == 0
    assert run(["verify", str(unpacked / "manifest.json"), *trust, "--signature-only"]) == 0
    assert run(["verify", str(unpacked), *trust, "--newer-than", str(SERIAL)]) == 20
    assert run(["verify", str(unpacked), *trust, "--name", "gripper"]) == 20
    assert run(["verify", str(artefact), *trust]) == 19
    assert run(["verify", str(bundle), "--trust", str(other_key.public)]) == 19
    assert run(["verify", str(bundle.with_name("absent")), *trust]) == 8
    replace_program(unpacked)
    assert run(["verify", str(unpacked), *trust]) == 19
    assert run(["verify", str(unpacked)]) == 0, "without a key, nothing shows that the program is another one"


@pytest.mark.parametrize("option", [["--name", "robot"], ["--newer-than", "0"], ["--signature-only"]])
def test_options_about_signatures_take_a_key(artefact: Path, option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(artefact), *option]) == 2
    assert "--trust KEY.pub" in capsys.readouterr().err


def test_a_bundle_is_not_verified_without_a_key(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(bundle)]) == 2
    assert "is a bundle, and no key is trusted" in capsys.readouterr().err


WITHOUT = """
import sys
for name in ("model_signing", "cyclonedx", "cryptography", "OpenSSL"):
    sys.modules[name] = None
from edgec.cli import run
codes = [
    run(["verify", sys.argv[1], "--trust", sys.argv[2]]),
    run(["bundle", "diff", sys.argv[1], sys.argv[1]]),
    run(["bundle", "unpack", sys.argv[1], "--trust", sys.argv[2], "-o", "made"]),
    run(["keygen", "key"]),
    run(["bundle", "made", "--sign", sys.argv[2], "-o", "robot-1.edgec-bundle"]),
]
print(codes)
"""


def test_without_the_extra_everything_but_signing_works(bundle: Path, key: Key, tmp_path: Path) -> None:
    done = python(WITHOUT, bundle, key.public, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "[0, 0, 0, 5, 5]", done.stdout + done.stderr
    assert done.stderr.count("pip install 'edgec[bundle]'") == 2


BOARD = """
import sys, pathlib
from edgec_onboard.errors import BoardError
from edgec_onboard.openssl import read_trust
from edgec_onboard.trust import Policy, check, open_source, unpack
bundle, key, folder = map(pathlib.Path, sys.argv[1:])
try:
    with open_source(bundle) as source:
        verified = check(source, bundle, Policy(read_trust([key])))
        folder.mkdir()
        unpack(source, verified.files, folder)
    print("%s %s" % (verified.release.name, verified.release.version))
except BoardError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.mark.parametrize("version", ["3.8", "3.13"])
def test_a_board_checks_with_pythons_standard_library(
    bundle: Path, unpacked: Path, key: Key, other_key: Key, tmp_path: Path, version: str
) -> None:
    """The package as boards' programs carry it, in an interpreter without site-packages."""
    program = interpreter(version)
    if program is None:
        pytest.skip(f"there is no Python {version}")
    (tmp_path / "edgec_onboard").symlink_to(Path(onboard.__file__).parent)

    def board(source: Path, trusted: Key) -> subprocess.CompletedProcess[str]:
        command = [program, "-S", "-E", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{BOARD}"]
        arguments = [str(source), str(trusted.public), str(tmp_path / "out")]
        return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)

    assert board(bundle, other_key).returncode == 19
    done = board(bundle, key)
    assert (done.returncode, done.stdout) == (0, "robot 1.4.0\n"), done.stdout + done.stderr
    assert (tmp_path / "out" / PROGRAM).stat().st_mode & 0o111
    replace_program(unpacked)
    assert board(unpacked, key).returncode == 19
