"""The archive: the same bytes for the same sources, numpy and coremltools beside the standard library, and old Pythons told."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edgec.artefact.reading import open_artefact
from edgec.backends.apple.program import MAC_PROGRAM, mac_program
from edgec.backends.program import SHEBANG
from edgec.records.manifest import MANIFEST
from tests.apple_device.mac import SOURCES
from tests.device.robot import interpreter
from tests.device.test_program import SHARED

MODULES = sorted(SOURCES.rglob("*.py"))


def test_the_artefact_holds_it_and_lists_its_hash(artefact: Path, tmp_path: Path) -> None:
    listed = {file.path for file in open_artefact(artefact).manifest.files}
    assert {MAC_PROGRAM, "device/mac.json"} <= listed
    content = (artefact / MAC_PROGRAM).read_bytes()
    assert content.startswith(SHEBANG)
    assert mac_program().write(tmp_path).read_bytes() == content
    with zipfile.ZipFile(artefact / MAC_PROGRAM) as archive:
        assert sorted(archive.namelist()) == sorted(
            [path.relative_to(SOURCES).as_posix() for path in MODULES] + [f"edgec_onboard/{path.name}" for path in SHARED]
        )
    assert "/" not in MANIFEST


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_it_needs_no_edgec(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(), feature_version=(3, 10))):
        names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names = [node.module or ""]
        for name in names:
            assert name.split(".")[0] in sys.stdlib_module_names | {"edgec_mac", "edgec_onboard", "numpy", "PIL"}, name


def test_a_python_that_is_too_old_is_refused(artefact: Path) -> None:
    """macOS' own is 3.9."""
    python = interpreter("3.9")
    if python is None:
        pytest.skip("there is no Python 3.9 here")
    done = subprocess.run([python, artefact / MAC_PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 5
    assert done.stderr.splitlines() == ["error: this is Python 3.9; edgec-mac.pyz needs 3.10 or newer"]


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
    for word in ("--function", "--compute-units", "exit codes", "VerificationFailed", "130"):
        assert word in done.stdout
