"""What the program says: lines for people over SSH, or with --json one event a line for `edgec deploy`.

Every event has `event`, `time` (seconds since the epoch) and, where it makes sense, `step`, `variant` and `text`, which is what
people see. Events:

    step       a step begins: `step`
    fact       something found out: `name`, `value`
    progress   still at work: `seconds` since the step began, `detail`
    log        a warning or an error of trtexec's: `line`
    done       a step, or one variant of it, is through: `result`, and figures
    problem    a variant cannot be used; others are tried: `what`, `evidence`, `remedy`, `exit_code`
    wanted     files to be sent over the standard input (wire.py): `files`, each with `path`, `offset`, `size_bytes`
    status     answer of `status`: `current`, `previous`, `engines`, `unused`; `state` of what is active: `verified`, `changed`
               or `unknown`, or null if nothing is, and `evidence` for it; `report`, the same of the measurements
    table      the figures of all variants, for people: `text`
    measured   measurements worth bringing home: `path`
    error      the program gives up: `kind`, `what`, `evidence`, `remedy`, `exit_code`
    end        always the last: `exit_code`
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any

from edgec_onboard.errors import BoardError, Interrupted
from edgec_onboard.text import wrapped


class Output:
    """Lines on the standard output; errors for people go to the standard error."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def emit(self, event: str, text: str = "", **fields: Any) -> None:
        """One event; people see `text` if there is any."""
        if self.as_json:
            record = {"event": event, "time": round(time.time(), 3), **fields}
            if text:
                record["text"] = text
            self._write(json.dumps(record, ensure_ascii=True, allow_nan=False))
        elif text:
            self._write(wrapped(text))

    def step(self, step: str, text: str) -> None:
        self.emit("step", f"{step}: {text}", step=step)

    def problem(self, step: str, variant: str, error: BoardError) -> None:
        text = "  {} {}: {}".format(step, variant, str(error).replace("\n", "\n  "))
        self.emit("problem", text, step=step, variant=variant, **described(error))

    def error(self, error: BoardError) -> None:
        if self.as_json:
            self.emit("error", str(error), **described(error))
        else:
            sys.stdout.flush()
            print(wrapped("error: " + str(error)), file=sys.stderr, flush=True)

    def _write(self, line: str) -> None:
        try:
            sys.stdout.write(line.encode(sys.stdout.encoding or "ascii", "replace").decode(sys.stdout.encoding or "ascii") + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            # Whoever listened is gone, most likely with the network. What was done is kept; the next run goes on from there.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise Interrupted(signal.SIGPIPE) from None


def described(error: BoardError) -> dict[str, Any]:
    kind = type(error).__name__
    return {
        "kind": kind,
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
    """Or gigabytes, where that is shorter."""
    return f"{size / 1e6:.1f} MB" if size < 1e10 else f"{size / 1e9:.1f} GB"
