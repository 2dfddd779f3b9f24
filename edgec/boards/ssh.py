"""One connection to a board through the system's ssh, shared by all commands for the board.

ssh itself asks for passwords and new host keys, on the terminal and only once: the first command stays open as the master of the
connection (ssh_config(5), ControlMaster), and the others go through it. The user's ~/.ssh/config applies.

The remote command line is always the same, so nothing in it needs quoting: it starts a Python that reads the program to run from
its standard input.
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
_BOOT = '''
import json, os, sys
def take(size):
    data = b""
    while len(data) < size:
        block = os.read(0, size - len(data))
        if not block:
            sys.exit(1)
        data += block
    return data
size, arguments = json.loads(take(int(take(10))).decode())
program = memoryview(take(size))
if hasattr(os, "memfd_create"):
    file = os.memfd_create("edgec", 0)
    start = ["/proc/self/fd/%d" % file]
else:
    import tempfile
    file, path = tempfile.mkstemp(prefix="edgec-")
    start = ["-c", """
import os, runpy, sys
path = sys.argv.pop(1)
sys.argv[0] = path
try:
    runpy.run_path(path, run_name="__main__")
finally:
    os.unlink(path)
""", path]
while program:
    program = program[os.write(file, program):]
os.execv(sys.executable, [sys.executable, "-I"] + start + arguments)
'''
"""Runs a program that is not stored on the board: first the program arrives, then what the program itself reads. It lies in
memory where the system can do that; macOS cannot, and there it is a file that only this user can read, which is removed at the
end."""
_OPTION = re.compile(r"\s*[A-Za-z][A-Za-z0-9]*\s*[=\s]\s*\S")
_SETTINGS = {
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
"""How long it may take from starting ssh to Python's first output, without and with questions for passwords."""
_END_S = 3.0
MOST_NOISE = 1 << 16
"""Bytes that login shells may print before that, on either stream."""
_LOG_BYTES = 1 << 16
_LONGEST_OPTION = 4096


@dataclass(frozen=True)
class SshOptions:
    """`options` are ssh's own, `NAME=VALUE`, and take precedence over edgec's. `ask`: ssh may ask questions on the terminal."""

    identity: Path | None = None
    options: tuple[str, ...] = ()
    ask: bool = False

    def __post_init__(self) -> None:
        """Raises `RequestError` for text that cannot be one of ssh's options."""
        for option in self.options:
            if not _OPTION.match(option) or len(option) > _LONGEST_OPTION or not option.isprintable():
                raise RequestError(
                    f"{ascii(option)[:60]} is not an option of ssh.",
                    remedy="give NAME=VALUE to --ssh-option, as ssh_config(5) lists them",
                )


class Connection:
    """A connection, open while entered. Entering raises `BoardError` if the board cannot be reached or has no Python that is new
    enough."""

    def __init__(self, address: Address, options: SshOptions, stop: threading.Event) -> None:
        self.address, self._options, self._stop = address, options, stop
        self.python = ""
        """The version on the board, such as 3.10.12."""

    def __enter__(self) -> Connection:
        if shutil.which("ssh") is None:
            raise no_ssh()
        # In /tmp, because a socket's path must be short and macOS's own temporary folder has a long one.
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
        """Start a Python on the board that waits for the output of `boot`. Ctrl-C does not reach it: the end of its input ends
        it."""
        through = ["-F", "none", "-S", str(self._socket), "-E", str(self._log)]
        # Without its master, ssh would open another connection and ask again.
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

    def in_use(self) -> bool:
        """Whether nobody has asked to stop."""
        return not self._stop.is_set()

    def log(self) -> list[str]:
        """The last lines that ssh itself printed."""
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
        options = self._options
        settings = [*options.options, *(f"{name}={value}" for name, value in _SETTINGS.items()), f"ControlPath={self._socket}"]
        settings += [] if options.ask else ["BatchMode=yes"]
        settings += [] if options.identity is None else ["IdentitiesOnly=yes"]
        command = ["ssh", *(part for setting in settings for part in ("-o", setting)), "-T", "-E", str(self._log)]
        # Absolute: ssh would expand a leading ~.
        command += [] if options.identity is None else ["-i", str(options.identity.absolute())]
        command += [] if self.address.port is None else ["-p", str(self.address.port)]
        command += ["--", self.address.destination, f"exec python3 -c {shlex.quote(_HELLO)}"]
        # Standard error is a pipe, because the board can write to it and must not write to the terminal. ssh still asks its
        # questions there: it opens the terminal itself, in whose foreground it is if it may ask.
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=not options.ask,
        )

    def _greet(self) -> None:
        """Wait for Python's first output. Login shells may print before it, up to a limit. What comes after it is never read: the
        pipes fill up, and ssh takes no more from the board."""
        master = self._master
        assert master.stdout is not None
        assert master.stderr is not None
        output = {master.stdout.fileno(): b"", master.stderr.fileno(): b""}
        patience = ASKING_PATIENCE_S if self._options.ask else BATCH_PATIENCE_S
        deadline = time.monotonic() + patience
        greeting = None
        with selectors.DefaultSelector() as selector:
            for pipe in (master.stdout, master.stderr):
                selector.register(pipe, selectors.EVENT_READ)
            while greeting is None:
                if self._stop.is_set():
                    raise KeyboardInterrupt
                out, errors = output.values()
                if time.monotonic() > deadline:
                    late = [f"it did not answer within {patience:.0f} s", *_lines(errors), *_lines(out), *self.log()]
                    raise connecting_failed(self.address, late)
                if max(len(out), len(errors)) > MOST_NOISE:
                    noise = f"it printed {MOST_NOISE:,} bytes before it started a program"
                    raise misbehaves(self.address, [noise, *_lines(out or errors)[-3:]])
                if not selector.get_map():
                    raise self._refused(out, errors)
                for key, _ in selector.select(TICK_S):
                    block = os.read(key.fd, 4096)
                    output[key.fd] += block
                    if not block:
                        selector.unregister(key.fileobj)
                greeting = _GREETING.search(output[master.stdout.fileno()])
        numbers = tuple(map(int, greeting.groups()))
        self.python = ".".join(map(str, numbers))
        if numbers < OLDEST_PYTHON:
            raise old_python(self.address, self.python, OLDEST_PYTHON)

    def _refused(self, output: bytes, errors: bytes) -> BoardError:
        """Why there was no greeting, once standard output has ended."""
        try:
            code = self._master.wait(_END_S)
        except subprocess.TimeoutExpired:
            return misbehaves(self.address, ["it closed its output but did not end", *_lines(errors), *self.log()])
        if code in (255, -2):
            return connecting_failed(self.address, [*_lines(errors), *self.log()])
        return no_python(self.address, code, [*_lines(errors), *_lines(output)])

    def _close(self) -> None:
        """The end of its input ends the Python on the board, and with it the connection."""
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
    """What must be sent first to a Python that `Connection.start` started, to make it run this program."""
    header = json.dumps([len(program), list(arguments)]).encode()
    return b"%10d" % len(header) + header + program


def _lines(output: bytes) -> list[str]:
    return output.decode("utf-8", "replace").splitlines()
