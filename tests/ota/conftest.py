"""Worlds of releases and robots, one for each OTA tool."""

from __future__ import annotations

import pytest

from tests.ota.mender import World, make_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Of Mender."""
    return make_world(tmp_path_factory.mktemp("mender"))
