"""Robots with Debian 13's RAUC, SWUpdate and Mender, and three releases for them. Skipped where there can be none."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("model_signing", reason="edgec[bundle] is not installed")
pytest.importorskip("cyclonedx", reason="edgec[bundle] is not installed")

from benchmarks.arm64.debian import Unavailable
from benchmarks.ota.debian import debian
from benchmarks.ota.interruptions import TOOLS, Updates
from benchmarks.ota.releases import Releases, prepare
from tests.ota.mender import World, make_world


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Releases:
    """Skips, once and before anything is built, where no robot can be made."""
    try:
        debian()
    except Unavailable as problem:
        pytest.skip(f"no robots with OTA tools: {problem}")
    return prepare(tmp_path_factory.mktemp("releases"))


@pytest.fixture(scope="session")
def updates_by(releases: Releases, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Updates]:
    """Updates by a tool, after one that nobody disturbed. RAUC installs the first release of all robots."""

    @cache
    def make(tool: str) -> Updates:
        origin = None if tool == "rauc" else make("rauc").origin
        return Updates(tmp_path_factory.mktemp("updates") / tool, releases, tool, origin)

    return make


@pytest.fixture(params=sorted(TOOLS.keys() - {"mender"}))  # its tests are in files of their own
def updates(request: pytest.FixtureRequest, updates_by: Callable[[str], Updates]) -> Updates:
    """By each tool."""
    return updates_by(request.param)


@pytest.fixture(scope="session")
def forms(releases: Releases, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The folder with a release's bundle and the files for both tools. Arguments are those of `Releases.make`."""

    @cache
    def make(version: str, **more: Any) -> Path:
        return releases.make(version, tmp_path_factory.mktemp("forms"), **more).path.parent

    return make


@pytest.fixture(scope="session")
def world(releases: Releases, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Of Mender."""
    return make_world(releases, tmp_path_factory.mktemp("mender"))
