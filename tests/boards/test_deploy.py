"""`edgec deploy` to a board that is reached through a real OpenSSH server."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edgec.artefact.contents import build_manifest_files
from edgec.durable import sha256_of
from edgec.records.consistency import read_report
from edgec.records.evidence import Evidence
from edgec.records.manifest import MANIFEST
from tests.boards.conftest import Said
from tests.boards.loopback import NAME, Board, write_manifest
from tests.device.robot import check_whole, write_facts
from tests.support.forging import written


def test_the_first_one_ends_with_an_active_engine_and_a_report(board: Board, artefact: Path, say: Said) -> None:
    before = {path: path.read_bytes() for path in artefact.rglob("*") if path.is_file()}
    code, out, err = say(board.deploy(artefact))
    assert code == 0, err
    assert board.current is not None
    assert board.current.startswith("int8-")
    check_whole(board.robot(artefact))
    for line in ("copied 6 of 6 files", "build: TensorRT 10.3.0", "  int8: 0.3 MB", "verify: 2 golden frames", "p50 2."):
        assert line in err
    assert "int8 (chosen)" in out
    assert f"active on {board.address}: {board.root / NAME / 'current' / 'engine.plan'}" in out
    report = read_report(artefact.with_name(f"small.{board.label}.report.json"))
    assert report.chosen == "int8"
    assert report.artefact_sha256 == sha256_of(artefact / MANIFEST)
    assert not report.host_is_target
    found = [part.evidence for each in report.candidates for part in (each.latency, each.fidelity) if part is not None]
    assert set(found) == {Evidence.SIMULATED}, "a stand-in measures nothing on any target"
    chosen = report.candidates[0].latency
    assert chosen is not None
    assert chosen.power_mode == "15W"
    assert "--useCudaGraph" in chosen.flags
    assert chosen.power_mw["VDD_SOC"] == (1248.0, 1248.0)
    assert "--stronglyTyped" in report.candidates[0].build_flags
    details = json.loads(artefact.with_name(f"small.{board.label}.details.json").read_text())
    assert details["details"]["facts"]["jetpack"] == report.host.jetpack == "6.2"
    assert {path: path.read_bytes() for path in artefact.rglob("*") if path.is_file()} == before


@pytest.fixture
def deployed(deployed_root: Path, board: Board) -> Board:
    """An engine is active on it, of the very artefact."""
    shutil.copytree(deployed_root, board.root, symlinks=True)
    return board


def answers(say: Said, arguments: list[str], code: int = 0) -> list[dict[str, object]]:
    got, out, err = say([*arguments, "--json"])
    assert got == code, err
    found: list[dict[str, object]] = json.loads(out)
    return found


def test_the_same_again_copies_and_builds_nothing(deployed: Board, artefact: Path, say: Said) -> None:
    times = {path: path.stat().st_mtime_ns for path in deployed.root.rglob("*.plan")}
    deployed.told(STANDIN_FAULTS="crash")
    (answer,) = answers(say, deployed.deploy(artefact))
    assert answer["copied"] == []
    assert times
    assert {path: path.stat().st_mtime_ns for path in deployed.root.rglob("*.plan")} == times


def test_one_changed_file_is_copied_alone(deployed: Board, artefact: Path, say: Said) -> None:
    graph, said = artefact / "model" / "fp32.onnx", artefact / "device" / "bundle.json"
    content = graph.read_bytes()
    graph.write_bytes(content.replace(b"fp32", b"FP32"))
    assert graph.read_bytes() != content
    document = json.loads(said.read_text())
    document["build_key"] = "cd" * 32
    files = {file.path: file for file in build_manifest_files(artefact)}
    document["files"] = [files[entry["path"]].model_dump() for entry in document["files"]]
    said.write_text(json.dumps(document))
    (answer,) = answers(say, deployed.deploy(write_manifest(artefact)))
    assert answer["copied"] == ["model/fp32.onnx"]
    assert answer["copied_bytes"] == len(content)
    check_whole(deployed.robot(artefact))
    releases = deployed.root / NAME / "releases"
    assert {path.name[:16] for path in releases.iterdir()} == {"ab" * 8, "cd" * 8}
    assert (deployed.robot(artefact).release() / "model" / "fp32.onnx").read_bytes() == content


def test_a_damaged_file_on_the_board_is_copied_again(deployed: Board, artefact: Path, say: Said) -> None:
    (deployed.robot(artefact).release() / "golden" / "frames.npz").write_bytes(b"gone bad")
    (answer,) = answers(say, deployed.deploy(artefact))
    assert answer["copied"] == ["golden/frames.npz"]
    check_whole(deployed.robot(artefact))


def test_status_and_rollback(deployed: Board, artefact: Path, say: Said) -> None:
    code, out, _ = say(deployed.deploy(artefact, "--status"))
    assert code == 0
    assert "int8 is the fastest" in out
    code, _, err = say(deployed.deploy(artefact, "--rollback"))
    assert code == 14
    assert "nothing to roll back to" in err
    first = deployed.current
    assert deployed.robot(artefact).run("activate", "--variant", "fp16").code == 0
    code, out, _ = say(deployed.deploy(artefact, "--rollback"))
    assert code == 0
    assert f"back at {first}" in out
    assert deployed.current == first


# --- what may be wrong on the board


@pytest.fixture
def lived_in(lived_in_root: Path, board: Board) -> Board:
    """An engine of a TensorRT from before an upgrade is active on it."""
    shutil.copytree(lived_in_root, board.root, symlinks=True)
    return board


@pytest.mark.parametrize(
    ("told", "code", "evidence"),
    [
        ({"STANDIN_FAULTS": "garbage"}, 9, "must be at least"),
        ({"STANDIN_FAULTS": "nan"}, 9, "NaN or infinite"),
        ({"STANDIN_FAULTS": "crash"}, 10, "SIGSEGV"),
        ({"STANDIN_FAULTS": "hang@int8,crash@fp16,crash@fp32"}, 13, "printed nothing for"),
        ({"STANDIN_TENSORRT": "8.5.2"}, 12, "8.6 or newer"),
        ({"EDGEC_FACTS_ROOT": "thor"}, 5, "nvidia,p3834-0008"),
    ],
    ids=["garbage", "nan", "crash", "hang", "wrong TensorRT", "wrong board"],
)
def test_a_fault_ends_in_its_refusal_and_the_old_engine_stays(
    lived_in: Board, artefact: Path, say: Said, tmp_path: Path, told: dict[str, str], code: int, evidence: str
) -> None:
    active = lived_in.current
    assert active is not None
    if "EDGEC_FACTS_ROOT" in told:
        told = {"EDGEC_FACTS_ROOT": str(write_facts(tmp_path / "thor", ("nvidia,p3834-0008", "nvidia,tegra264")))}
    lived_in.told(**told)
    got, _, err = say(lived_in.deploy(artefact, *(["--patience", "1"] if code == 13 else [])))
    assert got == code, err
    assert evidence in err
    assert "To do: " in err
    assert lived_in.current == active
    check_whole(lived_in.robot(artefact))
    details = artefact.with_name(f"small.{lived_in.label}.details.json")
    assert details.exists() == (code in (9, 10, 13)), "what is known of a failure comes home, too"
    assert not details.with_name(f"small.{lived_in.label}.report.json").exists()


def test_a_full_disk(boards: Callable[[str], Board], lived_in_root: Path, artefact: Path, say: Said, small_disk: Path) -> None:
    board = boards("board")
    board.root.parent.mkdir(parents=True)
    board.root.symlink_to(small_disk)
    shutil.copytree(lived_in_root, board.root, symlinks=True, dirs_exist_ok=True)
    active = board.current
    board.told(STANDIN_FAULTS="disk-full@fp16")
    code, _, err = say(board.deploy(artefact))
    assert code == 11
    assert "no room left" in err
    assert board.current == active
    # Too full even for the copy: found before anything is sent.
    shutil.rmtree(board.root / NAME / "releases")
    (small_disk / "filler").write_bytes(b"\0" * int(shutil.disk_usage(small_disk).free - 300_000))
    code, _, err = say(board.deploy(artefact))
    assert code == 11
    assert "--dir" in err
    assert list((board.root / NAME / "incoming").rglob("*.part")) == []


def test_two_boards_of_which_one_fails(boards: Callable[[str], Board], artefact: Path, say: Said) -> None:
    bad, good = boards("bad"), boards("good")
    bad.told(STANDIN_FAULTS="garbage")
    code, out, err = say(["deploy", str(artefact), bad.address, good.address, *good.options])
    assert code == 9
    assert f"{bad.address}: No engine reproduces the golden features" in err
    assert f"{good.address}: build: TensorRT" in err
    rows = [line.split() for line in out.splitlines() if line.startswith("ssh://")]
    assert rows[0][:4] == [bad.address, "-", "-", "failed"]
    assert [(row[0], row[4]) for row in rows[1:]] == [(good.address, "int8"), (good.address, "fp16")]
    assert rows[1][1:4] == ["tensorrt", "10.3.0", "15W"]
    assert good.current is not None
    assert bad.current is None
    assert artefact.with_name(f"small.{good.label}.report.json").exists()
    assert not artefact.with_name(f"small.{bad.label}.report.json").exists()


def test_folders_with_odd_names(board: Board, artefact: Path, say: Said) -> None:
    place = board.folder / 'it\'s "odd" $(touch x); é'
    code, _, err = say(board.deploy(artefact, "--dir", place))
    assert code == 0, err
    assert (place / NAME / "current" / "engine.plan").is_file()
    assert not board.root.exists()


# --- what may be wrong with the artefact


def test_an_artefact_that_no_board_can_finish(artefact: Path, say: Said) -> None:
    shutil.rmtree(artefact / "device")
    (artefact / "device").mkdir()
    code, _, err = say(["deploy", str(artefact), "robot@nowhere"])
    assert code == 8
    assert "missing: device/bundle.json" in err
    manifest = json.loads((artefact / "manifest.json").read_text())
    manifest["files"] = [file for file in manifest["files"] if not file["path"].startswith("device/")]
    (artefact / "manifest.json").write_text(written(manifest))
    code, _, err = say(["deploy", str(artefact), "robot@nowhere"])
    assert code == 5
    assert "nothing to deploy" in err
