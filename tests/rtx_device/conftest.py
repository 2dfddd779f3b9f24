"""A machine with a GPU: NVIDIA's real compiler made the engines, and the real `cuda-bindings` calls a stand-in for the driver."""

from __future__ import annotations

import compileall
from pathlib import Path

import pytest

from edgec.backends.rtx.program import rtx_program
from edgec.building import BuildResult, build
from edgec.request import BuildRequest
from tests.device.robot import Robot
from tests.support.files import save_checkpoint
from tests.support.frames import draw_pictures
from tests.support.gpu import RTX, environment
from tests.support.models import SMALL


@pytest.fixture(scope="session")
def asked(tmp_path_factory: pytest.TempPathFactory) -> BuildRequest:
    """One precision for all generations."""
    pytest.importorskip("tensorrt_rtx_bindings", reason="NVIDIA's compiler is not installed: pip install 'edgec[nvidia]'")
    folder = tmp_path_factory.mktemp("rtx")
    save_checkpoint(folder / "checkpoint")
    draw_pictures(folder / "frames")
    return BuildRequest(
        str(folder / "checkpoint"),
        target="rtx",
        calibration=str(folder / "frames"),
        size=SMALL,
        precision="fp16",
        output=folder / "robot.edgec",
    )


@pytest.fixture(scope="session")
def built(asked: BuildRequest) -> BuildResult:
    """Not to be changed."""
    return build(asked)


@pytest.fixture(scope="session")
def gpu(built: BuildResult, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What makes processes find a GPU and a TensorRT-RTX that runs engines."""
    return {**environment(tmp_path_factory.mktemp("gpu"), RTX), "STANDIN_GRAPHS": str(built.directory / "model")}


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a folder, which starts faster than the archive."""
    folder = tmp_path_factory.mktemp("program")
    rtx_program().unpack(folder)
    compileall.compile_dir(folder, quiet=2)
    return folder


@pytest.fixture(scope="session")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workstation's."""
    folder = tmp_path_factory.mktemp("facts")
    (folder / "proc").mkdir()
    (folder / "proc" / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Some CPU 9000\n")
    (folder / "proc" / "meminfo").write_text("MemTotal:       65536000 kB\nMemAvailable:   60000000 kB\n")
    return folder


@pytest.fixture
def machine(built: BuildResult, gpu: dict[str, str], program: Path, facts: Path, tmp_path: Path) -> Robot:
    return Robot(built.directory, facts, tmp_path / "root", program=program, env=gpu)
