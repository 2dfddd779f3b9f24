"""Releases through the real RAUC and SWUpdate: good ones, a bad one, and what nobody trusts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.ota.interruptions import TOOLS, Updates
from benchmarks.ota.releases import BAD, NAME, NEW, OLD, Releases, debians_programs
from benchmarks.ota.robot import Ended, Robot
from edgec.bundle.ota.packer import Payload, Wish
from edgec.bundle.ota.registry import PACKERS
from edgec.bundle.release import Naming, release_of

Forms = Callable[..., Path]


def form(folder: Path, version: str, tool: str) -> Path:
    return folder / f"{NAME}-{version}{TOOLS[tool]}"


def state(robot: Robot) -> dict[str, bytes]:
    """What the board's program installed, and the links in it."""
    root = robot.data / "edgec"
    return {
        path.relative_to(root).as_posix(): str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        for path in root.rglob("*")
        if path.is_symlink() or (path.is_file() and path.name != ".lock")
    }


def said(ended: Ended) -> str:
    """What programs said, without what RAUC and SWUpdate put before each line."""
    before = r"^(# |\[\w+ *\] : SWUPDATE .*?(read_lines_notify\] : | : \d+ : ))"
    return " ".join(re.sub(before, "", ended.output, flags=re.MULTILINE).split())


def board_was_asked(ended: Ended) -> bool:
    """Whether the tool called what the image has for releases."""
    return "install handler: /usr/lib/edgec" in ended.output or "edgec.sh postinst" in ended.output


def check_refused(robot: Robot, ended: Ended, version: str = OLD) -> None:
    assert ended.code not in (0, 99), ended.output
    assert robot.active() == version
    assert not (robot.data / "edgec" / "update.json").exists(), ended.output


def test_a_good_release_is_active_afterwards(updates: Updates) -> None:
    robot = updates.updated
    assert robot.active() == NEW
    answer = robot.program("status", "--json")
    (status,) = (event for event in map(json.loads, answer.output.splitlines()) if event["event"] == "status")
    assert status["state"] == "verified"
    assert status["current"]["release"]["version"] == NEW
    assert not (robot.data / "edgec" / "update.json").exists()
    assert not list((robot.data).glob("edgec-ota/*")), "the file that SWUpdate wrote is removed"


def test_an_engine_that_computes_something_else_is_taken_back(updates: Updates, forms: Forms) -> None:
    with updates.robot() as robot:
        ended = robot.install(updates.tool, form(forms(BAD), BAD, updates.tool))
        check_refused(robot, ended)
        assert "No engine reproduces the golden features" in said(ended)
        assert robot.program("health").code == 0


def test_the_robots_own_check_counts(updates_by: Callable[[str], Updates]) -> None:
    """Its exit code is the update's; the old release is active again."""
    updates = updates_by("swupdate")
    with updates.robot() as robot:
        robot.configure('EDGEC_CHECK="test -e /nothing"\n')
        ended = robot.install("swupdate", updates.file)
        check_refused(robot, ended)
        assert "the new release is not used (code 1)" in said(ended)


def test_an_older_release_is_refused(updates: Updates) -> None:
    robot = updates.updated
    before = state(robot)
    ended = robot.install(updates.tool, updates.old_file)
    check_refused(robot, ended, NEW)
    assert "at least 1000001000000 is asked for" in said(ended)
    assert state(robot) == before


@pytest.mark.parametrize("where", [0.3, 0.5, 0.9])
def test_a_changed_file_for_the_tool_is_refused(updates: Updates, where: float, tmp_path: Path) -> None:
    content = bytearray(updates.file.read_bytes())
    content[int(where * len(content))] ^= 1
    changed = tmp_path / updates.file.name
    changed.write_bytes(content)
    with updates.robot() as robot:
        before = state(robot)
        ended = robot.install(updates.tool, changed)
        check_refused(robot, ended)
        assert not board_was_asked(ended), "the tool itself refuses it"
        assert state(robot) == before


def test_the_tools_key_counts(updates: Updates, forms: Forms) -> None:
    with updates.robot() as robot:
        ended = robot.install(updates.tool, form(forms(NEW, foreign_tool=True), NEW, updates.tool))
        check_refused(robot, ended)
        assert not board_was_asked(ended), "the tool itself refuses it"


def test_the_tools_key_is_not_enough(updates: Updates, forms: Forms) -> None:
    """Signed for the tool as it should be; the release in it by somebody whom the robot does not trust."""
    with updates.robot() as robot:
        ended = robot.install(updates.tool, form(forms(NEW, foreign=True), NEW, updates.tool))
        check_refused(robot, ended)
        assert "which is not trusted" in said(ended)


def test_a_changed_release_is_refused_though_the_tool_accepts_it(
    updates: Updates, releases: Releases, forms: Forms, tmp_path: Path
) -> None:
    whole = forms(NEW) / f"{NAME}-{NEW}.edgec-bundle"
    content = bytearray(whole.read_bytes())
    content[len(content) // 2] ^= 1
    changed = tmp_path / whole.name
    changed.write_bytes(content)
    pair = releases.pair(updates.tool)
    wish = Wish(PACKERS[updates.tool], {"key": pair.key, "certificate": pair.certificate, "format": "plain"})
    with debians_programs(releases.folder), updates.robot() as robot:
        file = wish.pack(Payload(changed, release_of(whole, Naming())), whole, tmp_path)
        ended = robot.install(updates.tool, file)
        check_refused(robot, ended)
        assert board_was_asked(ended)
        assert "is not as it was signed" in said(ended)
