"""One connection to a board through the system's ssh, which everything that follows shares.

ssh itself asks for passwords and new host keys, on the terminal, and once: the first command stays open as the master of the
connection (ssh_config(5), ControlMaster), and others are only let through it. What a user has in ~/.ssh/config counts.

No text of ours becomes part of a remote command line: that is always the same, and starts a Python that reads from its standard
input what it is to run.
"""

from __future__ import annotations

import json
import select
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from edgec.boards.address import Address
from edgec.boards.ssh_errors import connecting_failed, no_python, no_ssh, old_python
from edgec.errors import BoardError

OLDEST_PYTHON = (3, 8)
TICK_S = 0.2
_GREETING = b"edgec-board "
_HELLO = "import sys; print('edgec-board', *sys.version_info[:3], flush=True); sys.stdin.read()"
_BOOT = """
import json, os, sys
def take(size):
    found = b""
    while len(found) < size:
        block = os.read(0, size - len(found))
        if not block:
            sys.exit(1)
        found += block
    return found
size, arguments = json.loads(take(int(take(10))).decode())
file = os.memfd_create("edgec", 0)
program = memoryview(take(size))
while program:
    program = program[os.write(file, program):]
os.execv(sys.executable, [sys.executable, "-I", "/proc/self/fd/%d" % file] + arguments)
"""
"""Runs a program that lies nowhere on the board: what it is comes first, then what it reads itself."""
_OWN = {
    "ConnectTimeout": "15",
    "ServerAliveInterval": "10",
    "ServerAliveCountMax": "3",
    "LogLevel": "INFO",
    "ControlMaster": "yes",
    "ControlPersist": "no",
    "ClearAllForwardings": "yes",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "PermitLocalCommand": "no",
    "RemoteCommand": "none",
    "RequestTTY": "no",
}
_BATCH_PATIENCE_S = 60.0
"""From starting ssh to Python's first word, where nobody can be asked for a password."""
_END_S = 3.0
_MOST_NOISE = 1 << 16


@dataclass(frozen=True)
class SshOptions:
    """`options` are ssh's own, `NAME=VALUE`, and come before ours. `ask`: ssh may ask for things on the terminal."""

    identity: Path | None = None
    options: tuple[str, ...] = ()
    ask: bool = False


class Connection:
    """Open while entered. Raises `BoardError` if the board cannot be reached or has no Python that is new enough."""

    def __init__(self, address: Address, options: SshOptions, stop: threading.Event) -> None:
        self.address, self._options, self._stop = address, options, stop
        self.python = ""
        """The board's, such as 3.10.12."""

    def __enter__(self) -> Connection:
        if shutil.which("ssh") is None:
            raise no_ssh()
        # A short path: sockets have no room for long ones, and macOS's own temporary folder is one.
        self._folder = Path(tempfile.mkdtemp(prefix="edgec-", dir="/tmp"))
        try:
            self._log, self._said = self._folder / "log", self._folder / "stderr"
            self._master = self._start_master()
            try:
                self._greet()
            except BaseException:
                self._close()
                raise
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> subprocess.Popen[bytes]:
        """A Python on the board that waits for what `boot` gives. Deaf to Ctrl-C: it is told to end by the end of its input."""
        through = ["-F", "none", "-S", str(self._socket), "-E", str(self._log)]
        # Without its master, ssh would connect anew, and ask again.
        settings = ["ControlMaster=no", "BatchMode=yes", "ProxyCommand=false"]
        arguments = [*through, *(part for setting in settings for part in ("-o", setting)), "-T", "--", "board"]
        return subprocess.Popen(
            ["ssh", *arguments, f"exec python3 -c {shlex.quote(_BOOT)}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )

    def log(self) -> list[str]:
        """What ssh itself had to say so far."""
        return _lines(self._log)

    @property
    def _socket(self) -> Path:
        return self._folder / "s"

    def _start_master(self) -> subprocess.Popen[bytes]:
        asked = self._options
        settings = [*asked.options, *(f"{name}={value}" for name, value in _OWN.items()), f"ControlPath={self._socket}"]
        settings += [] if asked.ask else ["BatchMode=yes"]
        settings += [] if asked.identity is None else ["IdentitiesOnly=yes"]
        command = ["ssh", *(part for setting in settings for part in ("-o", setting)), "-T", "-E", str(self._log)]
        command += [] if asked.identity is None else ["-i", str(asked.identity)]
        command += [] if self.address.port is None else ["-p", str(self.address.port)]
        command += ["--", self.address.destination, f"exec python3 -c {shlex.quote(_HELLO)}"]
        with self._said.open("wb") as said:
            # Where it may ask, it is in the terminal's foreground, and has its standard error for what is no question.
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if asked.ask else said,
                bufsize=0,
                start_new_session=not asked.ask,
            )

    def _greet(self) -> None:
        """Wait for Python's first word; login shells may say things before it."""
        assert self._master.stdout is not None
        heard, began = b"", time.monotonic()
        while True:
            if self._stop.is_set():
                raise KeyboardInterrupt
            late = not self._options.ask and time.monotonic() - began > _BATCH_PATIENCE_S
            ready = select.select([self._master.stdout], [], [], TICK_S)[0]
            block = self._master.stdout.read(1024) if ready else None
            if late or block == b"" or len(heard) > _MOST_NOISE:
                raise self._refused(heard, late=late)
            heard += block or b""
            greeting = next(
                (line for line in heard.splitlines(True) if line.startswith(_GREETING) and line.endswith(b"\n")), None
            )
            if greeting is not None:
                break
        numbers = greeting[len(_GREETING) :].split()
        self.python = b".".join(numbers).decode("ascii", "replace")
        if tuple(int(number) if number.isdigit() else 0 for number in numbers) < OLDEST_PYTHON:
            raise old_python(self.address, self.python, OLDEST_PYTHON)

    def _refused(self, heard: bytes, *, late: bool) -> BoardError:
        if late:
            return connecting_failed(self.address, ["it did not answer within a minute", *self.log()])
        code = self._master.wait()
        if code in (255, -2):
            return connecting_failed(self.address, [*_lines(self._said), *self.log()])
        return no_python(self.address, code, [*_lines(self._said), *heard.decode("utf-8", "replace").splitlines()])

    def _close(self) -> None:
        """The end of its input ends the Python that holds the connection open, and with it the connection."""
        assert self._master.stdin is not None
        assert self._master.stdout is not None
        self._master.stdin.close()
        try:
            self._master.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._master.kill()
            self._master.wait()
        self._master.stdout.close()


def boot(program: bytes, arguments: Sequence[str]) -> bytes:
    """What a Python that `Connection.start` started must read first, to become this program."""
    header = json.dumps([len(program), list(arguments)]).encode()
    return b"%10d" % len(header) + header + program


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
