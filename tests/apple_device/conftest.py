"""One artefact and one unpacked program for all tests; nothing of both is changed."""

from __future__ import annotations

import compileall
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgec.backends.apple.program import mac_program
from edgec.lowering.coreml import sdk
from tests.apple_device.mac import ENVIRONMENT, make_artefact, write_facts
from tests.device.robot import Robot


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a folder, which starts faster than the archive."""
    folder = tmp_path_factory.mktemp("program")
    mac_program().unpack(folder)
    compileall.compile_dir(folder, quiet=2)
    return folder


@pytest.fixture(scope="session", autouse=True)
def _sources(program: Path) -> Iterator[None]:
    """`edgec_mac`, and what it carries, for those tests that look at its parts."""
    sys.path.insert(0, str(program))
    yield
    sys.path.remove(str(program))


@pytest.fixture(scope="session")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not sdk.availability().available:
        pytest.skip(f"{sdk.availability().problem}: nothing writes packages")
    return make_artefact(tmp_path_factory.mktemp("artefact"))


@pytest.fixture
def own(artefact: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(artefact, tmp_path / "own.edgec"))


@pytest.fixture(scope="session")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_facts(tmp_path_factory.mktemp("facts"))


@pytest.fixture
def mac(artefact: Path, program: Path, facts: Path, tmp_path: Path) -> Robot:
    return Robot(artefact, facts, tmp_path / "root", program=program, env=dict(ENVIRONMENT))
