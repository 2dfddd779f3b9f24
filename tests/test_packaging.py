"""The wheel: what is in it, and that it works where there is no checkout."""

from __future__ import annotations

import email
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import edgec
from edgec.artefact.reading import open_artefact
from tests.support.commands import SECONDS, run_in

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, in which somebody has worked: scratch files and caches lie about."""
    source = tmp_path_factory.mktemp("source") / "edgec"
    source.mkdir()
    for name in ("edgec", "targets", "calibration"):
        shutil.copytree(ROOT / name, source / name)
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, source / name)
    (source / "notes").mkdir()
    (source / "notes" / "module.py").write_text("mine")
    (source / "made.edgec").mkdir()
    (source / "edgec" / "__pycache__").mkdir(exist_ok=True)
    (source / "edgec" / "__pycache__" / "old.cpython-310.pyc").write_bytes(b"old")
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [made] = folder.iterdir()
    return made


@pytest.fixture(scope="session")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        return {name for name in archive.namelist() if not name.endswith("/")}


def test_is_pure_python_and_named_for_its_version(wheel: Path) -> None:
    assert wheel.name == f"edgec-{edgec.__version__}-py3-none-any.whl"


def test_nothing_but_edgec_is_at_its_top(names: set[str]) -> None:
    assert {name.split("/")[0] for name in names} == {"edgec", f"edgec-{edgec.__version__}.dist-info"}


def test_every_module_is_in_it_and_nothing_else(names: set[str]) -> None:
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "edgec").rglob("*.py")}
    elsewhere = {name for name in names if name.startswith("edgec/_data/targets/") and re.search("/(device|robot)/", name)}
    assert {name for name in names - elsewhere if name.endswith(".py")} == modules
    assert not [name for name in names if name.endswith((".pyc", ".onnx", ".npz")) or "__pycache__" in name or "tests" in name]


@pytest.mark.parametrize("room", ["targets", "calibration"])
def test_targets_and_calibration_are_inside_it(names: set[str], room: str) -> None:
    files = {path for path in (ROOT / room).rglob("*") if path.is_file() and path.suffix != ".pyc"}
    beside = {path.relative_to(ROOT).as_posix() for path in files}
    assert len(beside) > 5
    assert {f"edgec/_data/{name}" for name in beside} <= names


def test_the_demo_checkpoint_and_its_attribution_are_in_it(names: set[str]) -> None:
    for name in ("model.safetensors", "config.json", "preprocessor_config.json", "NOTICE"):
        assert f"edgec/checkpoint/demo/{name}" in names


def test_metadata_match_the_readme(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        folder = f"edgec-{edgec.__version__}.dist-info"
        metadata = email.message_from_bytes(archive.read(f"{folder}/METADATA"))
        points = archive.read(f"{folder}/entry_points.txt").decode()
        texts = [name for name in archive.namelist() if "LICENSE" in name]
    assert metadata["Requires-Python"] == ">=3.10"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert {"build", "cpu", "onnxruntime", "openvino", "apple", "test", "bench"} <= set(metadata.get_all("Provides-Extra") or ())
    assert "edgec = edgec.cli:main" in points
    assert "[edgec.lowerings]" in points
    assert texts


def test_it_is_small(wheel: Path) -> None:
    """The demo checkpoint in half precision and 3 MB of pictures."""
    assert wheel.stat().st_size < 16e6


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel; what it depends on comes from the environment that runs the tests."""
    place = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", "--quiet", str(wheel)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [packages] = (place / "lib").glob("python*/site-packages")
    assert {path.name.split("-")[0] for path in packages.iterdir()} == {"edgec"}
    # Path files in a folder that a path file names are not read: the checkout stays out.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n" + sysconfig.get_path("platlib") + "\n")
    return place


def test_the_wheel_s_edgec_is_the_one_that_is_imported(installed: Path, tmp_path: Path) -> None:
    code = (
        "import edgec, edgec.resources, json, torch\n"
        "from importlib.metadata import distribution\n"
        "print(json.dumps([edgec.__file__, str(edgec.resources.room('targets')), str(distribution('edgec').locate_file(''))]))"
    )
    done = run_in(installed, "python", "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for place in json.loads(done.stdout):
        assert Path(place).is_relative_to(installed), place
        assert not Path(place).is_relative_to(ROOT)


def test_the_demo_builds_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    """In int8, for which it is calibrated on the wheel's own frames; measuring the other precisions would show nothing more."""
    done = run_in(
        installed,
        "edgec",
        "build",
        "demo",
        "--target",
        "cpu",
        "--input-size",
        "64",
        "--precision",
        "int8",
        "--iterations",
        "5",
        "-o",
        tmp_path / "demo.edgec",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "(chosen)" in done.stdout
    assert "Traceback" not in done.stderr
    opened = open_artefact(tmp_path / "demo.edgec")
    assert opened.manifest.checkpoint.name == "demo"
    assert opened.manifest.checkpoint.arch == "vitt16"
    assert not opened.manifest.checkpoint.random_weights
    notice = (tmp_path / "demo.edgec" / "NOTICE").read_text()
    assert "Distilled from DINOv2 ViT-S/14 (Apache-2.0, Meta Platforms)" in notice
    verified = run_in(installed, "edgec", "verify", tmp_path / "demo.edgec", cwd=tmp_path)
    assert verified.returncode == 0, verified.stderr
    assert verified.stdout.rstrip().endswith("verified")
    for path in (tmp_path / "demo.edgec").rglob("*"):
        if path.is_file():
            assert str(installed).encode() not in path.read_bytes(), path
            assert os.fsencode(ROOT) + b"/" not in path.read_bytes(), path


def test_a_missing_extra_is_named_with_the_command_that_adds_it(installed: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules['openvino'] = sys.modules['onnxruntime'] = None\n"
        "from edgec.cli import run\n"
        "print('codes', run(['targets']), run(['doctor']), run(['build', 'demo', '-o', 'none.edgec']))"
    )
    done = run_in(installed, "python", "-c", code, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "codes 0 5 5", done.stderr
    assert "unavailable: no runtime installed" in " ".join(done.stdout.split())
    assert "pip install 'edgec[openvino]'" in done.stdout
    assert "pip install 'edgec[build]'" in done.stderr
    assert not (tmp_path / "none.edgec").exists()
