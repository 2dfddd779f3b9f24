"""Releases, and robots for each OTA tool."""

from __future__ import annotations

import pytest

from benchmarks.arm64.debian import Unavailable
from benchmarks.ota.releases import Releases, prepare
from tests.ota.mender import World, make_world


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Releases:
    """Skips where there can be no robots."""
    pytest.importorskip("model_signing", reason="edgec[bundle] is not installed")
    try:
        return prepare(tmp_path_factory.mktemp("releases"))
    except Unavailable as problem:
        pytest.skip(f"no OTA tools: {problem}")


@pytest.fixture(scope="session")
def world(releases: Releases) -> World:
    """Of Mender."""
    return make_world(releases)
