"""Whatever ends a deployment in the middle: nothing keeps running on the board, and the same command goes on from there."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.boards.conftest import Said
from tests.boards.loopback import NAME, SECONDS, Board, gone, write_manifest
from tests.device.robot import check_whole
from tests.support.commands import command, environment
from tests.support.processes import running

PADDING = 24 << 20
DROP = """
import os, select, socket, sys
left = int(sys.argv[1])
wire = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
while left > 0:
    for ready in select.select([0, wire], [], [])[0]:
        block = os.read(0, 65536) if ready == 0 else wire.recv(65536)
        if not block:
            raise SystemExit
        if ready == 0:
            left -= len(block)
            wire.sendall(block)
        else:
            os.write(1, block)
"""
"""A way to the board that is cut after so many bytes."""


@pytest.fixture
def large(artefact: Path) -> Path:
    """With one file that takes a while."""
    said = artefact / "device" / "bundle.json"
    (artefact / "golden" / "padding.bin").write_bytes(os.urandom(PADDING))
    write_manifest(artefact)
    files = {each["path"]: each for each in json.loads((artefact / "manifest.json").read_text())["files"]}
    document = json.loads(said.read_text())
    document["files"].append(files["golden/padding.bin"])
    said.write_text(json.dumps(document))
    return write_manifest(artefact)


def unlocked(board: Board) -> bool:
    with (board.root / ".lock").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def wait_for_lock(board: Board) -> None:
    deadline = time.monotonic() + 10
    while not unlocked(board):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_interrupted_copy_continues(board: Board, large: Path, say: Said, tmp_path: Path) -> None:
    (tmp_path / "drop.py").write_text(DROP)
    proxy = f"ProxyCommand={sys.executable} {tmp_path / 'drop.py'} {PADDING // 2} {board.port}"
    code, _, err = say(board.deploy(large, "--ssh-option", proxy))
    assert code == 16
    assert "The connection to" in err
    assert "continues where it stopped" in err
    wait_for_lock(board)
    assert gone("/proc/self/fd", "run-all", seconds=5) == []
    (part,) = (board.root / NAME / "incoming").rglob("*.part")
    begun = part.stat().st_size
    assert 0 < begun < PADDING
    code, out, err = say(board.deploy(large, "--json"))
    assert code == 0, err
    (answer,) = json.loads(out)
    assert answer["copied"] == ["golden/padding.bin"]
    assert answer["copied_bytes"] == PADDING - begun
    check_whole(board.robot(large))
    assert not (board.root / NAME / "incoming").exists()


def test_a_damaged_partial_file_is_not_completed(board: Board, large: Path, say: Said, tmp_path: Path) -> None:
    """As after a power cut: the file is long enough, and its blocks never reached the disk."""
    (tmp_path / "drop.py").write_text(DROP)
    proxy = f"ProxyCommand={sys.executable} {tmp_path / 'drop.py'} {PADDING // 2} {board.port}"
    assert say(board.deploy(large, "--ssh-option", proxy))[0] == 16
    wait_for_lock(board)
    (part,) = (board.root / NAME / "incoming").rglob("*.part")
    part.write_bytes(b"\0" * part.stat().st_size)
    code, _, err = say(board.deploy(large))
    assert code == 0, err
    check_whole(board.robot(large))


@pytest.mark.parametrize("way", ["Ctrl-C", "killed", "connection"])
def test_an_interrupted_build(board: Board, artefact: Path, say: Said, way: str) -> None:
    board.told(STANDIN_BUILDING="30")
    process = subprocess.Popen(
        command(*board.deploy(artefact)),
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Shells start their background jobs deaf to Ctrl-C, CI's among them.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    mine = ("tests/device/trtexec", "--saveEngine", str(board.root))
    deadline = time.monotonic() + SECONDS
    while not running(*mine):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    if way == "connection":
        (master,) = (pid for pid in Path("/proc").glob("[0-9]*") if _is_master(pid, board))
        os.kill(int(master.name), signal.SIGKILL)
    else:
        process.send_signal(signal.SIGINT if way == "Ctrl-C" else signal.SIGKILL)
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == {"Ctrl-C": 130, "killed": -signal.SIGKILL, "connection": 16}[way], err
    assert "Traceback" not in err
    if way == "Ctrl-C":
        assert running(*mine) == [], "it has ended there before it ends here"
        assert unlocked(board)
    assert gone(*mine) == []
    assert gone("ssh", f"{board.port} ") == []
    wait_for_lock(board)
    board.told()
    code, _, err = say(board.deploy(artefact))
    assert code == 0, err
    check_whole(board.robot(artefact))


def _is_master(process: Path, board: Board) -> bool:
    try:
        command = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return command[0] == b"ssh" and str(board.port).encode() in command
