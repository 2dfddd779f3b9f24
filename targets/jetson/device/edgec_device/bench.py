"""bench: how long a frame takes on this board, as trtexec measures it, and under which conditions."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Any, Sequence

from edgec_onboard.errors import BoardError, DiskFull
from edgec_onboard.measurements import now
from edgec_onboard.statistics import summary
from edgec_onboard.text import shorten
from edgec_onboard.untrusted import parse_json, read_bytes

from edgec_device import sensors
from edgec_device.errors import TrtexecFailed
from edgec_device.evidence import engine_doubts
from edgec_device.flags import UNDERSTOOD, bench_flags
from edgec_device.npy import read_npz
from edgec_device.session import Engine, Session
from edgec_device.trtexec import Finished
from edgec_device.verify import FRAMES

ROUNDS = 2
"""Variants take turns, so that heat from one does not slow only the next."""
_TIMES = "times.json"
_WARM_UP = re.compile(r"Warmup completed (\d{1,9}) queries")
_SETTING = re.compile(r"\[I\] ({}): (\w+)$".format("|".join(map(re.escape, UNDERSTOOD))))
_NO_GRAPH = re.compile(r"flag has been ignored|not permitted under CUDA graph capture|Graph capture failed", re.IGNORECASE)
_DESERIALISED = re.compile(r"Engine deserialized in (\d{1,6}(?:\.\d{1,12})?) sec")
_TIMES_BYTES = 256 << 20
_MOST_TIMES = 10_000_000
"""A run has eight values and takes some 170 bytes."""
_LONGEST_MS = 1e7


def bench(session: Session, engines: Sequence[Engine], *, again: bool) -> dict[str, BoardError]:
    """Measure each engine and record the figures in its folder. Returns the variants that failed, with the reason.

    If one has to be measured, all are measured again: figures of different days cannot be compared.
    """
    output, options = session.output, session.options
    output.step("bench", f"{options.seconds:g} s and {options.iterations} runs at least each")
    flags = bench_flags(session.trtexec.version, options.seconds / ROUNDS, math.ceil(options.iterations / ROUNDS))
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


class _Round:
    """One run of trtexec: its samples, and the board's conditions."""

    def __init__(self, samples: list[float], finished: Finished, conditions: dict[str, Any], throttled: list[str]) -> None:
        self.samples = samples
        self.warm_up = int(_first(_WARM_UP, finished.lines) or 0)
        self.load_ms = float(_first(_DESERIALISED, finished.lines) or 0) * 1000
        self.graph_refused = any(map(_NO_GRAPH.search, finished.lines))
        self.conditions = conditions
        self.throttled = throttled


def _measure(session: Session, engine: Engine, flags: Sequence[str]) -> _Round:
    system, name = session.system, engine.variant.name
    meter = sensors.PowerMeter(system)
    idle = sensors.rails(system)
    before = {"temperatures_c": sensors.temperatures(system), "clocks": sensors.clocks(system)}
    throttling = sensors.throttling(system)
    with session.layout.scratch(session.layout.work) as work:
        frames = read_npz(session.release / session.bundle.golden_frames)[session.bundle.input.name]
        count, batch = session.bundle.golden_count, session.bundle.input.shape[0]
        (work / FRAMES).write_bytes(b"".join(frames.row(min(index, count - 1)).tobytes() for index in range(batch)))
        paths = [f"--loadEngine={engine.plan.resolve()}", f"--loadInputs={session.bundle.input.name}:{FRAMES}"]
        finished = session.trtexec.run(
            [*paths, "--exportTimes=" + _TIMES, *flags],
            cwd=work,
            step="bench",
            variant=name,
            log=session.layout.logs / f"bench-{name}.log",
            on_tick=meter.sample,
        )
        samples = read_times(work / _TIMES)
    _check_understood(finished.lines)
    after = {"temperatures_c": sensors.temperatures(system), "clocks": sensors.clocks(system)}
    conditions = {"before": before, "after": after, "power_idle_mw": idle, "power_mw": meter.power_mw}
    return _Round(samples, finished, conditions, meter.throttled(throttling, sensors.throttling(system)))


