"""What the program prints: lines for people over SSH, or with --json one event per line for `edgec deploy`.

Every event has `event`, `time` (seconds since the epoch) and, if they apply, `step`, `variant` and `text`, which is what people
see. Events:

    step       a step begins: `step`
    fact       a fact about the board: `name`, `value`
    progress   still working: `seconds` since the step began, `detail`
    log        a warning, or a warning or error from trtexec: `line`
    done       a step, or one variant of it, is finished: `result`, and figures
    problem    a variant cannot be used; others are tried: `what`, `evidence`, `remedy`, `exit_code`
    wanted     files to be sent over the standard input (wire.py): `files`, each with `path`, `offset`, `size_bytes`
    machine    the answer to `look`: `python`, `machine`, `libc`, `title`, `runtimes` that are there and those that are `missing`;
               on a Mac `macos`
    status     the answer to `status`: `current`, `previous`, `engines`, `unused`; `state` of the active engine: `verified`,
               `changed` or `unknown`, or null if there is none, and `evidence` for it; `report`, the same for the measurements
    overview   the answer of overview.py: `active`, `disk_free_bytes`, `disk_bytes`, `update_open`, `root`
    table      the figures of all variants, for people: `text`
    measured   there are measurements to fetch: `path`
    error      the program gives up: `kind`, `what`, `evidence`, `remedy`, `exit_code`
    end        always the last event: `exit_code`
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any

from edgec_onboard.errors import BoardError, Interrupted
from edgec_onboard.text import wrapped, write_line


class Output:
    """Events on the standard output: JSON if `as_json`, else text for people. Errors for people go to the standard error."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def emit(self, event: str, text: str = "", **fields: Any) -> None:
        """Print one event. People see only `text`, if there is any. Raises `Interrupted` if the reader is gone."""
        if self.as_json:
            record = {"event": event, "time": round(time.time(), 3), **fields}
            if text:
                record["text"] = text
            self._write(json.dumps(record, ensure_ascii=True, allow_nan=False))
        elif text:
            self._write(wrapped(text))

    def step(self, step: str, text: str) -> None:
        """A step begins."""
        self.emit("step", f"{step}: {text}", step=step)

    def problem(self, step: str, variant: str, error: BoardError) -> None:
        """A variant failed; others are tried."""
        text = "  {} {}: {}".format(step, variant, str(error).replace("\n", "\n  "))
        self.emit("problem", text, step=step, variant=variant, **error_fields(error))

    def error(self, error: BoardError) -> None:
        """The program gives up."""
        if self.as_json:
            self.emit("error", str(error), **error_fields(error))
        else:
            sys.stdout.flush()
            print(wrapped("error: " + str(error)), file=sys.stderr, flush=True)

    def _write(self, line: str) -> None:
        try:
            write_line(sys.stdout, line)
        except BrokenPipeError:
            # The reader is gone, most likely with the network. Finished work is kept; the next run continues from there.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise Interrupted(signal.SIGPIPE) from None


def error_fields(error: BoardError) -> dict[str, Any]:
    """An error as fields of an event."""
    return {
        "kind": type(error).__name__,
        "what": error.what,
        "evidence": list(error.evidence),
        "remedy": error.remedy,
        "exit_code": error.exit_code,
    }


def elapsed(seconds: float) -> str:
    """`8s`, `1m20s`, `1h02m`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"


def megabytes(size: float) -> str:
    """A size in MB, or in GB if that is shorter."""
    return f"{size / 1e6:.1f} MB" if size < 1e10 else f"{size / 1e9:.1f} GB"
