"""One artefact and one unpacked program for all tests; nothing of both is changed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgec.backends.apple.program import mac_program
from edgec.lowering.coreml import sdk
from tests.apple_device.mac import Mac, make_artefact, unpacked, write_facts


@pytest.fixture(scope="session", autouse=True)
def _sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """`edgec_mac`, and what it carries, for those tests that look at its parts."""
    folder = tmp_path_factory.mktemp("sources")
    mac_program().unpack(folder)
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))


@pytest.fixture(scope="session")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not sdk.availability().available:
        pytest.skip(f"{sdk.availability().problem}: nothing writes packages")
    return make_artefact(tmp_path_factory.mktemp("artefact"))


@pytest.fixture(scope="session")
def program(artefact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a folder, which starts faster than the archive."""
    return unpacked(artefact, tmp_path_factory.mktemp("program"))


@pytest.fixture(scope="session")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_facts(tmp_path_factory.mktemp("facts"))


@pytest.fixture
def mac(artefact: Path, program: Path, facts: Path, tmp_path: Path) -> Mac:
    return Mac(artefact, program, facts, tmp_path / "out")
