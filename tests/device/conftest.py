"""A robot for each test; bundle and facts are made once, and copied for who changes them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.device.robot import Robot, unpack_program, write_bundle, write_facts

LATENCY = "int8=2,fp16=3,fp32=5"


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    return write_bundle(tmp_path_factory.mktemp("artefact") / "small.edgec")


@pytest.fixture(scope="session")
def program(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """test_program.py runs the archive itself; the others what was in it, which starts in half the time."""
    return unpack_program(bundle, tmp_path_factory.mktemp("program"))


@pytest.fixture(scope="session")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    return write_facts(tmp_path_factory.mktemp("facts"))


@pytest.fixture(scope="session")
def memo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("memo")


def told(memo: Path) -> dict[str, str]:
    return {"STANDIN_MEMO": str(memo), "STANDIN_LATENCY": LATENCY}


@pytest.fixture
def robot(bundle: Path, facts: Path, memo: Path, program: Path, tmp_path: Path) -> Robot:
    """Its int8 takes 2 ms, its fp16 3; features come from the graphs, run by ONNX Runtime once a session."""
    return Robot(bundle, facts, tmp_path / "root", program=program, env=told(memo))


@pytest.fixture(scope="session")
def lived_in(bundle: Path, facts: Path, memo: Path, program: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root where an engine is active, of a TensorRT from before an upgrade. Not to be changed."""
    robot = Robot(bundle, facts, tmp_path_factory.mktemp("lived-in") / "root", program=program, env=told(memo))
    assert robot.run("run-all", STANDIN_TENSORRT="10.13.3").code == 0
    return robot.root


@pytest.fixture(scope="session")
def lived_in_now(bundle: Path, facts: Path, memo: Path, program: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, of the TensorRT that is there. Not to be changed."""
    robot = Robot(bundle, facts, tmp_path_factory.mktemp("lived-in-now") / "root", program=program, env=told(memo))
    assert robot.run("run-all").code == 0
    return robot.root


@pytest.fixture
def own_bundle(bundle: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(bundle, tmp_path / "own.edgec"))
