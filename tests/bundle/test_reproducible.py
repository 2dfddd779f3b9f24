"""The same inputs give the same release, bit for bit: in another folder, at another time, as another user, in other words."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edgec.bundle.packing import make_bundle
from edgec.cli import run
from edgec.onboard.container import REPORT_SIGNATURE, SIGNATURE, Bundle, is_measurement
from tests.bundle.conftest import Key
from tests.support.files import save_checkpoint
from tests.support.frames import draw_pictures
from tests.support.models import SMALL

CANDIDATE = "openvino-int8-but-last-1"
SOMEBODY_ELSE = ("unshare", "--user", "--map-user=4321")
"""As a user who has another number and no name, though the same rights to files."""


@dataclass(frozen=True)
class Place:
    """Where, when and as whom a build runs."""

    folder: str
    umask: int
    before: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)


def _else() -> tuple[str, ...]:
    """Not every system lets a program do that."""
    try:
        done = subprocess.run([*SOMEBODY_ELSE, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        return ()
    return SOMEBODY_ELSE if done.returncode == 0 else ()


PLACES = (
    Place("here", 0o022, env={"LC_ALL": "C", "TZ": "UTC", "PYTHONHASHSEED": "1", "COLUMNS": "80"}),
    Place(
        "a longer path/with spaces", 0o077, _else(),
        {"LC_ALL": "C.UTF-8", "LANGUAGE": "de:fr", "TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "77", "COLUMNS": "190"},
    ),
)  # fmt: skip


def build(inputs: Path, root: Path, place: Place) -> Path:
    """In a process, a folder and a cache of its own, from a copy of the inputs. What ships is named: measuring could choose
    differently."""
    folder = root / place.folder
    shutil.copytree(inputs, folder)
    home = {"HOME": str(folder), "EDGEC_CACHE_DIR": str(folder / "cache"), "TMPDIR": str(folder)}
    arguments = ["build", "checkpoint", "--target", "cpu-x86-64", "--input-size", f"{SMALL.height}x{SMALL.width}"]
    arguments += ["--calibration", "frames", "--precision", "int8", "--min-fidelity", "0.9", "--iterations", "5"]
    arguments += ["--candidate", CANDIDATE, "-o", "robot.edgec"]
    done = subprocess.run(
        [*place.before, sys.executable, "-m", "edgec", *arguments],
        cwd=folder,
        env={**os.environ, **home, **place.env},
        umask=place.umask,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "robot.edgec"


def test_two_builds_give_the_same_release(
    key: Key, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path_factory.mktemp("places")
    save_checkpoint(root / "inputs" / "checkpoint")
    draw_pictures(root / "inputs" / "frames")
    bundles = [
        make_bundle(build(root / "inputs", root, place), root / str(number) / "robot-1.edgec-bundle", key.signer).path
        for number, place in enumerate(PLACES)
    ]
    assert run(["bundle", "diff", *map(str, bundles)]) == 0, capsys.readouterr().out
    contents = []
    for path in bundles:
        with Bundle(path) as source:
            names = [name for name in source.sizes if not is_measurement(name) and name not in (SIGNATURE, REPORT_SIGNATURE)]
            contents.append({name: b"".join(source.blocks(name)) for name in names})
    assert contents[0] == contents[1]
