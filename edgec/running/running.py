"""Runs the frames of a source, one batch after another, through an artefact on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Literal, Protocol

from edgec.artefact.drift import read_drift
from edgec.artefact.reading import open_artefact
from edgec.backends.profiles import lacks
from edgec.batches import filled
from edgec.errors import CalibrationError, EdgecError, RequestError, VerificationError
from edgec.frames import Skipped, fit
from edgec.host.facts import available_cores, evidence_here, facts
from edgec.lowering.base import Runner
from edgec.model.spec import Size
from edgec.onboard.statistics import Summary as Spread
from edgec.onboard.statistics import summary as spread
from edgec.records.evidence import Evidence
from edgec.records.reading import printable
from edgec.records.report import Host
from edgec.running.feeds import Clocked, Feed, OnDemand
from edgec.running.figures import DriftTally, Figures, Recent, Tally
from edgec.running.opening import PICTURES_FPS, Opened, frames_to_come, require_here, sinks_of, size_facts
from edgec.running.request import RunRequest, check
from edgec.running.results import results_of
from edgec.running.sinks import Sink, Written
from edgec.running.sources import open_source
from edgec.running.types import Done, Taken, outputs_of
from edgec.running.unlike import Kept, UnlikeFrames
from edgec.verifying import load_runner

_WARM_UP = 3
_TOLD = 10
End = Literal["source", "limit", "stopped"]


@dataclass(frozen=True)
class Summary:
    """Figures of a run. Times in milliseconds; `latency` from a frame's arrival to its outputs, `model` of the model's runs
    alone."""

    frames: int
    skipped: int
    dropped: int
    late: int
    seconds: float
    after_ms: float
    """The mean time a frame for drawing, writing and printing."""
    latency: Spread
    model: Spread
    batch: int
    threads: int
    live: bool
    """Whether frames came on a clock that does not wait."""
    fps: float | None
    evidence: Evidence
    lacks: tuple[str, ...] | None
    """What the target's profile asks for and this machine lacks; None if the profile is not known here."""
    host: Host
    execution_precision: str
    ended: End
    tally: Tally
    drift: DriftTally | None
    """None if the artefact cannot tell."""
    kept: Kept | None
    """None if nobody asked to keep frames."""
    written: tuple[Written, ...]


class Listener(Protocol):
    """Is called as the run goes."""

    def opened(self, opened: Opened) -> None:
        """Everything is open, and the model has been warmed up."""

    def skipped(self, skipped: Skipped) -> None:
        """A frame is damaged and was left out."""

    def done(self, done: Done) -> None:
        """A frame is done, and written."""

    def progress(self, figures: Figures, recent: Recent, feed: Feed) -> None:
        """A batch is done."""

    def salvaged(self, written: Written) -> None:
        """An error ends the run; these results were finished before it is raised."""

    def noted(self, text: str) -> None:
        """Something went wrong, and the run goes on."""


def run(request: RunRequest, listener: Listener, stop: Callable[[], bool] = lambda: False) -> Summary:
    """Runs the source's frames until it ends, `limit` frames are done, or `stop` returns true; then finishes what is written.

    Damaged frames are reported to the listener and left out. Raises `RequestError` and `EdgecError` as `request.check`,
    `ArtefactError` for a damaged artefact, `TargetError` for one that does not run on this machine, `CalibrationError` for a
    source that cannot be opened or has no usable frame, `RuntimeFailure` if the model fails, and `EdgecError` if results cannot
    be written. Results up to an error are finished, and no unfinished file is left.
    """
    check(request)
    artefact = open_artefact(request.artefact)
    require_here(artefact, request)
    size = size_facts(artefact, request.size)
    sinks = sinks_of(request, artefact, size)
    source = open_source(request.source, request.reading)
    if request.fps is not None and not source.waits:
        raise RequestError("--fps plays files on a clock; a camera has its own.", remedy="leave --fps out")
    rate = request.fps or source.rate
    made = [sink(rate / request.every if rate else PICTURES_FPS) for sink in sinks]
    runner = load_runner(artefact, request.threads or available_cores())
    run = _Runner(request, Opened(artefact, size, source, frames_to_come(source, request)), runner, listener, stop, rate)
    with ExitStack() as stack:
        stack.callback(run.close)
        for sink in made:
            stack.enter_context(sink)
        try:
            return run.run_all(made)
        except EdgecError:
            run.salvage(made)
            raise


