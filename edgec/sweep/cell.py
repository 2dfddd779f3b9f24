"""One cell in a process of its own: `python -m edgec.sweep.cell`, started by `edgec.sweep.child`.

The request comes as a line of JSON on standard input, which stays open as long as the cell is wanted. When it closes, the build
is interrupted, so that nothing goes on when the sweep is killed. Events go to standard output, a JSON object a line; everything
that is printed goes to standard error, which is the cell's log."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

from edgec.artefact.write import existing_build_key
from edgec.building import BuildResult, build
from edgec.errors import ArtefactError, EdgecError
from edgec.extras import named
from edgec.progress import Step
from edgec.quiet import keep_together
from edgec.records.reading import printable
from edgec.request import BuildRequest
from edgec.sweep.child import REQUESTS
from edgec.sweep.turns import Turns

BUG, INTERRUPTED = 70, 130
_GRACE_S = 5.0


class CellProgress:
    """Progress as events and lines of a log; lets others measure between steps."""

    def __init__(self, turns: Turns, events: IO[str]) -> None:
        self._turns, self._events = turns, events

    def event(self, **fields: Any) -> None:
        """One line of JSON for the sweep."""
        self._events.write(json.dumps(fields) + "\n")
        self._events.flush()

    def settings(self, rows: Sequence[tuple[str, str]]) -> None:
        """A line of the log for each."""
        for name, value in rows:
            _log(f"{name}: {value}")

    @contextmanager
    def stage(self, title: str, total: int | None = None, *, alone: bool = False) -> Iterator[Step]:
        """Lets others measure first, or, where the stage is to be `alone`, waits until no other cell works."""
        self._turns.pause()
        self.event(event="stage", title=title)

        def step(done: int = 1, doing: str = "") -> None:
            self._turns.pause()

        if alone:
            with self._turns.alone():
                self.event(event="alone")
                yield from self._timed(title, step)
        else:
            yield from self._timed(title, step)

    def _timed(self, title: str, step: Step) -> Iterator[Step]:
        began = time.monotonic()
        yield step
        _log(f"{time.monotonic() - began:7.1f} s  {title}")

    def note(self, text: str) -> None:
        """A line of the log."""
        _log(f"note: {text}")


def request_from_json(data: dict[str, Any]) -> BuildRequest:
    """The reverse of `edgec.sweep.child.request_as_json`."""
    return REQUESTS.validate_python(data)


def main() -> int:
    """Build the cell that standard input asks for; returns the exit code."""
    keep_together()  # a scheduler's worker may have started this process, without the command's environment
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what runtimes print is no event
    # A shell that runs the sweep in its background has interrupts ignored, and that is inherited.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    data = json.loads(_first_line())
    threading.Thread(target=_end_with_sweep, daemon=True).start()
    request = request_from_json(data)
    with Turns() as turns:
        progress = CellProgress(turns, events)
        try:
            with named():
                result = _build(request, progress)
        except EdgecError as error:
            _log(str(error))
            progress.event(event="failed", exit_code=error.exit_code, error=error.what, detail=list(error.evidence))
            return error.exit_code
        except KeyboardInterrupt:
            _log("Interrupted.")
            return INTERRUPTED
        except Exception as error:
            traceback.print_exc()
            text = f"a bug in edgec: {type(error).__name__}: {error}"
            progress.event(event="failed", exit_code=BUG, error=text, detail=["the traceback is in the log"])
            return BUG
        progress.event(event="done", build_key=result.manifest.build_key, reused=result.reused)
        return 0


def _build(request: BuildRequest, progress: CellProgress) -> BuildResult:
    assert request.output is not None
    before = existing_build_key(request.output)
    try:
        return build(request, progress)
    except ArtefactError:
        # A sweep that was killed may have left a cell behind that finished meanwhile. If it made the same, this is it.
        if existing_build_key(request.output) == before:
            raise
        return build(request, progress)


def _first_line() -> bytes:
    """Of standard input, without Python's buffers: a thread that still waited in them at exit would abort the process."""
    read = b""
    while not read.endswith(b"\n"):
        chunk = os.read(0, 1 << 16)
        if not chunk:
            break
        read += chunk
    return read


def _end_with_sweep() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(_GRACE_S)
    os._exit(INTERRUPTED)  # a library swallowed the interrupt, or is deep in native code; nothing half-written shows


def _log(text: str) -> None:
    # Lines of an error stay lines.
    sys.stderr.write("\n".join(printable(line) if line.strip() else "" for line in text.splitlines()) + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
