"""Calibration, what each operation's int8 costs, and precision plans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgec import cache as cached
from edgec import frames as framing
from edgec.frames import Frame, Pixels, Split
from edgec.frames.ills import ILLS
from edgec.graph.operations import operations
from edgec.graph.peaks import observe_peaks
from edgec.graph.plan import CALIBRATED, Bytes, Precision, PrecisionPlan
from edgec.precision.planning import Planner
from edgec.precision.recipes import STATIC, Recipe
from edgec.precision.static import INT8_KINDS, int8_activations
from edgec.precision.storing import load_plan, save_plan
from edgec.progress import Step
from edgec.stages.base import Build, Calibration, Hub, dump, identities, key_of, load
from edgec.stages.sizes import widest_peaks, widest_ranges

if TYPE_CHECKING:
    from edgec.graph.statistics import Statistics

SENSITIVITY_FRAMES = 3
"""Enough to rank operations: on ViT-S/16 the losses of single operations on three frames add up to the whole plan's loss (8.0e-5
of 8.4e-5)."""
ILL_FRAMES = 32
"""Calibration frames that are seen with an ill, too: a quarter more work. On ViT-S/16, judged on places and ills that calibration
did not see (motion blur, night, glare, a poor video link, defocus, half covered, white, BGR), that raised the first percentile of
patches in eight of ten conditions, most for a white frame (.99962 to .99997), and lowered it in two, by .00014 at most."""
PEAK_FRAMES = 32
"""Every tensor of the graph is observed, which takes seconds per frame. There is headroom above the observed peaks
(`edgec.lowering.halves.HEADROOM`), and every candidate runs on all validation frames."""


class Plans:
    """int8 and fp8 plans for a hub graph. Each is computed only once and cached; nothing is computed if all are in the cache."""

    def __init__(self, build: Build, hub: Hub, calibration: Calibration) -> None:
        self._build, self._hub, self._calibration = build, hub, calibration
        resolved = build.resolved
        # A target on another machine has one runtime, whose types hold a smaller range than float32.
        self._remote = None if resolved.backend.runs_here else next(iter(resolved.lowerings.values()))
        self._rules = resolved.backend.int8_rules(resolved.profiles)
        self._planners: dict[Bytes, Planner] = {}

    def _planner(self, activations: Bytes) -> Planner:
        if activations not in self._planners:
            graph, statistics = self._hub.load_shipped(), self._calibration.statistics
            self._planners[activations] = Planner(graph, statistics, activations=activations, paired=self._rules.paired)
        return self._planners[activations]

    def directory(self, recipe: Recipe, kinds: tuple[str, ...], rest: Precision, precision: str = "int8") -> Path:
        """The directory of the plan, as `edgec.precision.storing` writes it. `kinds` are the operations that may be `precision`,
        which is int8 or fp8; `rest` is the precision of the others."""
        activations: Bytes = "fp8" if precision == "fp8" else self._rules.activations

        def produce(directory: Path) -> None:
            plan = self._planner(activations).plan(recipe, kinds=kinds, rest=rest)
            save_plan(directory, self.fitted(plan))

        settings = recipe.variant, sorted(recipe.per_token), sorted(recipe.unquantised)
        target = activations, self._rules.paired, self._remote.name if self._remote else ""
        key = cached.key(self._calibration.key, target, settings, kinds, rest)
        modules = ["edgec.precision.planning", "edgec.precision.storing"]
        modules += [type(self._remote).__module__] if self._remote else []
        return self._build.stage("plan", key, produce, modules=modules)

    def fitted(self, plan: PrecisionPlan) -> PrecisionPlan:
        """The plan with float32 for every operation that could overflow the device's fp16."""
        return self._remote.fitted(self._hub.load_shipped(), plan, self._calibration.peaks) if self._remote else plan

    def release(self) -> None:
        """Free the memory of what plans have in common; it is computed again if another plan is requested."""
        self._planners.clear()


def calibrate(build: Build, hub: Hub, split: Split) -> Calibration:
    """Statistics of every activation that an int8 operation reads, and the largest values that fp16 must hold; empty if no
    candidate uses these types. Several sizes share one calibration, because they share one plan (`edgec.stages.sizes`)."""
    resolved = build.resolved
    precisions = {precision for _, precision in resolved.pairs}
    watched = not resolved.backend.runs_here and precisions - {"fp32"}
    peaks = widest_peaks([_peaks(build, each, split) for each in hub.all]) if watched else {}
    if precisions.isdisjoint(CALIBRATED):
        return Calibration({}, peaks=peaks)
    statistics, keys = zip(*(_statistics(build, each, split) for each in hub.all), strict=True)
    return Calibration(widest_ranges(statistics), cached.key(keys, sorted(peaks.items())), peaks)


