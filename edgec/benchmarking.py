"""Measuring a written artefact, on whatever machine this is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from edgec import __version__
from edgec.artefact.reading import OpenArtefact, open_artefact
from edgec.backends.profiles import lacks
from edgec.batches import stacks
from edgec.durable import sha256_of
from edgec.errors import MissingPackage, RuntimeFailure, TargetError
from edgec.host.facts import available_cores, caveats, contention, evidence_here, facts, load_average
from edgec.host.quiet import wait_for_quiet
from edgec.latency.measure import Progress
from edgec.latency.profiling import profile as profile_artefact
from edgec.latency.recording import Measurement
from edgec.latency.series import NOTE, YARDSTICK_NOTE, measure_series
from edgec.latency.sustained import after_idle, sustain
from edgec.latency.workload import Workload
from edgec.lowering import registry
from edgec.onboard.worker import WorkerProblem
from edgec.records.consistency import read_report
from edgec.records.evidence import Evidence
from edgec.records.manifest import MANIFEST
from edgec.records.report import AfterIdle, CandidateFigures, ColdStart, Host, Latency, Profile, Report, Run

DEFAULT_ITERATIONS = 100
DEFAULT_SECONDS = 60.0


@dataclass(frozen=True)
class BenchResult:
    """Figures of one artefact. `lacks` is what the host lacks to be the target; None if its profile is not known here. `caveats`
    are reasons to doubt the figures."""

    artefact: OpenArtefact
    latency: Latency
    cold_start: ColdStart
    measurement: Measurement
    host: Host
    lacks: tuple[str, ...] | None
    caveats: tuple[str, ...]
    runs: tuple[Run, ...] = ()
    after_idle: AfterIdle | None = None
    profile: Profile | None = None
    yardstick: CandidateFigures | None = None
    """Not a candidate: how fast the machine was meanwhile (`edgec.latency.yardstick`)."""


def bench(
    path: Path,
    *,
    threads: int | None = None,
    iterations: int | None = None,
    sustained: Workload | None = None,
    idle_s: float | None = None,
    profile: bool = False,
    patience_s: float = 0.0,
    progress: Progress | None = None,
) -> BenchResult:
    """Check the artefact's hashes and measure it on its golden frames.

    Runs `iterations` times, in several processes one after another; by default 100 times, or fewer if that takes over a minute.
    `sustained` is a further, longer run in processes of its own; `idle_s` adds inferences after so many seconds of sleep,
    `profile` the time of each step. Measuring waits up to `patience_s` until other work leaves it its cores. `threads`: by
    default the cores that this process may use, divided among streams. The evidence is `measured on target` if the host lacks
    nothing that the target requires, and `emulated on host` if its CPU is emulated.

    Raises `ArtefactError` for a damaged artefact, `TargetError` if its runtime is not installed or cannot time its steps,
    `RuntimeFailure` if it fails.
    """
    load = load_average()
    artefact = open_artefact(path)
    manifest = artefact.manifest
    availability = registry.get(manifest.runtime).availability()
    if not availability.available:
        raise MissingPackage(
            f"The artefact runs in {manifest.runtime}, which is not installed.",
            evidence=availability.problem,
            remedy=availability.install,
        )
    if registry.get(manifest.runtime).evidence is not Evidence.HOST:
        raise TargetError(
            f"The artefact is for {manifest.target}: there is nothing to measure on this machine.",
            evidence=f"{manifest.runtime} is only simulated here",
            remedy=f"edgec deploy {path} user@board, then edgec bench {path} --on user@board",
        )
    if profile:
        registry.get(manifest.runtime).require_profiler()
    host = facts()
    lacked = lacks(manifest.target, host)
    evidence = evidence_here(host, lacked)
    streams = sustained.streams if sustained else 1
    threads = threads or max(1, available_cores() // streams)
    frames = stacks(artefact.golden.frames, manifest.input.shape[0])
    quiet = wait_for_quiet(patience_s, threads, lambda text: progress(text, 0, 1) if progress is not None else None)
    measurement, yardstick = measure_series(
        artefact.lowered,
        frames,
        threads=threads,
        iterations=iterations or DEFAULT_ITERATIONS,
        # A number of runs that the user gave is not cut short.
        max_seconds=DEFAULT_SECONDS if iterations is None else math.inf,
        progress=progress,
        evidence=evidence,
    )
    if measurement.latency is None or measurement.cold_start is None:
        raise _failure(manifest.runtime, measurement.problem)
    latency, other_cores = measurement.latency, measurement.other_cores or 0.0
    before = [f"Before measuring, {quiet.problem}."] if quiet.problem else []
    doubts = [*before, *caveats(host, load), *contention(host, latency.threads, [other_cores])]
    runs: tuple[Run, ...] = ()
    idle: AfterIdle | None = None
    try:
        if sustained is not None:
            run, run_doubts = sustain(artefact.lowered, frames, sustained, threads=threads, evidence=evidence, progress=progress)
            runs = (run,)
            doubts += [*run_doubts, *_shared_cores(host, run)]
        if idle_s is not None:
            idle = after_idle(artefact.lowered, frames, idle_s, threads=threads, evidence=evidence, progress=progress)
    except WorkerProblem as problem:
        raise _failure(manifest.runtime, str(problem)) from None
    steps: Profile | None = None
    if profile:
        if progress is not None:
            progress("profiling", 0, 1)
        steps = profile_artefact(artefact, frames, threads=threads, evidence=evidence)
    return BenchResult(
        artefact, latency, measurement.cold_start, measurement, host, lacked, tuple(doubts), runs, idle, steps, yardstick
    )


def _failure(runtime: str, problem: str) -> RuntimeFailure:
    return RuntimeFailure(
        f"The artefact could not be measured in {runtime}.",
        evidence=problem.splitlines(),
        remedy="`edgec verify` shows whether it runs at all; `edgec doctor` shows what is installed",
    )


def _shared_cores(host: Host, run: Run) -> tuple[str, ...]:
    """What took cores from the run: other work, or its own threads."""
    threads = run.threads * run.streams
    if threads > host.usable_cores:
        return (f"{run.streams} streams of {run.threads} threads have {host.usable_cores} cores: they took turns.",)
    return contention(host, threads, [run.other_cores or 0.0], during="During the run")


def as_report(result: BenchResult) -> Report:
    """The figures as a report of one candidate, and the yardstick. The model's facts and its fidelity come from the report that
    the build wrote into the artefact. Raises `ArtefactError` if that report is missing or damaged."""
    built = read_report(result.artefact.directory / "report.json")
    (chosen,) = (candidate for candidate in built.candidates if candidate.chosen)
    yardsticks = () if result.yardstick is None else (result.yardstick,)
    candidate = chosen.model_copy(
        update={
            "execution_precision": result.measurement.execution_precision,
            "size_bytes": result.artefact.lowered.size_bytes,
            "latency": result.latency,
            "cold_start": result.cold_start,
            "cpu_ms_per_frame": result.measurement.cpu_ms_per_frame,
            "runs": result.runs,
            "after_idle": result.after_idle,
            "profile": result.profile,
        }
    )
    return built.model_copy(
        update={
            "edgec_version": __version__,
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "artefact_sha256": sha256_of(result.artefact.directory / MANIFEST),
            "host_is_target": result.lacks == (),
            "candidates": (candidate, *yardsticks),
            "reason": "It is the artefact that was measured.",
            "notes": (NOTE, *[YARDSTICK_NOTE] * len(yardsticks), *result.caveats),
            "host": result.host,
            "files": (),
        }
    )
