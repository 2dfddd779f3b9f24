"""`edgec deploy` and `bench --on` to machines with a CPU, over a real OpenSSH server, with real models of both runtimes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from edgec.building import BuildResult
from edgec.cli import run
from edgec.records.consistency import read_report
from edgec.records.evidence import Evidence
from tests.boards.loopback import Board
from tests.cpu_device.conftest import Boards
from tests.cpu_device.machines import check_whole, inodes, write_facts
from tests.device.robot import Robot
from tests.support.forging import edit, repair


def robot(board: Board, artefact: Path) -> Robot:
    """To look at what is on it."""
    return Robot(artefact, board.facts, board.root)


def test_this_machine_is_a_target(
    boards: Boards, at_home: BuildResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its own facts, so that what it measures is measured on the target. Then once more by `bench --on`."""
    artefact = Path(shutil.copytree(at_home.directory, tmp_path / "work" / "at-home.edgec"))
    board = boards("board", Path("/"))
    assert run([*board.deploy(artefact), "--json"]) == 0, capsys.readouterr().err
    (deployed,) = json.loads(capsys.readouterr().out)
    assert deployed["chosen"] == at_home.report.chosen
    assert {"device/edgec-cpu.pyz", "golden/frames.npz"} <= set(deployed["copied"])
    assert Path(deployed["active"]).is_file()
    report = read_report(Path(deployed["report"]))
    assert report.host_is_target
    (candidate,) = (each for each in report.candidates if each.chosen)
    assert candidate.latency is not None
    assert candidate.fidelity is not None
    assert {candidate.latency.evidence, candidate.fidelity.evidence} == {Evidence.TARGET}
    assert report.host.cpu == at_home.report.host.cpu
    assert report.host.versions[candidate.runtime].split(".")[0] == at_home.report.host.versions[candidate.runtime].split(".")[0]
    check_whole(robot(board, artefact))

    assert run(["bench", str(artefact), "--on", board.address, *board.options]) == 0
    assert f"{deployed['chosen']} (fastest)" in capsys.readouterr().out
    assert run([*board.deploy(artefact), "--status"]) == 0
    assert "verified, and unchanged since" in capsys.readouterr().out
    assert run([*board.deploy(artefact), "--rollback"]) == 14


def test_boards_choose_for_themselves_and_one_that_is_another_does_not_stop_them(
    boards: Boards, artefact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, old = boards("good"), boards("old", write_facts(tmp_path / "old-facts", "fpu"))
    assert run(["deploy", str(artefact), good.address, old.address, *good.options]) == 5
    said = capsys.readouterr()
    assert f"{old.address}: This bundle was built for a courier robot's PC" in said.err
    rows = [line for line in said.out.splitlines() if line.startswith("ssh://")]
    assert [row.split()[0] for row in rows[:-1]] == [good.address] * (len(rows) - 1)
    assert len(rows) >= 3
    assert "failed" in rows[-1]
    assert next(row for row in rows if "(fastest)" in row).split()[1] in ("openvino", "onnxruntime")
    details = json.loads(artefact.with_name(f"foreign.{good.label}.details.json").read_text())
    assert len(details["candidates"]) == len(rows) - 1
    (release,) = (robot(good, artefact).home / "releases").iterdir()
    files = json.loads((release / "device" / "bundle.json").read_text())["files"]
    assert len(inodes(release)) == len({file["sha256"] for file in files}) + 1, "equal files were sent once, and are links"
    check_whole(robot(good, artefact))
    assert not old.root.exists() or not list(old.root.glob("*/current"))

    # A model rots there. On the board it is a link into its release: both have changed.
    there = robot(good, artefact)
    model = next(path for path in (there.home / "current").iterdir() if path.suffix in (".bin", ".onnx"))
    raw = bytearray(model.read_bytes())
    raw[len(raw) // 2] ^= 1
    model.write_bytes(raw)
    assert run(["bench", str(artefact), "--on", good.address, *good.options]) == 8
    assert "changed since it was verified" in capsys.readouterr().err

    # One file of the artefact differs. That and the model are sent, and nothing else.
    golden = artefact / "golden" / "expected_float32.npz"
    golden.write_bytes(golden.read_bytes() + b"\0")
    edit(artefact / "device" / "bundle.json", lambda bundle: bundle.update(build_key="cd" * 32))
    edit(artefact / "manifest.json", lambda manifest: manifest.update(build_key="cd" * 32))
    repair(artefact)
    assert run([*good.deploy(artefact), "--json"]) == 0, capsys.readouterr().err
    (again,) = json.loads(capsys.readouterr().out)
    assert "golden/expected_float32.npz" in again["copied"]
    assert len(again["copied"]) == 2, "equal files are sent once"
    assert again["copied_bytes"] == golden.stat().st_size + len(raw)
    shutil.rmtree(release)  # what has rotted is still there
    check_whole(there)
    assert run([*good.deploy(artefact), "--status"]) == 0
    assert "verified, and unchanged since" in capsys.readouterr().out