def _statistics(build: Build, hub: Hub, split: Split) -> tuple[Mapping[str, Statistics], str]:
    """Statistics at one size, and the key that they are cached under."""
    from edgec.graph.statistics import load_statistics, observe, save_statistics

    seed, threads = build.resolved.request.seed, build.resolved.threads

    def produce(directory: Path) -> None:
        graph = hub.load_shipped()
        pictures = _with_ills(_pictures(hub, split.calibration, step), len(split.calibration))
        statistics = observe(graph, int8_activations(graph), pictures, build.batch, threads=threads, seed=seed)
        save_statistics(directory / "statistics.npz", statistics)

    with build.progress.stage(f"calibrate{build.at(hub.size)}", len(split.calibration)) as step:
        key = build.key(hub, identities(split.calibration), seed)
        modules = "edgec.frames", "edgec.graph.statistics", "edgec.precision.static"
        gflop = hub.model.gflops * len(split.calibration)
        directory = build.stage("statistics", key, produce, modules=modules, gflop=gflop)
    return load_statistics(directory / "statistics.npz"), key_of(directory)


def _with_ills(pictures: Iterable[Pixels], count: int) -> Iterator[Pixels]:
    """The pictures, and after every third or so of the `count` also one of it with an ill of the camera's, each ill in turn: what
    a robot meets leaves the ranges of good frames."""
    ills = list(ILLS.values())
    every = max(1, count // ILL_FRAMES)
    for index, picture in enumerate(pictures):
        yield picture
        if index % every == 0:
            yield ills[index // every % len(ills)](picture)


def _pictures(hub: Hub, frames: Sequence[Frame], step: Step) -> Iterator[Pixels]:
    for frame, picture in framing.batches(frames, hub.size):
        step(doing=frame.name)
        yield picture


def _peaks(build: Build, hub: Hub, split: Split) -> dict[str, float]:
    watched = _spread(split.calibration, PEAK_FRAMES)

    def produce(directory: Path) -> None:
        pictures = _pictures(hub, watched, step)
        peaks = observe_peaks(hub.load_shipped(), pictures, build.batch, threads=build.resolved.threads)
        dump(directory / "peaks.json", peaks)

    with build.progress.stage(f"find what fp16 must hold{build.at(hub.size)}", len(watched)) as step:
        key = build.key(hub, identities(watched))
        directory = build.stage("peaks", key, produce, modules=("edgec.frames", "edgec.graph.peaks"))
    peaks: dict[str, float] = load(directory / "peaks.json")
    return peaks


def measure_int8_costs(build: Build, hub: Hub, plans: Plans, calibration: Calibration, split: Split) -> dict[str, float]:
    """What each operation's int8 costs the features, by its name, on calibration frames of the default size; empty unless the
    effort is full."""
    if build.resolved.request.effort != "full" or not calibration.statistics:
        return {}
    frames = _spread(split.calibration, SENSITIVITY_FRAMES)
    plan_directory = plans.directory(STATIC, INT8_KINDS, "fp32")

    def produce(directory: Path) -> None:
        from edgec.precision.sensitivity import measure_sensitivity

        pictures = [picture for _, picture in framing.batches(frames, hub.size)]
        sensitivity = measure_sensitivity(
            hub.load_shipped(),
            load_plan(plan_directory),
            pictures,
            build.batch,
            threads=build.resolved.threads,
            step=lambda name: step(doing=name),
        )
        dump(directory / "sensitivity.json", sensitivity)

    count = sum(operation.kind in INT8_KINDS for operation in operations(hub.load_shipped()))
    with build.progress.stage("measure sensitivity", count) as step:
        key = build.key(hub, key_of(plan_directory), identities(frames))
        directory = build.stage("sensitivity", key, produce, modules=("edgec.frames", "edgec.precision.sensitivity"))
    sensitivity: dict[str, float] = load(directory / "sensitivity.json")
    return sensitivity


def _spread(frames: Sequence[Frame], count: int) -> tuple[Frame, ...]:
    """At most `count` of the frames, evenly spaced."""
    count = min(count, len(frames))
    return tuple(frames[round(index * (len(frames) - 1) / max(count - 1, 1))] for index in range(count))
