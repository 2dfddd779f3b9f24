"""A family that another package adds, with a program for its devices: no file of edgec is touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgec.backends.base import Backend
from edgec.backends.profile import Profile
from edgec.errors import TargetError
from edgec.host.facts import facts
from edgec.model.spec import Size
from edgec.request import BuildRequest
from tests.support.caches import export_into
from tests.support.commands import python
from tests.support.files import save_checkpoint
from tests.support.frames import draw_pictures

BACKEND = """
from pathlib import Path

from edgec.backends.base import Backend
from edgec.backends.profile import Profile
from edgec.backends.program import BoardProgram

FOLDER = Path(__file__).parent


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
        return FOLDER / "profiles"

    @property
    def program(self):
        return BoardProgram("device/toast.pyz", "toast", FOLDER / "device")

    def members(self, profiles):
        return tuple(profiles)

    def choose(self, candidates, circumstances):
        from edgec.backends.choosing import Choice, within

        ran = [candidate for candidate in candidates if candidate.fidelity]
        chosen = within(ran, candidates, circumstances.budget)[0]
        return Choice(chosen, f"It fits {circumstances.profiles[0].slots} slots.")

    def pack(self, packing):
        self.program.write(packing.directory)
        (packing.directory / "device" / "toaster.txt").write_text(f"{packing.profiles[0].slots} slots")
        return ()

    def check(self, artefact, report, least):
        from edgec.backends.checking import check_program

        return check_program(artefact, self.program.path, self.program.archive())
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
MAIN = """
from pathlib import Path
import sys

from edgec_onboard.files import sha256_of
from toast import slots

print(slots.read(Path(sys.argv[0]).parent), sha256_of(Path(sys.argv[0])))
"""
SLOTS = """
def read(folder):
    return (folder / "toaster.txt").read_text()
"""
ENTRY_POINTS = "[edgec.backends]\ntoaster = edgec_toaster.backend:Toaster\n"
METADATA = "Metadata-Version: 2.1\nName: edgec-toaster\nVersion: 1.0\n"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a wheel is installed; and a checkpoint and frames beside it, with a cache that has their graph."""
    folder = tmp_path_factory.mktemp("toaster")
    profiles, metadata = folder / "edgec_toaster" / "profiles", folder / "edgec_toaster-1.0.dist-info"
    profiles.mkdir(parents=True)
    metadata.mkdir()
    (folder / "edgec_toaster" / "__init__.py").write_text("")
    (folder / "edgec_toaster" / "backend.py").write_text(BACKEND)
    device = folder / "edgec_toaster" / "device"
    (device / "toast").mkdir(parents=True)
    (device / "__main__.py").write_text(MAIN)
    (device / "toast" / "__init__.py").write_text("")
    (device / "toast" / "slots.py").write_text(SLOTS)
    (profiles / "toaster-mini.toml").write_text(PROFILE)
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    (metadata / "METADATA").write_text(METADATA)
    save_checkpoint(folder / "checkpoint")
    draw_pictures(folder / "frames")
    request = BuildRequest(str(folder / "checkpoint"), calibration=str(folder / "frames"), size=Size(32, 48))
    export_into(folder / "cache", request)
    return folder


def run(installed: Path, *commands: tuple[str, ...]) -> str:
    """What these commands print, one after another in a process of their own."""
    paths = os.pathsep.join([str(installed), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {"PYTHONPATH": paths, "EDGEC_CACHE_DIR": str(installed / "cache")}
    code = f"import sys; from edgec.cli import run; sys.exit(any([run(list(each)) for each in {commands!r}]))"
    done = python(code, cwd=installed, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_listed_and_shown(installed: Path) -> None:
    printed = run(installed, ("targets", "list"), ("targets", "show", "toaster-mini"))
    assert "toaster is toaster-mini in one artefact." in printed
    assert "slots" in printed


@pytest.mark.parametrize("target", ["toaster", "toaster-mini"])
def test_it_builds_and_is_verified(installed: Path, target: str) -> None:
    asked = ("--target", target, "--calibration", "frames", "--input-size", "32x48", "--output", f"{target}.edgec")
    run(installed, ("build", "checkpoint", *asked), ("verify", f"{target}.edgec"))
    artefact = installed / f"{target}.edgec"
    report = json.loads((artefact / "report.json").read_text())
    assert report["target"] == "toaster-mini"
    assert report["reason"] == "It fits 2 slots."
    assert report["notes"][0] == "Nothing was measured: it was toasting."
    assert report["candidates"][0]["latency"] is None
    assert (artefact / "device" / "toaster.txt").read_text() == "2 slots"


def test_its_program_runs_from_the_artefact_and_decides_the_build(installed: Path) -> None:
    """It carries what is common to all boards; with other sources the artefact is built again."""
    build = ("build", "checkpoint", "--target", "toaster", "--calibration", "frames", "--input-size", "32x48")
    run(installed, (*build, "--output", "one.edgec"))
    program = installed / "one.edgec" / "device" / "toast.pyz"
    done = subprocess.run([sys.executable, "-I", program], capture_output=True, text=True, timeout=60, check=True)
    listed = json.loads((installed / "one.edgec" / "manifest.json").read_text())["files"]
    (sha256,) = (file["sha256"] for file in listed if file["path"] == "device/toast.pyz")
    assert done.stdout == f"2 slots {sha256}\n"
    source = installed / "edgec_toaster" / "device" / "toast" / "slots.py"
    source.write_text(SLOTS + "# other\n")
    try:
        run(installed, (*build, "--output", "other.edgec"))
    finally:
        source.write_text(SLOTS)
    keys = {json.loads((installed / name / "manifest.json").read_text())["build_key"] for name in ("one.edgec", "other.edgec")}
    assert len(keys) == 2


def test_a_family_whose_name_means_no_target_says_what_to_name() -> None:
    class Kettle(Backend):
        name, profile_type, note = "kettle", Profile, ""

        def choose(self, *_: object) -> None:  # type: ignore[override]
            raise AssertionError("nothing is built")

    profile = Profile(name="kettle-mini", family="kettle", title="A kettle", architecture="aarch64", precisions={"fp32": ("x",)})
    for profiles, evidence in (((profile,), "kettle-mini"), ((), "it has no profile")):
        with pytest.raises(TargetError, match="does not say which of them") as caught:
            Kettle().best(profiles, facts())
        assert caught.value.evidence == (evidence,)
        assert "name one of these" in caught.value.remedy
