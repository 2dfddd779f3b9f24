"""Small campaigns of kills and of small disks, each in a process of its own, and that they would notice."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks import disturbed, small
from tests.conftest import ROOT
from tests.support.forks import Forks


def campaign(builders: Forks, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from benchmarks.__main__ import main; main()"
    return builders.edgec(*arguments, cwd=ROOT, cache=tmp_path / "cache", env={"TMPDIR": str(tmp_path)}, code=code)


def test_builds_that_are_killed(builders: Forks, tmp_path: Path) -> None:
    """With this seed both for a CPU, so that the undisturbed builds are made of one family: one interrupted, one killed."""
    done = campaign(builders, tmp_path, "kills", "--count", "2", "--seed", "196")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"2 kills in \d+ s: no problems", done.stdout)


def test_builds_on_small_disks(builders: Forks, tmp_path: Path) -> None:
    """With this seed both for a CPU: first the cache has too little room, then the output."""
    done = campaign(builders, tmp_path, "disk-full", "--count", "2", "--seed", "25")
    if "cannot be mounted here" in done.stderr:
        pytest.skip("needs the right to mount a small file system")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"2 small disks in \d+ s: no problems", done.stdout)


def test_differences_from_an_undisturbed_build_are_noticed(tmp_path: Path) -> None:
    small.prepare(tmp_path)
    made = tmp_path / "made.edgec"
    small.build(tmp_path, "jetson", made)
    manifest = json.loads((made / "manifest.json").read_text())
    place = object.__new__(disturbed.Workplace)
    place._references = {"jetson": disturbed.Reference(disturbed._hashes(made), disturbed._flat(manifest), (), 0, 0)}
    assert place.differs(made, "jetson") == ""
    other = Path(shutil.copytree(made, tmp_path / "other.edgec"))
    data = bytearray((other / "model" / "fp32.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (other / "model" / "fp32.onnx").write_bytes(data)
    assert "does not verify" in place.differs(other, "jetson")
    place._references["jetson"].manifest["build_key"] = "another"  # type: ignore[index]
    assert "another manifest" in place.differs(made, "jetson")
    (tmp_path / "cache" / "work" / "left").mkdir(parents=True)
    beside = tmp_path / "out"
    beside.mkdir()
    (beside / ".edgec-1.tmp").touch()
    assert disturbed.remains(beside, tmp_path / "cache") == [".edgec-1.tmp", "cache/work/left"]
