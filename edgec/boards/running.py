"""Running the device program on a board, and being its lifeline: it ends when its input does, or falls silent."""

from __future__ import annotations

import os
import selectors
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgec.boards.events import Event, Reader, Wanted
from edgec.boards.ssh import TICK_S, Connection, boot
from edgec.boards.ssh_errors import connection_lost, ended_without_a_word
from edgec.errors import ArtefactError, EdgecError, of_exit_code

Listener = Callable[[Event], None]

_BEAT_S = 5.0
"""The device program waits 30 s (edgec_device/wire.py)."""
_FAREWELL_S = 10.0
"""From the end of its input to the program's: for ending trtexec."""
_FETCH_S = 120.0
_BLOCK = 1 << 18
_MOST_STDERR = 1 << 16
_SSH_FAILED = 255
_SIGNALLED = 128
_BUG = 70


@dataclass
class Outcome:
    """What a command ended with. `events` are the last of each kind, as they came; `done` the last of each step."""

    exit_code: int | None = None
    error: Event | None = None
    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    done: dict[str, Event] = field(default_factory=dict)
    stderr: bytes = b""
    noise: list[str] = field(default_factory=list)

    @property
    def refusal(self) -> EdgecError | None:
        """What the program gave up for, under the error of the same exit code; None if it did what it was to do."""
        event = self.error
        if event is None:
            return None
        kind = of_exit_code(event.exit_code or 0)
        what = event.what or "The board gave up without saying why."
        # What the program calls --root is --dir here.
        return kind(what, evidence=event.evidence, remedy=event.remedy.replace("--root", "--dir"))

    def words(self) -> list[str]:
        return [*self.noise, *self.stderr.decode("utf-8", "replace").splitlines()]


@dataclass(frozen=True)
class Command:
    """`program` is an archive of Python, `document` the bundle.json that it is about, `files` what it may ask for."""

    program: bytes
    arguments: Sequence[str]
    document: bytes
    files: Mapping[str, Path] = field(default_factory=dict)


def run(connection: Connection, command: Command, listener: Listener, stop: threading.Event) -> Outcome:
    """Run it to its end. `listener` gets every event as it comes.

    Raises `BoardError` if the connection is lost or the program breaks down; `ArtefactError` if the board asks for what the
    artefact has not. When `stop` is set the program is told to end, and `KeyboardInterrupt` is raised once it has.
    """
    opening = boot(command.program, command.arguments) + b"%d\n" % len(command.document) + command.document
    outcome = Outcome()
    process = connection.start()
    try:
        code = _Conversation(process, opening, command.files, outcome, listener, stop).hold()
    finally:
        _end(process)
    address, said = connection.address, outcome.words()
    if outcome.exit_code is None and (code == _SSH_FAILED or code < 0):
        raise connection_lost(address, [*connection.log(), *said])
    if outcome.exit_code is None or outcome.exit_code == _BUG or outcome.exit_code >= _SIGNALLED:
        raise ended_without_a_word(address, code if outcome.exit_code is None else outcome.exit_code, said)
    return outcome


def fetch(connection: Connection, path: str, most_bytes: int) -> bytes:
    """A file of the board's. Raises `BoardError` if it cannot be had, or is larger."""
    process = connection.start()
    assert process.stdin is not None
    try:
        program = b"import sys\nwith open(sys.argv[1], 'rb') as file:\n    sys.stdout.buffer.write(file.read(int(sys.argv[2])))\n"
        found, said = process.communicate(boot(program, [path, str(most_bytes + 1)]), timeout=_FETCH_S)
    except subprocess.TimeoutExpired:
        raise connection_lost(connection.address, connection.log()) from None
    finally:
        _end(process)
    if process.returncode == _SSH_FAILED:
        raise connection_lost(connection.address, connection.log())
    if process.returncode != 0 or len(found) > most_bytes:
        raise ended_without_a_word(connection.address, process.returncode, said.decode("utf-8", "replace").splitlines()[-1:])
    return found


