"""An artefact of a small model, built once, and a copy of it for each test that damages it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edgec.building import build
from edgec.cli import run
from edgec.model.spec import Size
from edgec.request import BuildRequest
from tests.support.files import save_checkpoint, save_profile
from tests.support.frames import draw_pictures


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`checkpoint/`, `frames/`, `board.toml` (ONNX Runtime in fp32 and int8), `cache/`, and `made.edgec`."""
    folder = tmp_path_factory.mktemp("cli")
    save_checkpoint(folder / "checkpoint")
    draw_pictures(folder / "frames")
    save_profile(folder / "board.toml", {"fp32": ["onnxruntime"], "int8": ["onnxruntime"]})
    request = BuildRequest(
        str(folder / "checkpoint"),
        target=str(folder / "board.toml"),
        calibration=str(folder / "frames"),
        size=Size(32, 48),
        iterations=5,
        output=folder / "made.edgec",
    )
    before = os.environ.get("EDGEC_CACHE_DIR")
    os.environ["EDGEC_CACHE_DIR"] = str(folder / "cache")
    try:
        build(request)
    finally:
        del os.environ["EDGEC_CACHE_DIR"]
        if before is not None:
            os.environ["EDGEC_CACHE_DIR"] = before
    return folder


@pytest.fixture
def artefact(workplace: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(workplace / "made.edgec", tmp_path / "copy.edgec"))


@pytest.fixture
def asked(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """`edgec build` of that artefact, its results in the cache; where it goes is left to the test."""
    monkeypatch.setenv("EDGEC_CACHE_DIR", str(workplace / "cache"))
    return [
        *("build", str(workplace / "checkpoint"), "--calibration", str(workplace / "frames")),
        *("--target", str(workplace / "board.toml"), "--input-size", "32x48", "--iterations", "5"),
    ]


Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Said:
    """Runs one command in this process: exit code, standard output, standard error."""

    def command(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return command
