"""One connection to a board through the system's ssh, which everything that follows shares.

ssh itself asks for passwords and new host keys, on the terminal, and once: the first command stays open as the master of the
connection (ssh_config(5), ControlMaster), and others are only let through it. What a user has in ~/.ssh/config counts.

No text of ours becomes part of a remote command line: that is always the same, and starts a Python that reads from its standard
input what it is to run.
"""

from __future__ import annotations

import json
import os
import re
import selectors
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
from edgec.boards.ssh_errors import connecting_failed, misbehaves, no_python, no_ssh, old_python
from edgec.errors import BoardError, RequestError

OLDEST_PYTHON = (3, 8)
TICK_S = 0.2
_GREETING = re.compile(rb"^edgec-board ([0-9]{1,4}) ([0-9]{1,4}) ([0-9]{1,4})\r?\n", re.MULTILINE)
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
_OPTION = re.compile(r"\s*[A-Za-z][A-Za-z0-9]*\s*[=\s]\s*\S")
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
BATCH_PATIENCE_S, ASKING_PATIENCE_S = 60.0, 900.0
"""From starting ssh to Python's first word, where nobody can be asked for a password, and where somebody can."""
_END_S = 3.0
MOST_NOISE = 1 << 16
"""Bytes that login shells may say before it, on either of their streams."""
_LOG_BYTES = 1 << 16
_LONGEST_OPTION = 4096


@dataclass(frozen=True)
class SshOptions:
    """`options` are ssh's own, `NAME=VALUE`, and come before ours. `ask`: ssh may ask for things on the terminal."""

    identity: Path | None = None
    options: tuple[str, ...] = ()
    ask: bool = False

    def __post_init__(self) -> None:
        """Raises `RequestError` for what can be no option of ssh's."""
        for option in self.options:
            if not _OPTION.match(option) or len(option) > _LONGEST_OPTION or not option.isprintable():
                raise RequestError(
                    f"{ascii(option)[:60]} is no option of ssh's.",
                    remedy="give NAME=VALUE to --ssh-option, as ssh_config(5) lists them",
                )


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
            self._log = self._folder / "log"
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

    def wanted(self) -> bool:
        """Whether nobody has asked to stop."""
        return not self._stop.is_set()

    def log(self) -> list[str]:
        """What ssh itself had to say, the end of it."""
        try:
            with self._log.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _LOG_BYTES))
                return file.read(_LOG_BYTES).decode("utf-8", "replace").splitlines()
        except OSError:
            return []

    @property
    def _socket(self) -> Path:
        return self._folder / "s"

    def _start_master(self) -> subprocess.Popen[bytes]:
        asked = self._options
        settings = [*asked.options, *(f"{name}={value}" for name, value in _OWN.items()), f"ControlPath={self._socket}"]
        settings += [] if asked.ask else ["BatchMode=yes"]
        settings += [] if asked.identity is None else ["IdentitiesOnly=yes"]
        command = ["ssh", *(part for setting in settings for part in ("-o", setting)), "-T", "-E", str(self._log)]
        # Absolute: ssh would take what begins with ~ for somebody's home.
        command += [] if asked.identity is None else ["-i", str(asked.identity.absolute())]
        command += [] if self.address.port is None else ["-p", str(self.address.port)]
        command += ["--", self.address.destination, f"exec python3 -c {shlex.quote(_HELLO)}"]
        # Its standard error is the board's to write to, and no board writes to the terminal itself. Questions are asked there all
        # the same: for them ssh opens the terminal, in whose foreground it is where it may ask.
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=not asked.ask,
        )

    def _greet(self) -> None:
        """Wait for Python's first word; login shells may say things before it, but not without end. What comes after it nobody
        reads: the pipes fill, and ssh takes no more of it from the board."""
        master = self._master
        assert master.stdout is not None
        assert master.stderr is not None
        heard = {master.stdout.fileno(): b"", master.stderr.fileno(): b""}
        patience = ASKING_PATIENCE_S if self._options.ask else BATCH_PATIENCE_S
        deadline = time.monotonic() + patience
        greeting = None
        with selectors.DefaultSelector() as waiting:
            for pipe in (master.stdout, master.stderr):
                waiting.register(pipe, selectors.EVENT_READ)
            while greeting is None:
                if self._stop.is_set():
                    raise KeyboardInterrupt
                out, errors = heard.values()
                if time.monotonic() > deadline:
                    late = [f"it did not answer within {patience:.0f} s", *_lines(errors), *_lines(out), *self.log()]
                    raise connecting_failed(self.address, late)
                if max(len(out), len(errors)) > MOST_NOISE:
                    said = f"it said {MOST_NOISE:,} bytes of something else before it started a program"
                    raise misbehaves(self.address, [said, *_lines(out or errors)[-3:]])
                if not waiting.get_map():
                    raise self._refused(out, errors)
                for key, _ in waiting.select(TICK_S):
                    block = os.read(key.fd, 4096)
                    heard[key.fd] += block
                    if not block:
                        waiting.unregister(key.fileobj)
                greeting = _GREETING.search(heard[master.stdout.fileno()])
        numbers = tuple(map(int, greeting.groups()))
        self.python = ".".join(map(str, numbers))
        if numbers < OLDEST_PYTHON:
            raise old_python(self.address, self.python, OLDEST_PYTHON)

    def _refused(self, heard: bytes, errors: bytes) -> BoardError:
        """Once its standard output has ended."""
        try:
            code = self._master.wait(_END_S)
        except subprocess.TimeoutExpired:
            return misbehaves(self.address, ["it closed its output and goes on", *_lines(errors), *self.log()])
        if code in (255, -2):
            return connecting_failed(self.address, [*_lines(errors), *self.log()])
        return no_python(self.address, code, [*_lines(errors), *_lines(heard)])

    def _close(self) -> None:
        """The end of its input ends the Python that holds the connection open, and with it the connection."""
        assert self._master.stdin is not None
        assert self._master.stdout is not None
        assert self._master.stderr is not None
        self._master.stdin.close()
        try:
            self._master.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._master.kill()
            self._master.wait()
        self._master.stdout.close()
        self._master.stderr.close()


def boot(program: bytes, arguments: Sequence[str]) -> bytes:
    """What a Python that `Connection.start` started must read first, to become this program."""
    header = json.dumps([len(program), list(arguments)]).encode()
    return b"%10d" % len(header) + header + program


def _lines(said: bytes) -> list[str]:
    return said.decode("utf-8", "replace").splitlines()
