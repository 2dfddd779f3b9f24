"""The archive: the same bytes for the same sources, and a Python as old as it promises."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edgec.backends.jetson.program import PROGRAM, jetson_program
from edgec.backends.program import SHEBANG
from edgec.errors import EdgecError
from tests.device.robot import PYTHONS, Robot, interpreter

ROOT = Path(__file__).resolve().parents[2]
TARGETS, COMMON = ROOT / "targets", ROOT / "edgec" / "onboard"
SOURCES, STEPS = TARGETS / "jetson" / "device", TARGETS / "device"
OWN = sorted(SOURCES.rglob("*.py"))
MODULES = [*OWN, *sorted((STEPS / "edgec_device").rglob("*.py"))]
CPU = sorted((TARGETS / "cpu" / "device").rglob("*.py"))
SHARED = sorted(COMMON.glob("*.py"))
"""What every family's program carries."""
PACKAGES = {"edgec_cpu", "edgec_device", "edgec_jetson", "edgec_onboard"}


def test_the_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    one, other = (jetson_program().write(_made(tmp_path / name)) for name in ("one", "other"))
    assert one == tmp_path / "one" / PROGRAM
    assert one.read_bytes() == other.read_bytes()
    assert one.read_bytes().startswith(SHEBANG)
    assert one.stat().st_mode & 0o111 == 0o111
    with zipfile.ZipFile(one) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == sorted(
            [path.relative_to(SOURCES if path in OWN else STEPS).as_posix() for path in MODULES]
            + [f"edgec_onboard/{path.name}" for path in SHARED]
        )


def test_an_installation_without_the_sources_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgec.backends.program.room", lambda name: tmp_path)
    with pytest.raises(EdgecError, match="installation is incomplete"):
        jetson_program().write(_made(tmp_path / "artefact"))


@pytest.mark.parametrize("path", [*MODULES, *CPU, *SHARED], ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_it_is_python_3_8_and_its_standard_library(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    for node in ast.walk(tree):
        names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == (path in SHARED and (node.module or "") in {each.stem for each in SHARED} and node.level)
            names = [] if node.level else [node.module or ""]
        numpy = {"numpy"} if path.stem == "vectorised" else set()
        for name in names:
            assert name.split(".")[0] in sys.stdlib_module_names | numpy | PACKAGES, name


@pytest.mark.parametrize("version", PYTHONS)
def test_all_of_it_runs_there(robot: Robot, version: str) -> None:
    robot.python, robot.program = _python(version), None
    done = robot.run("run-all")
    assert done.code == 0, done
    assert robot.current is not None
    assert robot.current.startswith("int8-")
    for command in ("verify", "bench", "activate", "status"):
        again = robot.run(command, *(["--seconds", "0.05", "--iterations", "20"] if command == "bench" else []))
        assert again.code == 0, again


def test_the_shebang_starts_it(robot: Robot) -> None:
    done = subprocess.run([robot.bundle / PROGRAM, "--help"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    for word in ("run-all", "rollback", "exit codes", "VerificationFailed", "130"):
        assert word in done.stdout


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _python(version: str) -> str:
    found = interpreter(version)
    if found is None:
        pytest.skip(f"there is no Python {version} here")
    return found
