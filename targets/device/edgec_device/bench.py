"""bench: how long a frame takes on this board, as its tool measures it, and under which conditions."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any, Sequence

from edgec_onboard.errors import BoardError, DiskFull
from edgec_onboard.figures import ABSENT, milliseconds, p99
from edgec_onboard.measurements import now
from edgec_onboard.statistics import summary

from edgec_device import sensors
from edgec_device.load import Between, other_cores, stalled_share
from edgec_device.npy import read_npz
from edgec_device.session import Engine, Session
from edgec_device.throttling import history, throttling
from edgec_device.tool import Measured
from edgec_device.watch import Watch

ROUNDS = 2
"""Variants take turns, so that heat from one does not slow only the next."""
_TAKEN = 0.1
"""The share of the cores that a measurement needs, above which other work must not have used them (as in edgec/host/facts.py)."""
_STALLED = 0.01


def bench(session: Session, engines: Sequence[Engine], *, again: bool) -> dict[str, BoardError]:
    """Measure each engine and record the figures in its folder. Returns the variants that failed, with the reason.

    If one has to be measured, all are measured again: figures of different days cannot be compared.
    """
    output, options = session.output, session.options
    output.step("bench", f"{options.seconds:g} s and {options.iterations} runs at least each")
    flags = session.tool.bench_flags(options.seconds / ROUNDS, math.ceil(options.iterations / ROUNDS))
    if not again and all((engine.record("bench") or {}).get("flags") == flags for engine in engines):
        for engine in engines:
            _print_figures(session, engine, "unchanged")
        return {}
    rounds: dict[str, list[_Round]] = {engine.variant.name: [] for engine in engines}
    failed: dict[str, BoardError] = {}
    for _ in range(ROUNDS):
        for engine in engines:
            name = engine.variant.name
            if name in failed:
                continue
            try:
                rounds[name].append(_measure(session, engine, flags))
            except DiskFull:
                raise
            except BoardError as error:
                failed[name] = error
                engine.forget("bench")
                session.remember_problem(name, "bench", str(error))
                output.problem("bench", name, error)
    # A random number, because the clock may have been set back since another run.
    together = int.from_bytes(os.urandom(6), "big")
    for engine in engines:
        name = engine.variant.name
        if name not in failed:
            engine.keep("bench", {**_record(session, engine, flags, rounds[name]), "took_turns": together})
            session.remember_problem(name, "bench", None)
            _print_figures(session, engine, "measured")
    return failed


@dataclass(frozen=True)
class _Round:
    """What was measured, and the board's conditions."""

    measured: Measured
    conditions: dict[str, Any]
    throttled: list[str]
    span: Between

    @property
    def samples(self) -> Sequence[float]:
        return self.measured.samples


def _measure(session: Session, engine: Engine, flags: Sequence[str]) -> _Round:
    name = engine.variant.name
    with session.layout.scratch(session.layout.work) as work:
        frames = read_npz(session.release / session.bundle.golden_frames)[session.bundle.input.name]
        count, batch = session.bundle.golden_count, session.bundle.input.shape[0]
        data = b"".join(frames.row(min(index, count - 1)).tobytes() for index in range(batch))
        log = session.layout.logs / f"bench-{name}.log"
        watch = Watch(session.system)
        measured = session.tool.measure(
            engine.variant, engine.file, data, session.bundle.input, flags, work=work, log=log, on_tick=watch.sample
        )
        return _Round(measured, *watch.end())


def _record(session: Session, engine: Engine, flags: Sequence[str], rounds: Sequence[_Round]) -> dict[str, Any]:
    samples = [sample for each in rounds for sample in each.samples]
    mode = sensors.power_mode(session.system)
    throttled = list(dict.fromkeys(text for each in rounds for text in each.throttled))
    doubts = session.doubts() + session.tool.engine_doubts(engine.file)
    clocks, spans = rounds[0].conditions["before"]["clocks"], [each.span for each in rounds]
    caveats = sensors.caveats(mode, clocks, throttled, on_cpu=session.family.on_cpu)
    caveats += history(throttling(session.system)) + _disturbances(
        spans, rounds[0].measured.threads, on_cpu=session.family.on_cpu
    )
    caveats += dict.fromkeys(caveat for each in rounds for caveat in each.measured.caveats)
    return {
        **vars(summary(samples)),
        "samples_ms": samples,
        "iterations": len(samples),
        "warmup": sum(each.measured.warm_up for each in rounds),
        "load_ms": round(min(each.measured.load_ms for each in rounds), 1),
        "flags": list(flags),
        "power_mode": mode,
        "throttled": throttled,
        "other_cores": other_cores(spans),
        "memory_stalled": stalled_share(spans),
        "caveats": caveats,
        "rounds": [{"runs": len(each.samples), **each.conditions} for each in rounds],
        "threads": rounds[0].measured.threads,
        "cpu_ms_per_frame": _cpu_ms_per_frame(rounds, session.bundle.input.shape[0]),
        "cold_start": rounds[0].measured.cold_start,
        **session.tool.identity(engine.variant),
        "created": now(),
        "evidence": session.grade(doubts),
        "doubts": doubts,
    }


def _disturbances(spans: list[Between], threads: int, *, on_cpu: bool) -> list[str]:
    """Sentences about other work that took what the measurement needed."""
    sentences, cores = [], os.cpu_count() or 1
    others, stalled = other_cores(spans), stalled_share(spans)
    if on_cpu and others is not None and others > max(0, cores - threads) + _TAKEN * threads:
        sentences.append(f"While measuring, other work used {others:.1f} of {cores} logical cores: the figures are too high.")
    if stalled is not None and stalled > _STALLED:
        sentences.append(f"Work waited for memory {stalled:.1%} of the time while measuring (/proc/pressure/memory).")
    return sentences


def _cpu_ms_per_frame(rounds: Sequence[_Round], batch: int) -> float | None:
    times = [each.measured.cpu_ms for each in rounds]
    known = [value for value in times if value is not None]
    frames = batch * sum(len(each.samples) for each in rounds)
    return round(sum(known) / frames, 4) if len(known) == len(times) else None


def _print_figures(session: Session, engine: Engine, result: str) -> None:
    record = engine.record("bench") or {}
    figures = {name: record[name] for name in ("p50_ms", "p90_ms", "p99_ms", "iterations", "evidence")}
    name, known = engine.variant.name, " (known)" if result == "unchanged" else ""
    shown = {"p50": milliseconds(record["p50_ms"]), "p90": milliseconds(record["p90_ms"])}
    shown["p99"] = p99(record["p99_ms"], record["iterations"])
    times = "{} over {} runs".format(
        ", ".join(f"{title} {text} ms" for title, text in shown.items() if text != ABSENT), record["iterations"]
    )
    session.output.emit("done", f"  {name}: {times}{known}", step="bench", variant=name, result=result, **figures)
