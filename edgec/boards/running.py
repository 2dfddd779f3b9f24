"""Running the device program on a board. The program ends when its input ends or falls silent, so this side sends a heartbeat.

A board may print at most `MOST_BYTES` and `MOST_LINES` in one command (an hour of building prints some 2 MB). It must print an
event at least every `SILENCE_S`, and end within `MOST_S`. Each file of the artefact is sent at most `MOST_REQUESTS` times.
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

from edgec.boards.events import Event, FileRequest, Reader
from edgec.boards.ssh import TICK_S, Connection, boot
from edgec.boards.ssh_errors import connection_lost, ended_early, misbehaves
from edgec.bounded import communicate
from edgec.errors import ArtefactError, EdgecError, of_exit_code
from edgec.untrusted import Refused

Listener = Callable[[Event], None]
"""Called with every event as it comes."""

_HEARTBEAT_S = 5.0
"""The device program gives up after 30 s without one (edgec_device/wire.py)."""
_END_S = 10.0
"""How long the program may take to end after its input did: it has to end trtexec."""
_FETCH_S = 120.0
MOST_BYTES = 64 << 20
MOST_LINES = 250_000
SILENCE_S = 900.0
"""While `trtexec` works the device program prints an event each second; hashing the largest files on a slow card takes
minutes."""
MOST_S = 24 * 3600.0
MOST_REQUESTS = 4
"""The device program requests a file twice if it arrives damaged."""
_ANSWERS = frozenset({"done", "machine", "measured", "overview", "status"})
"""Events that hold results, and are kept."""
_STEPS = frozenset({"activate", "clean", "copy"})
_LONGEST_PATH = 4096
_MOST_EVIDENCE, _EVIDENCE_WIDTH = 40, 2000
_BLOCK = 1 << 18
_MOST_STDERR = 1 << 16
_SSH_FAILED = 255
_SIGNALLED = 128
_BUG = 70


@dataclass
class CommandResult:
    """What a command ended with. `events` are the last of each kind in `_ANSWERS`, as they came; `done` are the events that ended
    the steps in `_STEPS`."""

    exit_code: int | None = None
    error: Event | None = None
    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    done: dict[str, Event] = field(default_factory=dict)
    stderr: bytes = b""
    noise: list[str] = field(default_factory=list)

    @property
    def refusal(self) -> EdgecError | None:
        """The program's error, as edgec's error with the same exit code; None if it succeeded."""
        event = self.error
        if event is None:
            return None
        kind = of_exit_code(event.exit_code or 0)
        what = event.what or "The board gave up without saying why."
        facts = (event.evidence,) if isinstance(event.evidence, str) else event.evidence
        evidence = [fact[:_EVIDENCE_WIDTH] for fact in facts[:_MOST_EVIDENCE]]
        return kind(what[:_EVIDENCE_WIDTH], evidence=evidence, remedy=event.remedy[:_EVIDENCE_WIDTH])

    def messages(self) -> list[str]:
        """Everything that it printed and that is no event: the last lines."""
        return [*self.noise, *self.stderr.decode("utf-8", "replace").splitlines()]


@dataclass(frozen=True)
class Command:
    """`program` is a Python archive, `document` the bundle.json that it works on, `files` what it may request, by path: where
    each file is, or its content. `delivery` is what follows bundle.json where that is signed."""

    program: bytes
    arguments: Sequence[str]
    document: bytes
    files: Mapping[str, Path | bytes] = field(default_factory=dict)
    delivery: bytes | None = None


def run(
    connection: Connection, command: Command, listener: Listener, stop: threading.Event, silence_s: float | None = None
) -> CommandResult:
    """Run a command to its end. `listener` is called with every event as it comes. `silence_s` is how long it may print none,
    by default `SILENCE_S`.

    Raises `BoardError` if the connection is lost, the program crashes, or the board prints too much or nothing for too long;
    `ArtefactError` if the board requests a file that is not in the artefact. When `stop` is set the program is told to end, and
    `KeyboardInterrupt` is raised once it has.
    """
    arguments = [*command.arguments, *(["--signed"] if command.delivery is not None else [])]
    documents = [command.document, *([] if command.delivery is None else [command.delivery])]
    opening = boot(command.program, arguments) + b"".join(b"%d\n" % len(document) + document for document in documents)
    result = CommandResult()
    process = connection.start()
    try:
        code = _Conversation(process, opening, command.files, result, listener, stop, silence_s or SILENCE_S).run()
    except Refused as error:
        raise misbehaves(connection.address, [f"it {error}", *result.messages()]) from error
    finally:
        _end(process)
    address, messages = connection.address, result.messages()
    if result.exit_code is None and (code == _SSH_FAILED or code < 0):
        raise connection_lost(address, [*connection.log(), *messages])
    crashed = result.exit_code is None or result.exit_code == _BUG or result.exit_code >= _SIGNALLED
    if crashed or (result.exit_code and result.error is None):
        raise ended_early(address, code if result.exit_code is None else result.exit_code, messages)
    return result


def fetch(connection: Connection, path: str, most_bytes: int) -> bytes:
    """The content of a file on the board. Raises `BoardError` if it cannot be read, is larger than `most_bytes`, or takes too
    long to arrive."""
    if len(path) > _LONGEST_PATH:
        raise misbehaves(connection.address, [f"it names a file by {len(path):,} characters"])
    program = b"import sys\nwith open(sys.argv[1], 'rb') as file:\n    sys.stdout.buffer.write(file.read(int(sys.argv[2])))\n"
    return capture(connection, program, [path, str(most_bytes + 1)], most_bytes, doing=f"sending {path}")


def capture(
    connection: Connection, program: bytes, arguments: Sequence[str], most_bytes: int, doing: str = "sending an answer"
) -> bytes:
    """What a small Python program prints on the board. Raises `BoardError` if it fails, prints more than `most_bytes`, or takes
    too long; `doing` says in that error what it was at."""
    process = connection.start()
    try:
        opening = boot(program, arguments)
        content, errors = communicate(process, opening, most_bytes=most_bytes, seconds=_FETCH_S, goes_on=connection.in_use)
    except Refused as error:
        if not connection.in_use():
            raise KeyboardInterrupt from None
        raise misbehaves(connection.address, [f"while {doing}, it {error}", *connection.log()]) from error
    finally:
        _end(process)
    if process.returncode == _SSH_FAILED:
        raise connection_lost(connection.address, connection.log())
    if process.returncode != 0:
        raise ended_early(connection.address, process.returncode, errors.decode("utf-8", "replace").splitlines()[-1:])
    return content


class _Conversation:
    """Reads and writes at the same time, so that neither side ever waits for the other to read."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        opening: bytes,
        files: Mapping[str, Path | bytes],
        result: CommandResult,
        listener: Listener,
        stop: threading.Event,
        silence_s: float,
    ) -> None:
        self._process, self._files, self._result, self._listener, self._stop = process, files, result, listener, stop
        self._reader, self._silence_s = Reader(), silence_s
        self._blocks: Iterator[bytes] = iter([opening])
        self._block = memoryview(b"")
        self._began = self._last_sent = self._last_event = time.monotonic()
        self._deadline: float | None = None
        self._received = 0
        self._requests: Counter[str] = Counter()

    def run(self) -> int:
        """Runs until the other side's output ends; returns the exit code, negative for a signal.

        Raises `Refused` if it prints too much, or nothing for too long.
        """
        try:
            return self._run()
        finally:
            self._result.noise = self._reader.noise

    def _run(self) -> int:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        os.set_blocking(process.stdin.fileno(), False)
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ, self._on_stdout)
            selector.register(process.stderr, selectors.EVENT_READ, self._on_stderr)
            open_streams = 2
            while open_streams:
                if self._deadline is None and (self._stop.is_set() or self._result.exit_code is not None):
                    self._deadline = time.monotonic() + _END_S
                    self._close_input(selector)
                if self._deadline is not None and time.monotonic() > self._deadline:
                    break
                self._check_time()
                self._send_heartbeat()
                self._register_input(selector)
                for key, _ in selector.select(TICK_S):
                    if key.fileobj is process.stdin:
                        self._send(selector)
                    elif not key.data(os.read(key.fd, _BLOCK)):
                        selector.unregister(key.fileobj)
                        open_streams -= 1
        if self._stop.is_set():
            raise KeyboardInterrupt
        return 0 if open_streams else _exit_code(process)

    def _check_time(self) -> None:
        now = time.monotonic()
        if now - self._last_event > self._silence_s:
            raise Refused(f"has not reported progress for {self._silence_s:.0f} s")
        if now - self._began > MOST_S:
            raise Refused(f"has not ended after {MOST_S / 3600:.0f} hours")

    def _count(self, block: bytes) -> None:
        self._received += len(block)
        if self._received > MOST_BYTES or self._reader.lines > MOST_LINES:
            raise Refused(f"has printed more than any command does: {self._received:,} bytes, {self._reader.lines:,} lines")

    def _send_heartbeat(self) -> None:
        if time.monotonic() - self._last_sent >= _HEARTBEAT_S and not self._has_more():
            self._blocks = iter([b"\n"])
            self._last_sent = time.monotonic()

    def _has_more(self) -> bool:
        """Whether there is something to send. Takes the next block when the current one is sent."""
        if not self._block:
            self._block = memoryview(next(self._blocks, b""))
        return bool(self._block)

    def _register_input(self, selector: selectors.BaseSelector) -> None:
        """Wait for room in the pipe only while there is something to send."""
        stdin = self._process.stdin
        assert stdin is not None
        if stdin.closed:
            return
        registered = stdin in selector.get_map()
        if self._has_more() and not registered:
            selector.register(stdin, selectors.EVENT_WRITE)
        elif not self._block and registered:
            selector.unregister(stdin)

    def _send(self, selector: selectors.BaseSelector) -> None:
        assert self._process.stdin is not None
        try:
            sent = os.write(self._process.stdin.fileno(), self._block)
        except BlockingIOError:
            return
        except BrokenPipeError:
            # Its output, or its exit code, explains why.
            self._close_input(selector)
            return
        self._block = self._block[sent:]
        self._last_sent = time.monotonic()

    def _close_input(self, selector: selectors.BaseSelector) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        if not stdin.closed:
            if stdin in selector.get_map():
                selector.unregister(stdin)
            stdin.close()

    def _on_stdout(self, block: bytes) -> bool:
        self._count(block)
        for event, raw in self._reader.feed(block):
            self._last_event = time.monotonic()
            if event.event in _ANSWERS:
                self._result.events[event.event] = raw
            if event.event == "end":
                self._result.exit_code = event.exit_code
            elif event.event == "done" and event.step in _STEPS:
                self._result.done[event.step] = event
            elif event.event == "error":
                self._result.error = event
            elif event.event == "wanted":
                self._blocks = self._contents([file for file in event.files if isinstance(file, FileRequest)])
            self._listener(event)
        return bool(block)

    def _on_stderr(self, block: bytes) -> bool:
        self._count(block)
        self._result.stderr = (self._result.stderr + block)[-_MOST_STDERR:]
        return bool(block)

    def _contents(self, requests: Sequence[FileRequest]) -> Iterator[bytes]:
        if requests:
            yield b"="
        for request in requests:
            content = self._files.get(request.path)
            if content is None:
                evidence = request.path[:_EVIDENCE_WIDTH]
                raise ArtefactError("The board requests a file that is not in the artefact.", evidence=evidence)
            self._requests[request.path] += 1
            if self._requests[request.path] > MOST_REQUESTS:
                raise Refused(f"requests {request.path} again and again")
            try:
                with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
                    if request.offset > file.seek(0, os.SEEK_END):
                        raise Refused(f"requests {request.path} from byte {request.offset:,} on, which it does not have")
                    file.seek(request.offset)
                    while block := file.read(_BLOCK):
                        yield block
            except OSError as error:
                raise ArtefactError(
                    f"{request.path} of the artefact can no longer be read.",
                    evidence=str(error),
                    remedy="leave the artefact where it is while it is deployed, and run the same command again",
                ) from error


def _exit_code(process: subprocess.Popen[bytes]) -> int:
    """Of a process whose output has ended."""
    try:
        return process.wait(_END_S)
    except subprocess.TimeoutExpired:
        raise Refused("closed its output but did not end") from None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the local ssh. The program on the board ends by itself when its input does."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
