"""Each compute unit, judged first and measured then; only those that reproduce the golden features are measured.

A compute unit has two processes. The first loads the compiled package for the first time, which is when Core ML makes it ready
for the chip, runs the golden frames, and asks where operations will run. The second pays what every later start pays, and is
measured. Those second processes live side by side: rounds go over them in random order, in a round each runs one block, about a
second long and at most ten runs, and while one works the others wait.
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
from edgec_mac.output import say
from edgec_mac.parity import Parity, judge
from edgec_mac.process import Worker

_SHOWN = 5


@dataclass(frozen=True)
class Unit:
    """What Core ML may use: `name` as Swift has it (MLComputeUnits), `spelt` as coremltools does, `needs` of a profile's."""

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
    """`patience` is how long Core ML may say nothing, in seconds: loads that hang for ever are known (apple/coremltools#2660)."""

    iterations: int = 100
    seconds: float = 60.0
    patience: float = 600.0


@dataclass
class Result:
    """What became of one compute unit. `first_load_ms` is the load that made the package ready for the chip."""

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
    """Round and runs."""
    cpu_ms: float = 0.0

    @property
    def reproduces(self) -> bool:
        return self.parity is not None and not self.parity.verdict.problems

    @property
    def measured(self) -> bool:
        return bool(self.samples) and not self.problem


def units_of(profile: Profile | None, asked: Sequence[str]) -> tuple[Unit, ...]:
    """Those that were asked for, or all that the profile allows."""
    if asked:
        return tuple(unit for unit in UNITS if unit.name in asked)
    return tuple(unit for unit in UNITS if profile is None or unit.needs in profile.compute_units)


def check_coremltools(scratch: Path, patience: float) -> dict[str, Any]:
    """Versions, and the file that speaks to Core ML. Raises `WorkerProblem` if it cannot be imported."""
    with Worker(scratch / "check.stderr", patience) as worker:
        return worker.tell("check")


def compile_package(artefact: Artefact, scratch: Path, patience: float) -> tuple[Path, float]:
    """Where the compiled package is, and the milliseconds that compiling took. Raises `CoreMlFailed`."""
    compiled = scratch / f"{artefact.package.stem}.mlmodelc"
    try:
        with Worker(scratch / "compile.stderr", patience) as worker:
            took: float = worker.tell("compile", package=str(artefact.package), to=str(compiled))["compile_ms"]
            return compiled, took
    except WorkerProblem as problem:
        raise CoreMlFailed(
            "Core ML does not compile the package.",
            evidence=[str(problem)],
            remedy="send this, with the version of macOS, to edgec's maintainers",
        ) from None


def judge_and_measure(artefact: Artefact, units: Sequence[Unit], compiled: Path, scratch: Path, options: Options) -> list[Result]:
    """In the order of `units`. What one of them does wrong is its own result's `problem`."""
    frames, expected, shipped = read_golden(artefact)
    np.save(scratch / "frames.npy", frames)
    results = [Result(unit) for unit in units]
    for result in results:
        say(f"  {result.unit.name}: load, golden frames")
        with Worker(scratch / f"{result.unit.name}-judge.stderr", options.patience) as worker, _noted(result):
            result.first_load_ms = _load(worker, artefact, result, compiled, scratch, options)["load_ms"]
            place = scratch / f"{result.unit.name}.npz"
            worker.tell("outputs", batches=batches(artefact.golden_count, artefact.input_shape[0]), to=str(place))
            with np.load(place, allow_pickle=False) as found:
                result.parity = judge(artefact, expected, shipped, {name: found[name] for name in found.files})
            result.problem = "; ".join(result.parity.verdict.problems[:_SHOWN])
            try:
                result.placement = worker.tell("plan")
            except WorkerProblem as problem:
                result.placement_problem = str(problem)
        if result.problem:
            say(f"    FAILED: {result.problem}")
    sound = [result for result in results if result.reproduces]
    if sound:
        _measure(artefact, sound, compiled, scratch, options)
    return results


def _measure(artefact: Artefact, results: Sequence[Result], compiled: Path, scratch: Path, options: Options) -> None:
    with ExitStack() as stack:
        workers = {}
        for result in results:
            say(f"  {result.unit.name}: load, warm up")
            worker = stack.enter_context(Worker(scratch / f"{result.unit.name}-bench.stderr", options.patience))
            workers[result.unit.name] = worker
            with _noted(result):
                result.facts = _load(worker, artefact, result, compiled, scratch, options)
                result.process_ms = (perf_counter() - worker.began) * 1000
        for result in _without_problem(results):
            with _noted(result):
                result.warmup = workers[result.unit.name].tell("warm")["runs_ms"]
        say(f"  measure, in turns: {options.iterations} runs each")
        _interleave(results, workers, options)
        for result in _without_problem(results):
            with _noted(result):
                result.facts = {**result.facts, **workers[result.unit.name].tell("finish")}


def _interleave(results: Sequence[Result], workers: dict[str, Worker], options: Options) -> None:
    order, number = random.Random(0), 0  # noqa: S311 - an order, not a secret
    while turns := [each for each in _without_problem(results) if not enough(each.samples, options.iterations, options.seconds)]:
        order.shuffle(turns)
        for result in turns:
            size = block_size(median(result.samples or result.warmup), options.iterations - len(result.samples))
            with _noted(result):
                answer = workers[result.unit.name].tell("run", iterations=size)
                result.samples += [round(sample, 4) for sample in answer["samples_ms"]]
                result.blocks.append((number, size))
                result.cpu_ms += answer["cpu_ms"]
        number += 1


def _without_problem(results: Sequence[Result]) -> list[Result]:
    return [result for result in results if not result.problem]


def _load(worker: Worker, artefact: Artefact, result: Result, compiled: Path, scratch: Path, options: Options) -> dict[str, Any]:
    return worker.tell(
        "load",
        model=str(compiled),
        units=result.unit.spelt,
        function=artefact.function,
        frames=str(scratch / "frames.npy"),
        inputs=artefact.inputs,
    )


@contextmanager
def _noted(result: Result) -> Iterator[None]:
    """Notes a `WorkerProblem` on the result and goes on: the other compute units are not to blame."""
    try:
        yield
    except WorkerProblem as problem:
        result.problem = str(problem)
