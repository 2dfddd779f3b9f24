"""What `edgec run` says while it runs: results on standard output, how it goes on standard error."""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

import click
from rich.live import Live
from rich.text import Text

from edgec.cli.console import err
from edgec.errors import EdgecError
from edgec.onboard.drift import THRESHOLD
from edgec.onboard.figures import RUNS_FOR_P99
from edgec.records.reading import printable

if TYPE_CHECKING:
    from edgec.frames import Skipped
    from edgec.running.feeds import Feed
    from edgec.running.figures import Figures, Recent
    from edgec.running.opening import Opened
    from edgec.running.request import RunRequest
    from edgec.running.sinks import Written
    from edgec.running.stopping import Stopping
    from edgec.running.types import Done

_LIVE_S, _PLAIN_S = 0.1, 1.0
"""Between two updates of the live line, and between two plain lines."""
_MOST_NAMED = 20
"""Damaged frames that are named on a terminal or in a log; JSON lines name all."""


class Lines:
    """A line a frame on standard output: always for scripts and pipes, on a terminal for pictures. Of videos and cameras, a
    terminal shows the results in its live line. Without a terminal, standard error gets a plain line a second.

    If the reader of standard output is gone, the run ends, unless it also writes files: then it goes on without printing.
    """

    def __init__(self, request: RunRequest, stopping: Stopping, *, as_json: bool) -> None:
        self._writes = request.features is not None or request.output is not None
        self._stopping, self._as_json = stopping, as_json
        self._gone = False
        self._terminal = sys.stdout.isatty()
        self._by_frame = as_json or not self._terminal
        self._live: Live | None = None
        self._total: int | None = None
        self._latest = ""
        self._last_line, self._skipped = 0.0, 0

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()
        if not self._as_json and self._skipped > _MOST_NAMED and error is None:
            err.print(f"{self._skipped - _MOST_NAMED} more damaged frames were left out", markup=False)

    def opened(self, opened: Opened) -> None:
        """Decides between lines and a live line, once source and artefact are known."""
        self._total = opened.total
        if not opened.source.moving:
            self._by_frame = True
        for note in opened.source.notes:
            err.print(Text(f"note: {printable(note)}", style="yellow"), soft_wrap=True)
        if not (opened.artefact.manifest.heads or self._writes):
            text = "note: this artefact has no heads; --features writes what it computes, and --output draws it"
            err.print(Text(text, style="yellow"), soft_wrap=True)
        if err.is_terminal and not (self._by_frame and self._terminal):
            self._live = Live(console=err, transient=True, auto_refresh=False)
            self._live.start()

    def skipped(self, skipped: Skipped) -> None:
        """Names a damaged frame."""
        name, reason = skipped
        self._skipped += 1
        if self._as_json:
            self.say(json.dumps({"event": "skipped", "frame": name, "reason": reason}))
        elif self._skipped <= _MOST_NAMED:
            err.print(f"left out: {printable(name)}: {printable(reason)}", markup=False, soft_wrap=True)

    def done(self, done: Done) -> None:
        """A frame's results: a line, or what the live line shows next."""
        if self._as_json:
            record = {
                "event": "frame",
                "frame": done.name,
                "number": done.number,
                "time_s": done.time_s,
                "latency_ms": done.latency_ms,
                "drift": done.drift,
                "heads": {result.output: result.to_json() for result in done.results},
            }
            self.say(json.dumps(record, allow_nan=False))
            return
        words = [result.words() for result in done.results]
        if done.drift is not None and done.drift > THRESHOLD:
            words.append(f"unlike the calibration frames: drift {done.drift:.2f}")
        self._latest = "; ".join(words)
        if self._by_frame and self._latest:
            self.say(f"{printable(done.name)}  {self._latest}")

    def progress(self, figures: Figures, recent: Recent, feed: Feed) -> None:
        """Rate and latency so far, if it is time for another line."""
        now = time.monotonic()
        if now - self._last_line < (_PLAIN_S if self._live is None else _LIVE_S):
            return
        if self._live is None and (err.is_terminal or not self._last_line):
            self._last_line = self._last_line or now  # a run that is over within a second needs no line but its summary
            return
        self._last_line = now
        line = Text(_line(figures, recent, feed, self._total), no_wrap=True, overflow="ellipsis")
        if self._live is None:
            err.print(line, soft_wrap=True)
            return
        if self._latest:
            line.append(f"\n{self._latest}", "bold")
        self._live.update(line, refresh=True)

    def salvaged(self, written: Written) -> None:
        """Names a file or folder of results that is whole now."""
        if self._live is not None:
            self._live.stop()
        err.print(f"kept: {printable(str(written.path))}, {written.frames} frames", markup=False, soft_wrap=True)

    def noted(self, text: str) -> None:
        """Says it once, in between."""
        err.print(Text(f"note: {printable(text)}", style="yellow"), soft_wrap=True)

    def say(self, text: str) -> None:
        """One line on standard output, at once: whoever reads it may be a program that acts on it."""
        self.say_all(lambda: click.echo(text))

    def say_all(self, print_all: Callable[[], None]) -> None:
        """What `print_all` prints on standard output. Raises `EdgecError` if that cannot be written."""
        if self._gone:
            return
        try:
            print_all()
            sys.stdout.flush()
        except (BrokenPipeError, SystemExit):  # rich leaves with a code of its own
            self._gone = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if not self._writes:
                self._stopping.ask()
        except OSError as error:
            self._gone = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise EdgecError(
                f"Standard output cannot be written{': the disk is full' if full else ''}.",
                evidence=error.strerror or str(error),
                remedy="free some space, or send it elsewhere",
            ) from error


def _line(figures: Figures, recent: Recent, feed: Feed, total: int | None) -> str:
    rate = "" if recent.rate is None else f"{recent.rate:5.1f} fps  "
    latency = recent.latency
    slowest = f"p99 {latency.p99_ms:.1f}" if recent.frames >= RUNS_FOR_P99 else f"max {latency.max_ms:.1f}"
    spread = f"p50 {latency.p50_ms:.1f}  p90 {latency.p90_ms:.1f}  {slowest} ms of the last {recent.frames}"
    done = f"{figures.frames}{'' if total is None else f' of {total}'} frames"
    dropped = "" if feed.waits else f", {feed.dropped} dropped"
    damaged = f", {figures.skipped} damaged" if figures.skipped else ""
    return f"{rate}{spread}  {done}{dropped}{damaged}"
