"""Builds work side by side; who measures is alone. Processes of their own, as locks belong to processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from edgec.sweep.turns import Turns

WORKER = """
import sys, time
from pathlib import Path
from edgec.sweep.turns import Turns
place, name = Path(sys.argv[1]), sys.argv[2]
log = open(place / "log", "a", buffering=1)
with Turns(place / "turns") as turns:
    print("working", flush=True)
    sys.stdin.readline()
    for round in range(4):
        for _ in range(20):
            turns.pause()
            log.write(f"{name} works\\n")
            time.sleep(0.001)
        with turns.alone():
            turns.pause()
            log.write(f"{name} begins\\n")
            time.sleep(0.02)
            log.write(f"{name} ends\\n")
"""


def start(place: Path, name: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(place), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "working\n"
    return process


def test_no_other_works_while_one_measures(tmp_path: Path) -> None:
    """All work at once: each says so before any goes on."""
    processes = [start(tmp_path, name) for name in "abc"]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    lines = (tmp_path / "log").read_text().splitlines()
    measured = [place for place, line in enumerate(lines) if line.endswith("begins")]
    assert len(measured) == 12
    for place in measured:
        assert lines[place + 1] == lines[place].replace("begins", "ends")


def test_a_killed_process_releases_its_turn(tmp_path: Path) -> None:
    process = start(tmp_path, "a")
    process.kill()
    process.communicate(timeout=60)
    with Turns(tmp_path / "turns") as turns, turns.alone():
        assert start_fails_to_work(tmp_path)


def start_fails_to_work(place: Path) -> bool:
    code = "import sys\nfrom pathlib import Path\nfrom edgec.sweep.turns import Turns\nwith Turns(Path(sys.argv[1])): pass"
    try:
        subprocess.run([sys.executable, "-c", code, str(place / "turns")], timeout=2, check=True)
    except subprocess.TimeoutExpired:
        return True
    return False
