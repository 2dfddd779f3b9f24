"""Running the device program on a board, and being its lifeline: it ends when its input does, or falls silent.

A board is heard for a while only. `MOST_BYTES` and `MOST_LINES` are all that it may say in one command (an hour of building says
some 2 MB), `SILENCE_S` is how long it may say nothing that is an event, `MOST_S` how long a command may take; and it is sent each
file of the artefact at most `MOST_ASKED` times.
"""

from __future__ import annotations

import io
import os
import selectors
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgec.boards.events import Event, Reader, Wanted
from edgec.boards.ssh import TICK_S, Connection, boot
from edgec.boards.ssh_errors import connection_lost, ended_without_a_word, misbehaves
from edgec.bounded import communicate
from edgec.errors import ArtefactError, EdgecError, of_exit_code
from edgec.untrusted import Refused

Listener = Callable[[Event], None]

_BEAT_S = 5.0
"""The device program waits 30 s (edgec_device/wire.py)."""
_FAREWELL_S = 10.0
"""From the end of its input to the program's: for ending trtexec."""
_FETCH_S = 120.0
MOST_BYTES = 64 << 20
MOST_LINES = 250_000
SILENCE_S = 900.0
"""While `trtexec` works the device program speaks each second; hashing the largest files on a slow card takes minutes."""
MOST_S = 24 * 3600.0
MOST_ASKED = 4
"""The device program asks twice for what arrives damaged."""
_ANSWERS = frozenset({"done", "measured", "status"})
"""Events that are kept. What a board calls others is no matter."""
_STEPS = frozenset({"copy", "activate"})
_LONGEST_PATH = 4096
_MOST_EVIDENCE, _EVIDENCE_WIDTH = 40, 2000
_BLOCK = 1 << 18
_MOST_STDERR = 1 << 16
_SSH_FAILED = 255
_SIGNALLED = 128
_BUG = 70


@dataclass
class Outcome:
    """What a command ended with. `events` are the last of each kind that answers something, as they came; `done` the last of the
    steps that somebody asks for."""

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
        given = (event.evidence,) if isinstance(event.evidence, str) else event.evidence
        evidence = [fact[:_EVIDENCE_WIDTH] for fact in given[:_MOST_EVIDENCE]]
        return kind(what[:_EVIDENCE_WIDTH], evidence=evidence, remedy=event.remedy[:_EVIDENCE_WIDTH])

    def words(self) -> list[str]:
        return [*self.noise, *self.stderr.decode("utf-8", "replace").splitlines()]


@dataclass(frozen=True)
class Command:
    """`program` is an archive of Python, `document` the bundle.json that it is about, `files` what it may ask for: where it lies,
    or its content."""

    program: bytes
    arguments: Sequence[str]
    document: bytes
    files: Mapping[str, Path | bytes] = field(default_factory=dict)


def run(connection: Connection, command: Command, listener: Listener, stop: threading.Event) -> Outcome:
    """Run it to its end. `listener` gets every event as it comes.

    Raises `BoardError` if the connection is lost, the program breaks down, or the board says too much or nothing for too long;
    `ArtefactError` if the board asks for what the artefact has not. When `stop` is set the program is told to end, and
    `KeyboardInterrupt` is raised once it has.
    """
    opening = boot(command.program, command.arguments) + b"%d\n" % len(command.document) + command.document
    outcome = Outcome()
    process = connection.start()
    try:
        code = _Conversation(process, opening, command.files, outcome, listener, stop).hold()
    except Refused as error:
        raise misbehaves(connection.address, [f"it {error}", *outcome.words()]) from error
    finally:
        _end(process)
    address, said = connection.address, outcome.words()
    if outcome.exit_code is None and (code == _SSH_FAILED or code < 0):
        raise connection_lost(address, [*connection.log(), *said])
    broken = outcome.exit_code is None or outcome.exit_code == _BUG or outcome.exit_code >= _SIGNALLED
    if broken or (outcome.exit_code and outcome.error is None):
        raise ended_without_a_word(address, code if outcome.exit_code is None else outcome.exit_code, said)
    return outcome


def fetch(connection: Connection, path: str, most_bytes: int) -> bytes:
    """A file of the board's. Raises `BoardError` if it cannot be had, is larger, or takes too long to come."""
    if len(path) > _LONGEST_PATH:
        raise misbehaves(connection.address, [f"it names a file by {len(path):,} characters"])
    process = connection.start()
    try:
        program = b"import sys\nwith open(sys.argv[1], 'rb') as file:\n    sys.stdout.buffer.write(file.read(int(sys.argv[2])))\n"
        opening = boot(program, [path, str(most_bytes + 1)])
        found, said = communicate(process, opening, most_bytes=most_bytes, seconds=_FETCH_S, goes_on=connection.wanted)
    except Refused as error:
        if not connection.wanted():
            raise KeyboardInterrupt from None
        raise misbehaves(connection.address, [f"asked for {path}, it {error}", *connection.log()]) from error
    finally:
        _end(process)
    if process.returncode == _SSH_FAILED:
        raise connection_lost(connection.address, connection.log())
    if process.returncode != 0:
        raise ended_without_a_word(connection.address, process.returncode, said.decode("utf-8", "replace").splitlines()[-1:])
    return found