def read_times(path: Path) -> list[float]:
    """Latencies in ms of each run, in order: copying in, computing and copying out. (They are `latencyMs`, which trtexec computes
    before it prints. The points in time in the file have only six digits: after ten seconds, a tenth of a millisecond.)

    Raises `TrtexecFailed` for a file that holds no latencies.
    """
    try:
        samples = [float(entry["latencyMs"]) for entry in parse_json(read_bytes(path, _TIMES_BYTES), most_values=_MOST_TIMES)]
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise TrtexecFailed(
            "trtexec's times cannot be read.",
            evidence=[shorten(str(error), 300)],
            remedy="run `bench` again; if it happens again, report this",
        ) from error
    if not samples or not all(0 < sample < _LONGEST_MS for sample in samples):
        raise TrtexecFailed(
            "trtexec's times make no sense.",
            evidence=[f"{len(samples)} of them, from {min(samples, default=0)} to {max(samples, default=0)} ms"],
            remedy="run `bench` again; if it happens again, reboot the board",
        )
    return samples


def _check_understood(lines: Sequence[str]) -> None:
    """Raises `TrtexecFailed` unless trtexec printed that it used every setting in `UNDERSTOOD`."""
    actual = {match.group(1): match.group(2) for match in map(_SETTING.search, lines) if match}
    wrong = [
        "{}: {}, not {}".format(name, actual.get(name, "not printed"), expected)
        for name, expected in UNDERSTOOD.items()
        if actual.get(name) != expected
    ]
    if wrong:
        raise TrtexecFailed(
            "trtexec did not measure as it was told to; its figures could not be compared with others.",
            evidence=wrong,
            remedy="report this with the log: edgec does not know this version of trtexec well enough",
        )


def _record(session: Session, engine: Engine, flags: Sequence[str], rounds: Sequence[_Round]) -> dict[str, Any]:
    samples = [sample for each in rounds for sample in each.samples]
    mode = sensors.power_mode(session.system)
    throttled = list(dict.fromkeys(text for each in rounds for text in each.throttled))
    doubts = session.doubts() + engine_doubts(engine.plan)
    caveats = sensors.caveats(mode, rounds[0].conditions["before"]["clocks"], throttled)
    if session.trtexec.substitute:
        caveats.append("Measured by edgec's own program through TensorRT's Python package, not by NVIDIA's trtexec.")
    if any(each.graph_refused for each in rounds):
        caveats.append("The engine could not be captured as a CUDA graph; its kernels were launched one by one.")
    return {
        **vars(summary(samples)),
        "samples_ms": samples,
        "iterations": len(samples),
        "warmup": sum(each.warm_up for each in rounds),
        "load_ms": round(min(each.load_ms for each in rounds), 1),
        "flags": list(flags),
        "power_mode": mode,
        "throttled": throttled,
        "caveats": caveats,
        "rounds": [{"runs": len(each.samples), **each.conditions} for each in rounds],
        "tensorrt": ".".join(map(str, session.trtexec.version)),
        "created": now(),
        "evidence": session.grade(doubts),
        "doubts": doubts,
    }


def _print_figures(session: Session, engine: Engine, result: str) -> None:
    record = engine.record("bench") or {}
    figures = {name: record[name] for name in ("p50_ms", "p90_ms", "p99_ms", "iterations", "evidence")}
    name, known = engine.variant.name, " (known)" if result == "unchanged" else ""
    times = "p50 {p50_ms:.3f} ms, p90 {p90_ms:.3f}, p99 {p99_ms:.3f} over {iterations} runs".format(**figures)
    session.output.emit("done", f"  {name}: {times}{known}", step="bench", variant=name, result=result, **figures)


def _first(pattern: re.Pattern[str], lines: Sequence[str]) -> str | None:
    return next((match.group(1) for match in map(pattern.search, lines) if match), None)
