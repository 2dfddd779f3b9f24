"""A robot for each test; bundle and facts are made once, and copied for who changes them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.device.releases import Key, as_file, signed, trusting
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


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    """Whose releases the board takes."""
    return Key.new(tmp_path_factory.mktemp("release-key"), "release")


@pytest.fixture(scope="session")
def other_key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    return Key.new(tmp_path_factory.mktemp("other-key"), "other")


@pytest.fixture(scope="session")
def release(bundle: Path, key: Key, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artefact as it was signed, 1.4.0. Not to be changed."""
    pytest.importorskip("model_signing", reason="edgec[bundle] is not installed")
    return signed(bundle, tmp_path_factory.mktemp("release") / "small", key)


@pytest.fixture(scope="session")
def file(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The release as one file. Not to be changed."""
    return as_file(release)


@pytest.fixture(scope="session")
def running_root(
    lived_in_now: Path, release: Path, facts: Path, memo: Path, program: Path, key: Key, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A root where release 1.4.0 is active. Not to be changed."""
    root = tmp_path_factory.mktemp("running") / "root"
    shutil.copytree(lived_in_now, root, symlinks=True)
    robot = trusting(Robot(release, facts, root, program=program, env=told(memo)), key)
    assert robot.run("run-all").code == 0
    return root


@pytest.fixture
def running(robot: Robot, running_root: Path) -> Robot:
    """Release 1.4.0 is active on it."""
    shutil.copytree(running_root, robot.root, symlinks=True)
    return robot