class _Runner:
    def __init__(
        self,
        request: RunRequest,
        opened: Opened,
        runner: Runner,
        listener: Listener,
        stop: Callable[[], bool],
        rate: float | None,
    ) -> None:
        self._request, self._opened, self._runner, self._listener, self._stop = request, opened, runner, listener, stop
        self._rate = rate
        self._batch, height, width, _ = opened.size.input.shape
        self._size = Size(height, width)
        self._figures, self._tally = Figures(), Tally()
        self._drift = read_drift(opened.artefact, opened.size)
        self._drifts = DriftTally() if self._drift else None
        self._live = not opened.source.waits or request.fps is not None
        self._unlike: UnlikeFrames | None = None
        self._kept: Kept | None = None
        if request.drift_frames is not None:
            self._unlike = UnlikeFrames(request, opened.artefact, self._drift, live=self._live)
        self._reasons: list[Skipped] = []
        self._first: Taken | None = None

    def run_all(self, sinks: Sequence[Sink]) -> Summary:
        self._warm_up()
        self._listener.opened(self._opened)
        figures, limit, live = self._figures, self._request.limit, self._live
        figures.began_ns = time.monotonic_ns()
        feed = self._feed(live)
        ended: End = "source"
        try:
            while not self._stop():
                left = self._batch if limit is None else min(self._batch, limit - figures.frames)
                taken = feed.take(left) if left else []
                if not taken:
                    ended = "source" if left else "limit"
                    break
                self._work(taken, sinks)
                self._listener.progress(figures, figures.recent(), feed)
            if self._stop():
                ended = "stopped"
        finally:
            feed.close()
        if not figures.frames and ended != "stopped":
            raise self._nothing()
        written = []
        for sink in sinks if figures.frames else ():
            with _marking_broken(sink):
                before = time.monotonic_ns()
                written.append(sink.finish())
                sink.finished = True
                figures.after_ms += (time.monotonic_ns() - before) / 1e6
        self.close()
        figures.ended_ns = time.monotonic_ns()
        return self._summary(feed, live, ended, tuple(written))

    def close(self) -> None:
        """Write the frames that are kept, if that is not done."""
        if self._unlike is not None and self._kept is None:
            self._kept = self._unlike.close()
            self._note(self._unlike.news)

    def _note(self, text: str) -> None:
        if text:
            self._listener.noted(text)

    def salvage(self, sinks: Sequence[Sink]) -> None:
        """Finish what was written before an error: a camera that is unplugged after an hour has given an hour's frames."""
        for sink in sinks:
            if not sink.broken and not sink.finished and self._figures.frames:
                with suppress(EdgecError):
                    self._listener.salvaged(sink.finish())

    def _feed(self, live: bool) -> Feed:
        shots = self._opened.source.shots(self._request.every)
        if not live:
            return OnDemand(shots, self._skip, self._stop)
        return Clocked(shots, self._skip, self._stop, fps=self._request.fps, keep=self._batch)

    def _warm_up(self) -> None:
        """The first runs of a model are slower than all others, so they are not measured."""
        golden = next(each.golden.frames for each in self._opened.artefact.sizes if each.facts is self._opened.size)
        for _ in range(_WARM_UP):
            outputs = self._runner(filled(golden[: self._batch], self._batch))
        expected = {each.name: each.shape for each in self._opened.size.outputs}
        actual = {name: values.shape for name, values in outputs.items()}
        if any(actual.get(name) != shape for name, shape in expected.items()):
            raise VerificationError(
                f"The artefact at {printable(str(self._opened.artefact.directory))} does not compute what its manifest says.",
                evidence=(f"manifest: {_listed(expected)}", f"here: {_listed(actual)}"),
                remedy="build the artefact again",
            )

    def _work(self, taken: list[Taken], sinks: Sequence[Sink]) -> None:
        fitted = [fit(each.pixels, self._size, self._request.crop) for each in taken]
        frames = filled(fitted, self._batch)
        started = time.monotonic_ns()
        outputs = self._runner(frames)
        done_ns = time.monotonic_ns()
        latencies = [(done_ns - each.arrived_ns) / 1e6 for each in taken]
        self._figures.add(done_ns, latencies, (done_ns - started) / 1e6)
        self._first = self._first or taken[0]
        for index, (each, frame) in enumerate(zip(taken, fitted, strict=True)):
            outputs_of_frame = outputs_of(outputs, index)
            done = Done(
                name=each.shot.name,
                number=each.shot.number,
                time_s=each.shot.time_s,
                at_s=self._at(each),
                latency_ms=latencies[index],
                frame=frame,
                outputs=outputs_of_frame,
                results=results_of(self._opened.artefact.manifest.heads, outputs_of_frame),
                drift=self._drift.score(outputs_of_frame) if self._drift else None,
            )
            self._tally.add(done.results)
            if self._drifts is not None and done.drift is not None:
                self._drifts.add(done.name, done.drift)
            if self._unlike is not None:
                self._note(self._unlike.offer(each, done))
            for sink in sinks:
                with _marking_broken(sink):
                    sink.write(done)
            self._listener.done(done)
        self._figures.after_ms += (time.monotonic_ns() - done_ns) / 1e6

    def _at(self, taken: Taken) -> float:
        assert self._first is not None
        if not self._opened.source.waits:
            return (taken.arrived_ns - self._first.arrived_ns) / 1e9
        return (taken.shot.number - self._first.shot.number) / (self._rate or PICTURES_FPS * self._request.every)

    def _skip(self, skipped: Skipped) -> None:
        self._figures.skipped += 1
        if len(self._reasons) < _TOLD:
            self._reasons.append(skipped)
        self._listener.skipped(skipped)

    def _nothing(self) -> CalibrationError:
        count = self._figures.skipped
        evidence = [f"{printable(name)}: {printable(reason)}" for name, reason in self._reasons]
        if count > len(self._reasons):
            evidence.append(f"and {count - len(self._reasons)} more")
        return CalibrationError(
            f"{printable(self._opened.source.title)} has no usable frame.",
            evidence=evidence or "it gave none",
            remedy="give pictures or a video that can be decoded, or another camera",
        )

    def _summary(self, feed: Feed, live: bool, ended: End, written: tuple[Written, ...]) -> Summary:
        figures, host = self._figures, facts()
        target = self._opened.artefact.manifest.target
        lacking = lacks(target, host)
        return Summary(
            frames=figures.frames,
            skipped=figures.skipped,
            dropped=feed.dropped,
            late=feed.late,
            seconds=figures.seconds,
            after_ms=figures.after_ms / max(figures.frames, 1),
            latency=spread(figures.latency_ms or [0.0]),
            model=spread(figures.model_ms or [0.0]),
            batch=self._batch,
            threads=self._runner.threads,
            live=live,
            fps=self._request.fps,
            evidence=evidence_here(host, lacking),
            lacks=lacking,
            host=host,
            execution_precision=self._runner.execution_precision,
            ended=ended,
            tally=self._tally,
            drift=self._drifts,
            kept=self._kept,
            written=written,
        )


@contextmanager
def _marking_broken(sink: Sink) -> Iterator[None]:
    """Marks the sink if it fails, so that it is not tried again."""
    try:
        yield
    except EdgecError:
        sink.broken = True
        raise


def _listed(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{printable(name)} {list(shape)}" for name, shape in shapes.items())
