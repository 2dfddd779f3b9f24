"""Each compute unit is first judged, then measured; only those that reproduce the golden features are measured.

A compute unit has two processes. The first loads the compiled package for the first time, when Core ML prepares it for the chip,
runs the golden frames, and asks where operations will run. The second starts as every later start does, and is measured. All
second processes exist at the same time: they take turns, in rounds of random order. In a round each runs one block, about a
second long and at most ten runs, while the others wait.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from edgec_onboard.judging import batches
from edgec_onboard.statistics import block_size, enough
from edgec_onboard.worker import WorkerProblem

from edgec_mac.artefact import Artefact
from edgec_mac.errors import CoreMlFailed
from edgec_mac.golden import read_golden
from edgec_mac.machine import Profile
from edgec_mac.output import print_line
from edgec_mac.parity import Parity, judge
from edgec_mac.process import Worker

_SHOWN = 5


@dataclass(frozen=True)
class Unit:
    """What Core ML may use: `name` in Swift (MLComputeUnits), `spelt` in coremltools, `needs` among a profile's compute units."""

    name: str
    spelt: str
    needs: str


UNITS = (
    Unit("cpuOnly", "CPU_ONLY", "cpu"),
    Unit("cpuAndGPU", "CPU_AND_GPU", "gpu"),
    Unit("cpuAndNeuralEngine", "CPU_AND_NE", "neural-engine"),
    Unit("all", "ALL", "cpu"),
)


@dataclass(frozen=True)
class Options:
    """`patience` is how many seconds Core ML may take to answer: loads may hang for ever (apple/coremltools#2660)."""

    iterations: int = 100
    seconds: float = 60.0
    patience: float = 600.0


@dataclass
class Result:
    """The results of one compute unit. `first_load_ms` is the load that prepared the package for the chip."""

    unit: Unit
    problem: str = ""
    parity: Parity | None = None
    first_load_ms: float | None = None
    placement: dict[str, Any] | None = None
    placement_problem: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    process_ms: float = 0.0
    warmup: list[float] = field(default_factory=list)
    samples: list[float] = field(default_factory=list)
    blocks: list[tuple[int, int]] = field(default_factory=list)
    """The number of the round, and the runs in it."""
    cpu_ms: float = 0.0

    @property
    def reproduces(self) -> bool:
        """Whether it reproduces the golden outputs."""
        return self.parity is not None and not self.parity.verdict.problems

    @property
    def measured(self) -> bool:
        """Whether it was measured without a problem."""
        return bool(self.samples) and not self.problem


def units_of(profile: Profile | None, chosen: Sequence[str]) -> tuple[Unit, ...]:
    """The units named in `chosen`; if it is empty, all that the profile allows."""
    if chosen:
        return tuple(unit for unit in UNITS if unit.name in chosen)
    return tuple(unit for unit in UNITS if profile is None or unit.needs in profile.compute_units)


def check_coremltools(scratch: Path, patience: float) -> dict[str, Any]:
    """Versions, and the file of coremltools that calls Core ML. Raises `WorkerProblem` if it cannot be imported."""
    with Worker(scratch / "check.stderr", patience) as worker:
        return worker.request("check")


def compile_package(artefact: Artefact, scratch: Path, patience: float) -> tuple[Path, float]:
    """Compile the package; returns the path of the result, and the milliseconds that it took. Raises `CoreMlFailed`."""
    compiled = scratch / f"{artefact.package.stem}.mlmodelc"
    try:
        with Worker(scratch / "compile.stderr", patience) as worker:
            took: float = worker.request("compile", package=str(artefact.package), to=str(compiled))["compile_ms"]
            return compiled, took
    except WorkerProblem as problem:
        raise CoreMlFailed(
            "Core ML does not compile the package.",
            evidence=[str(problem)],
            remedy="send this, and the version of macOS, to edgec's maintainers",
        ) from None


def judge_and_measure(artefact: Artefact, units: Sequence[Unit], compiled: Path, scratch: Path, options: Options) -> list[Result]:
    """Judge and measure all units; returns results in their order. A unit's failure becomes its result's `problem`."""
    frames, expected, shipped = read_golden(artefact)
    np.save(scratch / "frames.npy", frames)
    results = [Result(unit) for unit in units]
    for result in results:
        print_line(f"  {result.unit.name}: load, golden frames")
        with Worker(scratch / f"{result.unit.name}-judge.stderr", options.patience) as worker, _noted(result):
            result.first_load_ms = _load(worker, artefact, result, compiled, scratch, options)["load_ms"]
            path = scratch / f"{result.unit.name}.npz"
            worker.request("outputs", batches=batches(artefact.golden_count, artefact.input_shape[0]), to=str(path))
            with np.load(path, allow_pickle=False) as archive:
                result.parity = judge(artefact, expected, shipped, {name: archive[name] for name in archive.files})
            result.problem = "; ".join(result.parity.verdict.problems[:_SHOWN])
            try:
                result.placement = worker.request("plan")
            except WorkerProblem as problem:
                result.placement_problem = str(problem)
        if result.problem:
            print_line(f"    FAILED: {result.problem}")
    sound = [result for result in results if result.reproduces]
    if sound:
        _measure(artefact, sound, compiled, scratch, options)
    return results


def _measure(artefact: Artefact, results: Sequence[Result], compiled: Path, scratch: Path, options: Options) -> None:
    with ExitStack() as stack:
        workers = {}
        for result in results:
            print_line(f"  {result.unit.name}: load, warm up")
            worker = stack.enter_context(Worker(scratch / f"{result.unit.name}-bench.stderr", options.patience))
            workers[result.unit.name] = worker
            with _noted(result):
                result.facts = _load(worker, artefact, result, compiled, scratch, options)
                result.process_ms = (perf_counter() - worker.began) * 1000
        for result in _without_problem(results):
            with _noted(result):
                result.warmup = workers[result.unit.name].request("warm")["runs_ms"]
        print_line(f"  measure, in turns: {options.iterations} runs each")
        _interleave(results, workers, options)
        for result in _without_problem(results):
            with _noted(result):
                result.facts = {**result.facts, **workers[result.unit.name].request("finish")}


def _interleave(results: Sequence[Result], workers: dict[str, Worker], options: Options) -> None:
    order, number = random.Random(0), 0  # noqa: S311 - an order, not a secret
    while unfinished := [
        result for result in _without_problem(results) if not enough(result.samples, options.iterations, options.seconds)
    ]:
        order.shuffle(unfinished)
        for result in unfinished:
            size = block_size(median(result.samples or result.warmup), options.iterations - len(result.samples))
            with _noted(result):
                answer = workers[result.unit.name].request("run", iterations=size)
                result.samples += [round(sample, 4) for sample in answer["samples_ms"]]
                result.blocks.append((number, size))
                result.cpu_ms += answer["cpu_ms"]
        number += 1


def _without_problem(results: Sequence[Result]) -> list[Result]:
    return [result for result in results if not result.problem]


def _load(worker: Worker, artefact: Artefact, result: Result, compiled: Path, scratch: Path, options: Options) -> dict[str, Any]:
    return worker.request(
        "load",
        model=str(compiled),
        units=result.unit.spelt,
        function=artefact.function,
        frames=str(scratch / "frames.npy"),
        inputs=artefact.inputs,
    )


@contextmanager
def _noted(result: Result) -> Iterator[None]:
    """Note a `WorkerProblem` on the result and continue with the other compute units."""
    try:
        yield
    except WorkerProblem as problem:
        result.problem = str(problem)
