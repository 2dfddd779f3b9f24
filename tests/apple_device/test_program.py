"""The archive: the same bytes for the same sources, and Python 3.8 with its standard library but for the runner."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edgec.artefact.reading import open_artefact
from edgec.backends.apple.program import MAC_PROGRAM, mac_program
from edgec.backends.program import BUNDLE, SHEBANG
from tests.apple_device.mac import ROOT, SOURCES, candidates, only
from tests.device.robot import Robot, interpreter

MODULES = sorted(SOURCES.rglob("*.py"))
STEPS = sorted((ROOT / "targets" / "device").rglob("*.py"))


def test_the_artefact_holds_it_and_lists_its_hash(artefact: Path, tmp_path: Path) -> None:
    listed = {file.path for file in open_artefact(artefact).manifest.files}
    assert {MAC_PROGRAM, BUNDLE} <= listed
    assert "device/mac.json" not in listed
    content = (artefact / MAC_PROGRAM).read_bytes()
    assert content.startswith(SHEBANG)
    assert mac_program().write(tmp_path).read_bytes() == content
    with zipfile.ZipFile(artefact / MAC_PROGRAM) as archive:
        members = set(archive.namelist())
    assert {path.relative_to(SOURCES).as_posix() for path in MODULES} <= members
    assert {path.relative_to(ROOT / "targets" / "device").as_posix() for path in STEPS} <= members
    assert "edgec_onboard/judging.py" in members


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_it_needs_no_edgec(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(), feature_version=(3, 8))):
        names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names = [node.module or ""]
        for name in names:
            assert name.split(".")[0] in sys.stdlib_module_names | {"edgec_mac", "edgec_device", "edgec_onboard"}, name


@pytest.mark.parametrize("version", ["3.8", "3.9"])
def test_macos_own_python_runs_it(mac: Robot, version: str) -> None:
    """macOS' own is 3.9. coremltools may be in another one."""
    python = interpreter(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    mac.python = python
    done = mac.run("run-all", "--python", sys.executable, *only("cpuOnly"))
    assert done.code == 0, done
    assert list(candidates(mac)) == ["cpuOnly"]
    assert mac.current is not None
    assert mac.current.startswith("w8-cpuOnly-")


def test_help_fits_a_terminal_and_has_the_exit_codes(artefact: Path) -> None:
    done = subprocess.run(
        [sys.executable, artefact / MAC_PROGRAM, "--help"],
        env={"COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for word in ("run-all", "rollback", "cpuAndNeuralEngine", "exit codes", "VerificationFailed", "130"):
        assert word in done.stdout
