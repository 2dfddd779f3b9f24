"""Releases to several boards in waves, over a real OpenSSH server: to all of them, halted, continued, taken back."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

from tests.boards.loopback import SECONDS
from tests.device.robot import check_whole
from tests.fleet.conftest import Said, Start, events, renewed
from tests.support.commands import command, environment

SLOW = "int8=20,fp16=30,fp32=50"
"""Ten times as slow: whatever else this machine does meanwhile."""
ONE_AT_A_TIME = {"at_once": 1, "wave": "1,100%"}


def test_waves_reach_all_boards_and_the_first_one_first(
    fleet: Start, older_root: Path, work: Path, say: Said, tmp_path: Path
) -> None:
    boards = fleet(3, older_root)
    before = boards.current(1)
    toml = boards.write(tmp_path / "FLEET.toml", wave="1,100%")
    code, out, err = say("deploy", work, toml, "--json")
    assert code == 0, err
    assert [wave["boards"] for wave in events(out, "wave")] == [["r1"], ["r2", "r3"]]
    ended = {event["board"]: event for event in events(out, "board")}
    assert {event["state"] for event in ended.values()} == {"done"}
    assert ended["r1"]["before"] == before
    assert ended["r1"]["compared"] == ["fidelity is within the budget"]
    assert ended["r1"]["left_out"] == ["latency is not compared: the bundle has no measured latency of int8"]
    assert events(out, "end")[0]["status"] == "finished"
    for number in (1, 2, 3):
        assert boards.current(number) != before
        check_whole(boards.robot(number, work))
    code, out, _ = say("fleet", "rollouts", "--json")
    (rollout,) = json.loads(out)
    assert (rollout["status"], rollout["fleet"]) == ("finished", str(toml))
    # All of the fleet goes back, and one board of it is left where it is.
    code, out, err = say("fleet", "rollback", toml, "--tag", "odd")
    assert code == 0, err
    assert [boards.current(number) == before for number in (1, 2, 3)] == [True, False, True]
    assert f"back at {before}" in out


def test_boards_that_refuse_halt_it_and_the_same_command_goes_on(
    fleet: Start, ready_root: Path, newer: Path, work: Path, say: Said, tmp_path: Path
) -> None:
    boards = fleet(4, ready_root)
    before = boards.current(1)
    toml = boards.write(tmp_path / "FLEET.toml", **ONE_AT_A_TIME)
    shutil.rmtree(boards.root(2) / "small-jetson-64x96")  # nothing is built there, so that it can fail
    boards.told(2, STANDIN_FAULTS="crash")
    code, out, err = say("deploy", work, toml, "--json")
    assert code == 21, err
    assert {event["board"]: event["state"] for event in events(out, "board")} == {"r1": "done", "r2": "refused"}
    assert events(out, "halted")[0]["boards"] == 1
    assert "r2: trtexec failed" in err
    assert "edgec fleet rollback --rollout" in err
    assert [boards.current(number) == before for number in (1, 2, 3, 4)] == [False, False, True, True]

    other = renewed(Path(shutil.copytree(newer, tmp_path / "other" / "small.edgec")), "ef", "fp32")
    code, _, err = say("deploy", other, toml)
    assert code == 15
    assert "A rollout of small-jetson-64x96 cdcdcdcd is not finished" in err

    boards.told(2)
    first = (boards.root(1) / "small-jetson-64x96" / "history.json").stat().st_mtime_ns
    code, out, err = say("deploy", work, toml, "--json")
    assert code == 0, err
    assert [event["board"] for event in events(out, "board")] == ["r2", "r3", "r4"], "one that is done is not deployed to again"
    assert (boards.root(1) / "small-jetson-64x96" / "history.json").stat().st_mtime_ns == first
    assert events(out, "end")[0]["status"] == "finished"


def test_what_was_done_is_taken_back_by_itself_and_later_where_a_board_was_away(
    fleet: Start, ready_root: Path, work: Path, say: Said, tmp_path: Path
) -> None:
    boards = fleet(3, ready_root)
    before = boards.current(1)
    toml = boards.write(tmp_path / "FLEET.toml", **ONE_AT_A_TIME)
    boards.told(2, EDGEC_FACTS_ROOT=str(tmp_path))  # another machine
    taking = ("deploy", work, toml, "--take-back", "--json")
    assert say(*taking[:3], "--wave", "1")[0] == 0
    boards.cut(1)
    code, out, err = say(*taking)
    assert code == 21, err
    assert events(out, "end")[0]["status"] == "taking back"
    assert [boards.current(number) == before for number in (1, 2, 3)] == [False, True, True]
    boards.told(1)
    code, out, err = say(*taking)
    assert code == 21
    assert "is taken back" in err
    assert [(event["board"], event["state"]) for event in events(out, "board")] == [("r1", "taken back")]
    assert {boards.current(number) for number in (1, 2, 3)} == {before}
    code, out, _ = say(*taking[:3], "--wave", "1", "--json")  # another rollout, since that one is over
    (begun,) = events(out, "rollout")
    assert (code, begun["continued"]) == (0, False)
    assert say("fleet", "close", begun["id"])[0] == 0
    assert json.loads(say("fleet", "rollouts", "--json")[1])[-1]["status"] == "closed"
    assert say("fleet", "close", begun["id"])[0] == 2


def test_a_board_that_is_slower_than_the_bundle_says(
    fleet: Start, ready_root: Path, work: Path, say: Said, tmp_path: Path
) -> None:
    boards = fleet(2, ready_root)
    single = boards.write(tmp_path / "one.toml", [1])
    code, out, err = say("deploy", work, single, "--json")
    assert code == 0, err
    # The bundle's own figures, from a board of the same kind.
    shutil.copy(events(out, "board")[0]["report"], work / "report.json")
    boards.told(2, STANDIN_LATENCY=SLOW)
    code, out, err = say("deploy", work, boards.write(tmp_path / "two.toml", [2]), "--again")
    assert code == 21, err
    assert "r2: p50 is" in err
    assert "times the bundle's (95 %:" in err
    boards.told(2)
    code, out, err = say("deploy", work, tmp_path / "two.toml", "--json", "--slower-than", "1000", "--again")
    assert code == 0, err
    (board,) = events(out, "board")
    assert [words[:6] for words in board["compared"][1:]] == ["p50 is", "p99 is"]


def test_boards_that_cannot_be_reached_are_done_later(
    fleet: Start, ready_root: Path, work: Path, say: Said, tmp_path: Path
) -> None:
    boards = fleet(3, ready_root)
    toml = boards.write(tmp_path / "FLEET.toml", **ONE_AT_A_TIME)
    boards.cut(1)
    code, out, err = say("deploy", work, toml, "--json")
    assert code == 16
    assert [wave["boards"] for wave in events(out, "wave")] == [["r1"], ["r2"], ["r3"]], "the next one is the first instead"
    assert "1 of 3 boards could not be reached" in err
    boards.told(1)
    code, out, err = say("deploy", work, toml)
    assert code == 0, err
    assert "3 of 3 boards have" in out


def test_a_killed_workstation_goes_on_where_it_was(fleet: Start, ready_root: Path, work: Path, say: Said, tmp_path: Path) -> None:
    boards = fleet(3, ready_root)
    before = boards.current(1)
    shutil.rmtree(boards.root(2) / "small-jetson-64x96")
    boards.told(2, STANDIN_BUILDING="30")
    toml = boards.write(tmp_path / "FLEET.toml", **ONE_AT_A_TIME)
    process = subprocess.Popen(
        command("deploy", work, toml), env=environment(), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + SECONDS
    while (states := _states(tmp_path)) != ["done", "started", "waiting"]:
        assert process.poll() is None
        assert time.monotonic() < deadline, states
        time.sleep(0.05)
    code, _, err = say("deploy", work, toml)
    assert code == 15
    assert "Another process works on the rollout" in err
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert _states(tmp_path) == ["done", "started", "waiting"]
    boards.told(2)
    code, out, err = say("deploy", work, toml, "--json")
    assert code == 0, err
    (begun,) = events(out, "rollout")
    assert begun["continued"]
    assert [event["board"] for event in events(out, "board")] == ["r2", "r3"]
    assert events(out, "board")[0]["before"] is None, "what was active before it was interrupted counts"
    assert all(boards.current(number) not in (None, before) for number in (1, 2, 3))
    check_whole(boards.robot(2, work))
    # What was active before a board was changed is what it goes back to; where nothing was, it keeps what it has.
    code, out, err = say("fleet", "rollback", "--rollout", begun["id"])
    assert code == 0, err
    assert [boards.current(number) == before for number in (1, 2, 3)] == [True, False, True]
    assert "nothing was active before: it keeps what it has" in out


def _states(folder: Path) -> list[str]:
    for path in (folder / "state" / "rollouts").glob("[!.]*.json"):
        return [board["state"] for board in json.loads(path.read_text())["boards"].values()]
    return []


def test_options_that_make_no_sense(older: Path, say: Said, tmp_path: Path) -> None:
    toml = tmp_path / "FLEET.toml"
    toml.write_text('name = "fleet"\nboards = ["robot@nowhere"]\n')
    for arguments, words in (
        (["robot@nowhere", "--halt-at", "2"], "--halt-at: for a rollout alone"),
        (["robot@nowhere", "--tag", "x"], "--tag chooses boards of a FLEET.toml"),
        ([toml, "--status"], "edgec fleet status FLEET.toml"),
        ([toml, "--port", "22"], "is in its file"),
        ([toml, "robot@nowhere"], "stands alone"),
        ([toml, "--wave", "10%,1%"], "are not waves"),
        ([toml, "--tag", "x"], "has no tag x"),
    ):
        code, _, err = say("deploy", older, *arguments)
        assert code == 2, err
        assert words in err
    code, _, err = say("fleet", "rollback")
    assert code == 2
