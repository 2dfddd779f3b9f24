"""A robot's environment: the wheel and its base dependencies, in a virtual environment of its own."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest

from edgec.building import build
from edgec.model.spec import Size
from edgec.request import BuildRequest
from tests.support.commands import SECONDS, run_in
from tests.support.files import save_checkpoint, save_profile
from tests.support.frames import draw_pictures

ROOT = Path(__file__).resolve().parents[1]
ABSENT = ("torch", "onnx", "onnx_ir", "onnxscript", "openvino", "matplotlib", "PIL", "altair", "av", "yaml")


def pip(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment: skipped where pip cannot fetch a handful of wheels."""
    folder = tmp_path_factory.mktemp("robot")
    source = folder / "source"
    for name in ("edgec", "targets", "calibration"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    made = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    [wheel] = folder.glob("*.whl")
    place = folder / "venv"
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    done = pip("--python", python, "install", "-q", "--no-compile", "-c", ROOT / "constraints.txt", wheel)
    if done.returncode and re.search(r"No matching distribution|[Cc]onnection|[Tt]imed out|resolution", done.stderr):
        pytest.skip(f"pip cannot fetch wheels here: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two blocks in ONNX Runtime."""
    folder = tmp_path_factory.mktemp("artefact")
    save_checkpoint(folder / "checkpoint")
    draw_pictures(folder / "frames")
    save_profile(folder / "float.toml", {"fp32": ["onnxruntime"]})
    request = BuildRequest(
        str(folder / "checkpoint"),
        target=str(folder / "float.toml"),
        calibration=str(folder / "frames"),
        size=Size(32, 48),
        iterations=5,
        output=folder / "made.edgec",
    )
    return build(request).directory


def test_neither_torch_nor_onnx_can_be_imported_there(robot: Path, tmp_path: Path) -> None:
    code = f"import importlib.util, edgec; print([name for name in {ABSENT} if importlib.util.find_spec(name)], edgec.__file__)"
    done = run_in(robot, "python", "-c", code, cwd=tmp_path)
    assert done.stdout.startswith("[] "), done.stdout + done.stderr
    assert str(robot) in done.stdout


def test_it_verifies_measures_runs_compares_and_reports(robot: Path, artefact: Path, tmp_path: Path) -> None:
    verified = run_in(robot, "edgec", "verify", artefact, cwd=tmp_path)
    assert verified.returncode == 0, verified.stderr
    assert verified.stdout.rstrip().endswith("verified")

    measured = run_in(robot, "edgec", "bench", artefact, "--iterations", "5", "--json", cwd=tmp_path)
    assert measured.returncode == 0, measured.stderr
    (tmp_path / "bench.json").write_text(measured.stdout)

    np.save(tmp_path / "frames.npy", np.zeros((3, 32, 48, 3), np.uint8))
    ran = run_in(robot, "edgec", "run", artefact, "frames.npy", "--features", "features.npz", "--json", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1])["frames"] == 3
    with np.load(tmp_path / "features.npz") as features:
        assert features["cls"].shape == (3, 64)

    compared = run_in(robot, "edgec", "compare", artefact, artefact, cwd=tmp_path)
    assert compared.returncode == 0, compared.stderr
    explained = run_in(robot, "edgec", "explain", artefact, cwd=tmp_path)
    assert explained.returncode == 0, explained.stderr

    page = run_in(robot, "edgec", "report", artefact, "-o", "page.html", cwd=tmp_path)
    assert page.returncode == 0, page.stderr
    text = (tmp_path / "page.html").read_text()
    for words in ("There are no charts", "edgec[html]", "features cannot be drawn", "edgec[pictures]", "onnxruntime"):
        assert words in text.replace("&#39;", "'"), words
    assert 'class="chart"' not in text
    assert len(text) < 300_000


def test_doctor_and_targets_say_what_is_there_and_what_adds_the_rest(robot: Path, tmp_path: Path) -> None:
    done = run_in(robot, "edgec", "doctor", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    extras = json.loads(done.stdout)["extras"]
    assert [name for name, extra in extras.items() if not extra["missing"]] == ["onnxruntime"]
    assert extras["build"]["install"] == "pip install 'edgec[build]'"
    assert "torch" in extras["build"]["missing"]
    shown = run_in(robot, "edgec", "doctor", cwd=tmp_path)
    assert "nothing is built without edgec[build]" in " ".join(shown.stdout.split())
    for name, extra in extras.items():
        assert f"edgec[{name}]" in shown.stdout
        assert extra["enables"] in " ".join(shown.stdout.split())
    assert run_in(robot, "edgec", "targets", cwd=tmp_path).returncode == 0
    assert run_in(robot, "edgec", "targets", "show", "jetson", cwd=tmp_path).returncode == 0
    assert run_in(robot, "edgec", "schema", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["build", "demo"], "build"),
        (["inspect", "demo"], "build"),
        (["check", "{artefact}"], "build"),
        (["calibration", "show", "demo"], "pictures"),
        (["explain", "{artefact}", "--pictures", "drawn"], "pictures"),
        (["run", "{artefact}", "{pictures}"], "pictures"),
        (["run", "{artefact}", "frames.npy", "--output", "film.mp4"], "pictures"),
        (["bench", "{artefact}", "--profile"], "build"),
    ],
    ids=lambda each: " ".join(each[:1]) if isinstance(each, list) else each,
)
def test_a_command_whose_extra_is_missing_names_the_line(
    robot: Path, artefact: Path, tmp_path: Path, arguments: list[str], extra: str
) -> None:
    places = {"artefact": artefact, "pictures": artefact.parent / "frames"}
    done = run_in(robot, "edgec", *(argument.format(**places) for argument in arguments), cwd=tmp_path)
    assert done.returncode == 5, done.stdout + done.stderr
    assert f"To do: pip install 'edgec[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not [path for path in tmp_path.iterdir() if path.name != "cache"]


def test_from_python_it_is_the_same_error(robot: Path, tmp_path: Path) -> None:
    code = (
        "import edgec\n"
        "try:\n    edgec.build('demo')\n"
        "except edgec.TargetError as error:\n    print(error.exit_code, error.remedy)\n"
    )
    done = run_in(robot, "python", "-c", code, cwd=tmp_path)
    assert done.stdout.strip() == "5 pip install 'edgec[build]'", done.stderr
