"""How long a build is likely to take, from what this machine did before; and waiting for quiet."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from rich.progress import Task, TaskID

from edgec.cli.live import remaining
from edgec.frames import Frame, Split
from edgec.host.quiet import wait_for_quiet
from edgec.pace import FILE, UNKNOWN, Pace
from edgec.stages.bounding import FEWEST_FRAMES, fewer


def test_without_a_record_it_is_a_guess(tmp_path: Path) -> None:
    expected = Pace(tmp_path).expect({"reference": 1000})
    assert (expected.low_s, expected.high_s) == (1000 * UNKNOWN[0], 1000 * UNKNOWN[1])
    assert str(expected) == (
        "likely 5 s to 3 min (a guess: this machine has no record of such builds yet), less what is in the cache already"
    )


def test_what_stages_took_here_narrows_it(tmp_path: Path) -> None:
    pace = Pace(tmp_path)
    pace.record("reference", 100, 2)
    pace.record("reference", 1000, 40)
    pace.record("reference", 1, 1000)  # it took as long to begin
    again = Pace(tmp_path)
    assert again.range_of("reference") == again.range_of("another stage") == (0.02, 0.04)
    expected = again.expect({"reference": 6000, "fidelity": 1000}, (10, 20))
    assert [expected.low_s, expected.high_s] == pytest.approx([150, 300])
    assert str(expected).startswith("likely 2 min to 5 min (from builds on this machine before)")
    for _ in range(20):
        pace.record("reference", 100, 9)
    assert again.range_of("reference") == (0.09, 0.09), "only the latest count"


@pytest.mark.parametrize("content", [b"", b"[]", b'{"reference": 3}', b'{"reference": ["x", -1, 1e400]}', b"\xff"])
def test_a_damaged_record_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert Pace(tmp_path).range_of("reference") == UNKNOWN
    Pace(tmp_path / "no such folder").record("reference", 100, 1)


def test_a_heavy_model_is_judged_on_fewer_frames_and_says_what_that_costs() -> None:
    frames = tuple(Frame(str(number), "walk", number, lambda: None) for number in range(32))  # type: ignore[arg-type, return-value]
    split = Split((), frames)
    assert fewer(split, 57) is split
    some = fewer(split, 727)
    assert len(some.validation) == 13
    assert [frame.order for frame in some.validation] == sorted(frame.order for frame in some.validation)
    (note,) = some.notes
    assert note.startswith("judged on 13 of 32 validation frames, because a frame takes 727 GFLOPs")
    assert "2.5 times as long" in note
    assert len(fewer(split, 1e6).validation) == FEWEST_FRAMES


def test_measuring_says_that_other_work_takes_its_cores_and_waits_so_long() -> None:
    import os

    said: list[str] = []
    cores = os.cpu_count() or 1
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(cores)]
    try:
        at_once = wait_for_quiet(0, cores)
        waited = wait_for_quiet(0.6, cores, said.append)
    finally:
        for each in busy:
            each.kill()
            each.wait()
    for quiet in (at_once, waited):
        assert not quiet.reached
        assert "is not judged" in quiet.problem
        assert "--patience SECONDS" in quiet.problem
    assert said
    assert said[0].startswith("waiting for quiet: other work uses")
    assert wait_for_quiet(0, 0).logical_cores == cores


def test_a_bar_says_when_it_is_likely_to_be_full() -> None:
    column = remaining()
    task = Task(TaskID(0), "calibrate", 128, 0, _get_time=lambda: 30.0)
    task.start_time = 0.0
    assert str(column.render(task)) == "", "nothing is known yet"
    task.completed = 32
    assert str(column.render(task)) == "~1:31 left"
    task.total = None
    column = remaining()
    assert str(column.render(task)) == ""
