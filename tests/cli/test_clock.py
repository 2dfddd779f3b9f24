"""A robot's clock begins in 1970, and jumps when it meets a network: what is built, measured and written is the same."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edgec.cache import LAYOUT
from edgec.durable import sha256_of
from tests.support.commands import edgec
from tests.support.watch import compiled

Said = Callable[..., tuple[int, str, str]]
CLOCKS = {
    "1970": {"CLOCK_SHIFT": "-1796000000"},
    "2200": {"CLOCK_SHIFT": "5500000000"},
    "jumps": {"CLOCK_SHIFT": "900000000", "CLOCK_JUMPS": "1"},
}
"""Python itself ends with the year 2262."""
EXPORTED = ("hub", "reference", "hub-fidelity")
"""The stages that import PyTorch."""


@pytest.fixture(scope="session")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = compiled("clock", tmp_path_factory.mktemp("clock"))
    if made is None:
        pytest.skip("there is no C compiler")
    return made


def build_command(workplace: Path) -> list[str | Path]:
    """In a precision that is chosen whatever was measured."""
    asked = ["build", workplace / "checkpoint", "--calibration", workplace / "frames", "--target", workplace / "board.toml"]
    return [*asked, "--input-size", "32x48", "--precision", "fp32", "--iterations", "5", "-o", "made.edgec"]


def computed(artefact: Path) -> dict[str, str]:
    """All files but those that hold timings."""
    timed = ("report", "manifest.json", "explanation.json", "pareto.svg")
    files = {path.relative_to(artefact).as_posix(): path for path in artefact.rglob("*") if path.is_file()}
    return {name: sha256_of(path) for name, path in files.items() if not name.startswith(timed)}


@pytest.fixture(scope="module")
def usual(workplace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `made.edgec` and `cache`, as they are with the clock as it is. The graph, and what PyTorch computed, are
    those of `workplace`."""
    folder = tmp_path_factory.mktemp("usual")
    copy_stages(workplace / "cache", folder / "cache", *EXPORTED)
    done = edgec(*build_command(workplace), cwd=folder, cache=folder / "cache")
    assert done.returncode == 0, done.stderr
    return folder


def copy_stages(cache: Path, other: Path, *names: str) -> None:
    for name in names:
        shutil.copytree(cache / LAYOUT / name, other / LAYOUT / name)


@pytest.mark.parametrize("name", CLOCKS)
def test_nothing_depends_on_the_clock(name: str, clock: Path, usual: Path, workplace: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    # What was computed in another century is as good: the graph, which takes longest, is from there.
    copy_stages(usual / "cache", cache, *(EXPORTED if name != "jumps" else EXPORTED[:1]))
    env = {"LD_PRELOAD": str(clock), **CLOCKS[name]}
    frames, asked = workplace / "frames", build_command(workplace)
    commands: list[list[str | Path]] = [
        asked,
        asked,
        ["verify", "made.edgec"],
        ["bench", "made.edgec", "--iterations", "5", "--fps", "50", "--duration", "500ms", "--output", "bench.json"],
        ["run", "made.edgec", frames, "--fps", "100", "--features", "features.npz", "--output", "pictures"],
        ["run", "made.edgec", frames, "--features", "each"],
        ["compare", "made.edgec", "bench.json", "--anyway"],
    ]
    # A clock that jumps could disturb anything; one that is merely wrong, what is dated or compared by date.
    if name != "jumps":
        commands = [command for command in commands[1:] if command[0] != "run"]
    for command in commands:
        done = edgec(*command, cwd=tmp_path, cache=cache, env=env)
        assert done.returncode == 0, (command, done.stderr)
    assert "up to date" in edgec(*asked, cwd=tmp_path, cache=cache).stdout  # with the clock as it should be

    assert computed(tmp_path / "made.edgec") == computed(usual / "made.edgec")
    report = json.loads((tmp_path / "bench.json").read_bytes())
    [run] = report["candidates"][0]["runs"]
    assert 0.4 < run["seconds"] < 60
    assert 0 < run["latency"]["min_ms"] <= run["latency"]["max_ms"] < 60_000


@pytest.mark.parametrize("stamp", [-(2**31), 0, 2**31, 2**34 - 1])
def test_files_of_any_age_are_read_and_built_from(stamp: int, workplace: Path, tmp_path: Path, say: Said) -> None:
    place = Path(shutil.copytree(workplace, tmp_path / "place"))
    for path in sorted(place.rglob("*")):
        os.utime(path, (stamp, stamp))
    made = str(place / "made.edgec")
    for words in (
        ["inspect", str(place / "checkpoint"), "--input-size", "32x48"],
        ["calibration", "lint", str(place / "frames"), "--input-size", "32x48"],
        ["verify", made],
        ["explain", made],
        ["report", made, "-o", str(tmp_path / "page.html")],
        ["run", made, str(place / "frames"), "--limit", "2"],
    ):
        code, _, err = say(*words)
        assert code == 0, (words, err)
