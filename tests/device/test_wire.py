"""The standard input as `edgec deploy` holds it (`--bundle -`), without a network in between."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.device.robot import SECONDS, Robot, interpreter

SILENT = """
import sys, time
sys.path.insert(0, sys.argv[1])
from edgec_device import wire
from edgec_onboard.errors import Interrupted
wire.SILENCE_S = 1
line = wire.Wire()
line.watch()
began = time.monotonic()
try:
    time.sleep(30)
except Interrupted as interruption:
    print(interruption.exit_code, round(time.monotonic() - began))
"""


@pytest.mark.parametrize(("beats", "seconds"), [(0, 1), (2, 2)])
def test_silence_ends_the_run(program: Path, beats: int, seconds: int) -> None:
    """As when a network goes away without a word: the input neither ends nor says anything."""
    python = interpreter("3.8") or sys.executable
    process = subprocess.Popen(
        [python, "-c", SILENT, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdin is not None
    for _ in range(beats):
        time.sleep(0.8)
        process.stdin.write("\n")
    assert process.wait(SECONDS) == 0
    assert process.stdout is not None
    code, took = process.stdout.read().split()
    process.stdin.close()
    process.stdout.close()
    assert code == "129"
    assert int(took) >= seconds


def test_the_end_of_the_input_ends_a_wait_for_the_lock(robot: Robot) -> None:
    robot.run("install")
    holder = robot.start("build", STANDIN_BUILDING="20")
    assert holder.stdout is not None
    holder.stdout.readline()
    document = (robot.bundle / "device" / "bundle.json").read_bytes()
    command = [*robot.command("run-all", "--json")]
    command[command.index("--bundle") + 1] = "-"
    process = subprocess.Popen(
        command, env=robot.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.write(b"%d\n" % len(document) + document)
    process.stdin.flush()
    assert process.stdout is not None
    assert b"waiting for process" in process.stdout.readline()
    process.stdin.close()
    assert process.wait(SECONDS) == 129
    holder.terminate()
    holder.communicate(timeout=SECONDS)
    for pipe in (process.stdout, process.stderr):
        assert pipe is not None
        pipe.close()


@pytest.mark.parametrize("said", [b"", b"hello\n", b"12\n{}", b"2\n{}", b"3\nabc", b"99999999\n", b"4\nnull"])
def test_an_input_that_is_not_a_bundle(robot: Robot, said: bytes) -> None:
    command = robot.command("run-all", "--json")
    command[command.index("--bundle") + 1] = "-"
    done = subprocess.run(command, env=robot.environment(), input=said, capture_output=True, timeout=SECONDS, check=False)
    assert done.returncode == (129 if said in (b"", b"12\n{}") else 8), done
    assert b"Traceback" not in done.stderr
    assert not robot.home.exists()
