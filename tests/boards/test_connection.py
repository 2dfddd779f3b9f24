"""Boards that cannot be reached, do not let one in, or are no boards: exit code 16, with what to do."""

from __future__ import annotations

import os
import pty
import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.boards.conftest import Said
from tests.boards.loopback import SECONDS, Board
from tests.support.commands import command, environment


def refused(board: Board) -> list[str]:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return ["--port", str(closed.getsockname()[1])]


def stranger(board: Board) -> list[str]:
    board.identity = "stranger"
    return []


def changed_host_key(board: Board) -> list[str]:
    board.know("other-host")
    return []


def unknown_host_key(board: Board) -> list[str]:
    board.know(None)
    return []


def no_python(board: Board) -> list[str]:
    board.told(PATH=str(board.folder / "nothing"))
    return []


def old_python(board: Board) -> list[str]:
    programs = board.folder / "old"
    programs.mkdir()
    (programs / "python3").write_text("#!/bin/sh\necho edgec-board 3 6 9\n")
    (programs / "python3").chmod(0o755)
    board.told(PATH=f"{programs}:/usr/bin:/bin")
    return []


def macos_own_python(board: Board) -> list[str]:
    """Before Apple's command line tools are installed."""
    programs = board.folder / "mac"
    programs.mkdir()
    (programs / "python3").write_text("#!/bin/sh\necho 'xcode-select: note: No developer tools were found' >&2\nexit 1\n")
    (programs / "python3").chmod(0o755)
    board.told(PATH=f"{programs}:/usr/bin:/bin")
    return []


def bad_option(board: Board) -> list[str]:
    return ["--ssh-option", "NoSuchThing=yes"]


Stage = Callable[[Board], list[str]]


@pytest.mark.parametrize(
    ("stage", "what", "remedy"),
    [
        (refused, "refuses connections", "--port"),
        (stranger, "does not let this user in", "--identity"),
        (changed_host_key, "shows another host key than before", "ssh-keygen -R '[127.0.0.1]:"),
        (unknown_host_key, "The host key of", "connect once by hand"),
        (no_python, "There is no python3", "apt-get install python3"),
        (old_python, "is too old", "JetPack 5"),
        (macos_own_python, "There is no python3", "xcode-select --install"),
        (bad_option, "ssh does not take these options", "--ssh-option"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_it_says_why_and_what_to_do(board: Board, artefact: Path, say: Said, stage: Stage, what: str, remedy: str) -> None:
    more = stage(board)
    arguments = board.deploy(artefact, *more)
    if stage is refused:
        arguments[2] = board.address.rpartition(":")[0]
    code, out, err = say(arguments)
    assert (code, out) == (16, "")
    assert what in err.splitlines()[0]
    assert any(line.startswith("  To do: ") and remedy in line for line in err.splitlines()), err
    assert not board.root.exists()


def test_an_unknown_host(artefact: Path, say: Said) -> None:
    code, _, err = say(["deploy", str(artefact), "robot@nowhere.invalid"])
    assert code == 16
    assert "There is no host called nowhere.invalid." in err


def test_addresses_that_ssh_would_take_for_options(artefact: Path, say: Said, tmp_path: Path) -> None:
    code, _, err = say(["deploy", str(artefact), "--", f"-oProxyCommand=touch {tmp_path / 'evil'}"])
    assert code == 2
    assert "not the address of a board" in err
    assert not (tmp_path / "evil").exists()


def test_a_machine_without_ssh(artefact: Path, say: Said, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = say(["deploy", str(artefact), "robot@orin"])
    assert code == 16
    assert "There is no ssh" in err


CONTROLLING = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_passphrase_is_asked_for_once(board: Board, artefact: Path, tmp_path: Path) -> None:
    """By ssh itself, on the terminal; everything after that goes through the same connection."""
    locked = tmp_path / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "open sesame", "-f", locked], check=True)
    allowed = board.folder / "authorized_keys"
    options = allowed.read_text().split(" ssh-ed25519 ")[0]
    allowed.write_text(f"{options} {locked.with_suffix('.pub').read_text()}")
    arguments = board.deploy(artefact, "--status")
    arguments[arguments.index("--identity") + 1] = str(locked)
    mine, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", CONTROLLING, *command(*arguments)],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, env=environment(TERM="xterm"),
    )  # fmt: skip
    os.close(theirs)
    said, asked, deadline = b"", 0, time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if not select.select([mine], [], [], 0.2)[0]:
            continue
        try:
            said += os.read(mine, 4096)
        except OSError:  # EIO: nobody holds the other end any more
            break
        found = len(re.findall(rb"Enter passphrase", said))
        if found > asked:
            asked = found
            os.write(mine, b"open sesame\n")
    os.close(mine)
    assert process.wait(timeout=SECONDS) == 0, said
    assert asked == 1
    assert b"none: nothing was activated yet" in said
