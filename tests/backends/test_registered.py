"""A family that somebody else adds: a package of its own, and no file of edgec's is touched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.commands import python
from tests.support.files import save_checkpoint
from tests.support.frames import draw_pictures

BACKEND = """
from pathlib import Path

from edgec.backends.base import Backend
from edgec.backends.profile import Profile


class ToasterProfile(Profile):
    slots: int

    @property
    def details(self):
        return (("slots", str(self.slots)),)


class Toaster(Backend):
    name = "toaster"
    profile_type = ToasterProfile
    note = "Nothing was measured: it was toasting."

    @property
    def profiles(self):
        return Path(__file__).parent / "profiles"

    def members(self, profiles):
        return tuple(profiles)

    def choose(self, candidates, budget, profiles):
        from edgec.backends.choosing import Choice, within

        ran = [candidate for candidate in candidates if candidate.fidelity]
        return Choice(within(ran, candidates, budget)[0], f"It fits {profiles[0].slots} slots.")

    def pack(self, packing):
        (packing.directory / "device").mkdir()
        (packing.directory / "device" / "toaster.txt").write_text(f"{packing.profiles[0].slots} slots")
        return ()
"""
PROFILE = """
name = "toaster-mini"
family = "toaster"
title = "A small toaster"
architecture = "aarch64"
slots = 2

[precisions]
fp32 = ["onnxruntime"]

[[promises]]
text = "It toasts."
source = "Its makers."
"""
ENTRY_POINTS = "[edgec.backends]\ntoaster = edgec_toaster.backend:Toaster\n"
METADATA = "Metadata-Version: 2.1\nName: edgec-toaster\nVersion: 1.0\n"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a wheel is installed; and a checkpoint and frames beside it."""
    folder = tmp_path_factory.mktemp("toaster")
    profiles, metadata = folder / "edgec_toaster" / "profiles", folder / "edgec_toaster-1.0.dist-info"
    profiles.mkdir(parents=True)
    metadata.mkdir()
    (folder / "edgec_toaster" / "__init__.py").write_text("")
    (folder / "edgec_toaster" / "backend.py").write_text(BACKEND)
    (profiles / "toaster-mini.toml").write_text(PROFILE)
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    (metadata / "METADATA").write_text(METADATA)
    save_checkpoint(folder / "checkpoint")
    draw_pictures(folder / "frames")
    return folder


def run(installed: Path, *arguments: str) -> str:
    environment = {"PYTHONPATH": str(installed), "EDGEC_CACHE_DIR": str(installed / "cache")}
    done = python(f"import sys; from edgec.cli import run; sys.exit(run({list(arguments)!r}))", cwd=installed, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_listed_and_shown(installed: Path) -> None:
    listed = run(installed, "targets", "list")
    assert "toaster is toaster-mini in one artefact." in listed
    assert "slots" in run(installed, "targets", "show", "toaster-mini")


@pytest.mark.parametrize("target", ["toaster", "toaster-mini"])
def test_it_builds_and_is_verified(installed: Path, target: str) -> None:
    asked = ("--target", target, "--calibration", "frames", "--input-size", "32x48", "--output", f"{target}.edgec")
    run(installed, "build", "checkpoint", *asked)
    artefact = installed / f"{target}.edgec"
    report = json.loads((artefact / "report.json").read_text())
    assert report["target"] == "toaster-mini"
    assert report["reason"] == "It fits 2 slots."
    assert report["notes"][0] == "Nothing was measured: it was toasting."
    assert report["candidates"][0]["latency"] is None
    assert (artefact / "device" / "toaster.txt").read_text() == "2 slots"
    run(installed, "verify", f"{target}.edgec")