class _Conversation:
    """Reads and writes at once, so that neither side ever waits for the other to listen."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        opening: bytes,
        files: Mapping[str, Path | bytes],
        outcome: Outcome,
        listener: Listener,
        stop: threading.Event,
    ) -> None:
        self._process, self._files, self._outcome, self._listener, self._stop = process, files, outcome, listener, stop
        self._reader = Reader()
        self._blocks: Iterator[bytes] = iter([opening])
        self._block = memoryview(b"")
        self._began = self._beaten = self._event = time.monotonic()
        self._leaving: float | None = None
        self._said = 0
        self._asked: Counter[str] = Counter()

    def hold(self) -> int:
        """Until the other side has nothing more to say; returns the exit code, negative for a signal.

        Raises `Refused` if it says too much, or nothing for too long.
        """
        try:
            return self._hold()
        finally:
            self._outcome.noise = self._reader.noise

    def _hold(self) -> int:
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
                self._check_time()
                self._beat()
                self._mind_input(waiting)
                for key, _ in waiting.select(TICK_S):
                    if key.fileobj is process.stdin:
                        self._say(waiting)
                    elif not key.data(os.read(key.fd, _BLOCK)):
                        waiting.unregister(key.fileobj)
                        listening -= 1
        if self._stop.is_set():
            raise KeyboardInterrupt
        return 0 if listening else _ended(process)

    def _check_time(self) -> None:
        now = time.monotonic()
        if now - self._event > SILENCE_S:
            raise Refused(f"has said nothing that it should for {SILENCE_S:.0f} s")
        if now - self._began > MOST_S:
            raise Refused(f"has not ended after {MOST_S / 3600:.0f} hours")

    def _count(self, block: bytes) -> None:
        self._said += len(block)
        if self._said > MOST_BYTES or self._reader.lines > MOST_LINES:
            raise Refused(f"has said more than any command does: {self._said:,} bytes, {self._reader.lines:,} lines")

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
        self._count(block)
        for event, raw in self._reader.feed(block):
            self._event = time.monotonic()
            if event.event in _ANSWERS:
                self._outcome.events[event.event] = raw
            if event.event == "end":
                self._outcome.exit_code = event.exit_code
            elif event.event == "done" and event.step in _STEPS:
                self._outcome.done[event.step] = event
            elif event.event == "error":
                self._outcome.error = event
            elif event.event == "wanted":
                wanted = [each for each in event.files if isinstance(each, Wanted)]
                self._blocks = self._contents(wanted)
            self._listener(event)
        return bool(block)

    def _hear_stderr(self, block: bytes) -> bool:
        self._count(block)
        self._outcome.stderr = (self._outcome.stderr + block)[-_MOST_STDERR:]
        return bool(block)

    def _contents(self, wanted: Sequence[Wanted]) -> Iterator[bytes]:
        if wanted:
            yield b"="
        for each in wanted:
            content = self._files.get(each.path)
            if content is None:
                evidence = each.path[:_EVIDENCE_WIDTH]
                raise ArtefactError("The board asks for a file that is not in the artefact.", evidence=evidence)
            self._asked[each.path] += 1
            if self._asked[each.path] > MOST_ASKED:
                raise Refused(f"asks for {each.path} again and again")
            try:
                with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
                    if each.offset > file.seek(0, os.SEEK_END):
                        raise Refused(f"asks for {each.path} from byte {each.offset:,} on, which it does not have")
                    file.seek(each.offset)
                    while block := file.read(_BLOCK):
                        yield block
            except OSError as error:
                raise ArtefactError(
                    f"{each.path} of the artefact can no longer be read.",
                    evidence=str(error),
                    remedy="leave the artefact where it is while it is deployed, and run the same command again",
                ) from error


def _ended(process: subprocess.Popen[bytes]) -> int:
    """The exit code of one that has nothing more to say."""
    try:
        return process.wait(_FAREWELL_S)
    except subprocess.TimeoutExpired:
        raise Refused("closed its output and goes on") from None


def _end(process: subprocess.Popen[bytes]) -> None:
    """The local end. The other one ends by itself."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(_FAREWELL_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