class _Conversation:
    """Reads and writes at once, so that neither side ever waits for the other to listen."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        opening: bytes,
        files: Mapping[str, Path],
        outcome: Outcome,
        listener: Listener,
        stop: threading.Event,
    ) -> None:
        self._process, self._files, self._outcome, self._listener, self._stop = process, files, outcome, listener, stop
        self._reader = Reader()
        self._blocks: Iterator[bytes] = iter([opening])
        self._block = memoryview(b"")
        self._beaten = time.monotonic()
        self._leaving: float | None = None

    def hold(self) -> int:
        """Until the other side has nothing more to say; returns the exit code, negative for a signal."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        os.set_blocking(process.stdin.fileno(), False)
        with selectors.DefaultSelector() as waiting:
            waiting.register(process.stdout, selectors.EVENT_READ, self._hear)
            waiting.register(process.stderr, selectors.EVENT_READ, self._hear_stderr)
            listening = 2
            while listening:
                if self._leaving is None and (self._stop.is_set() or self._outcome.exit_code is not None):
                    self._hang_up(waiting)
                if self._leaving is not None and time.monotonic() > self._leaving:
                    break
                self._beat()
                self._mind_input(waiting)
                for key, _ in waiting.select(TICK_S):
                    if key.fileobj is process.stdin:
                        self._say(waiting)
                    elif not key.data(os.read(key.fd, _BLOCK)):
                        waiting.unregister(key.fileobj)
                        listening -= 1
        self._outcome.noise = self._reader.noise
        if self._stop.is_set():
            raise KeyboardInterrupt
        return 0 if listening else process.wait()

    def _hang_up(self, waiting: selectors.BaseSelector) -> None:
        self._leaving = time.monotonic() + _FAREWELL_S
        self._close_input(waiting)

    def _beat(self) -> None:
        if time.monotonic() - self._beaten >= _BEAT_S and not self._has_more():
            self._blocks = iter([b"\n"])
            self._beaten = time.monotonic()

    def _has_more(self) -> bool:
        """Makes the next block the current one when that is done."""
        if not self._block:
            self._block = memoryview(next(self._blocks, b""))
        return bool(self._block)

    def _mind_input(self, waiting: selectors.BaseSelector) -> None:
        """Ask to be told that there is room only while there is something to say."""
        stdin = self._process.stdin
        assert stdin is not None
        if stdin.closed:
            return
        registered = stdin in waiting.get_map()
        if self._has_more() and not registered:
            waiting.register(stdin, selectors.EVENT_WRITE)
        elif not self._block and registered:
            waiting.unregister(stdin)

    def _say(self, waiting: selectors.BaseSelector) -> None:
        assert self._process.stdin is not None
        try:
            sent = os.write(self._process.stdin.fileno(), self._block)
        except BlockingIOError:
            return
        except BrokenPipeError:
            # What it says, or how it ended, tells why.
            self._close_input(waiting)
            return
        self._block = self._block[sent:]
        self._beaten = time.monotonic()

    def _close_input(self, waiting: selectors.BaseSelector) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        if not stdin.closed:
            if stdin in waiting.get_map():
                waiting.unregister(stdin)
            stdin.close()

    def _hear(self, block: bytes) -> bool:
        for event, raw in self._reader.feed(block):
            self._outcome.events[event.event] = raw
            if event.event == "end":
                self._outcome.exit_code = event.exit_code
            elif event.event == "done":
                self._outcome.done[event.step] = event
            elif event.event == "error":
                self._outcome.error = event
            elif event.event == "wanted":
                wanted = [each for each in event.files if isinstance(each, Wanted)]
                self._blocks = self._contents(wanted)
            self._listener(event)
        return bool(block)

    def _hear_stderr(self, block: bytes) -> bool:
        self._outcome.stderr = (self._outcome.stderr + block)[-_MOST_STDERR:]
        return bool(block)

    def _contents(self, wanted: Sequence[Wanted]) -> Iterator[bytes]:
        if wanted:
            yield b"="
        for each in wanted:
            path = self._files.get(each.path)
            if path is None:
                raise ArtefactError("The board asks for a file that is not in the artefact.", evidence=each.path)
            with path.open("rb") as file:
                file.seek(each.offset)
                while block := file.read(_BLOCK):
                    yield block


def _end(process: subprocess.Popen[bytes]) -> None:
    """The local end. The other one ends by itself."""
    if process.poll() is None:
        process.terminate()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
