"""Calibration, what int8 costs operation by operation, and plans."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from edgec import cache as cached
from edgec import frames as framing
from edgec.frames import Frame, Pixels, Split
from edgec.graph.operations import operations
from edgec.graph.peaks import observe_peaks
from edgec.graph.plan import Precision, PrecisionPlan
from edgec.precision.planning import Activations, Planner
from edgec.precision.recipes import STATIC, Recipe
from edgec.precision.static import INT8_KINDS, int8_activations
from edgec.precision.storing import load_plan, save_plan
from edgec.progress import Step
from edgec.stages.base import Calibration, Hub, Stage, dump, identities, load
from edgec.stages.sizes import widest_peaks, widest_ranges

if TYPE_CHECKING:
    from edgec.graph.statistics import Statistics

SENSITIVITY_FRAMES = 3
"""Enough to rank operations: on ViT-S/16 the single losses that three frames show add up to the whole plan's (8.0e-5 of
8.4e-5)."""
PEAK_FRAMES = 32
"""Every tensor of the graph is looked at, which takes seconds a frame. What fp16 must hold has room of its own above the peaks
that are seen (`edgec.lowering.halves.HEADROOM`), and every candidate is run on all frames that judge it."""


class Plans:
    """int8 plans for a hub graph, each made once and kept; nothing is computed if all are there."""

    def __init__(self, stage: Stage, hub: Hub, calibration: Calibration) -> None:
        int8 = stage.resolved.profile.int8
        self._cache, self._hub, self._calibration = stage.cache, hub, calibration
        devices, lowerings = stage.resolved.devices, stage.resolved.lowerings
        # What runs elsewhere has one runtime, and that one's types hold less than float32.
        self._elsewhere = next(iter(lowerings.values())) if devices else None
        # TensorRT and the Neural Engine quantise symmetrically; a CPU's profile says what is fastest there.
        self._activations: Activations = "s8" if devices else int8.activations if int8 else "u8"
        self._paired = bool(int8 and int8.pairs_saturate)

    @cached_property
    def _planner(self) -> Planner:
        statistics = self._calibration.statistics
        return Planner(self._hub.load_shipped(), statistics, activations=self._activations, paired=self._paired)

    def key(self, recipe: Recipe, kinds: tuple[str, ...], rest: Precision) -> str:
        said = recipe.variant, sorted(recipe.per_token), sorted(recipe.kept)
        ways = self._activations, self._paired, self._elsewhere.name if self._elsewhere else ""
        return cached.key(self._calibration.key, ways, said, kinds, rest)

    def directory(self, recipe: Recipe, kinds: tuple[str, ...], rest: Precision) -> Path:
        """Where the plan is (`edgec.precision.storing`)."""

        def produce(directory: Path) -> None:
            plan = self._planner.plan(recipe, kinds=kinds, rest=rest)
            save_plan(directory, self.fitted(plan))

        return self._cache.stage("plan", self.key(recipe, kinds, rest), produce)

    def fitted(self, plan: PrecisionPlan) -> PrecisionPlan:
        """With what could overflow a device's fp16 in float32."""
        return self._elsewhere.fitted(self._hub.load_shipped(), plan, self._calibration.peaks) if self._elsewhere else plan


class Quantising(Stage):
    _made: Plans | None = None

    def plans(self, hub: Hub, calibration: Calibration) -> Plans:
        """Those of this build, until they are dropped: what plans have in common is worked out once."""
        self._made = self._made or Plans(self, hub, calibration)
        return self._made

    def drop_plans(self) -> None:
        """Makes room for what is measured next."""
        self._made = None

    def calibrate(self, hub: Hub, split: Split) -> Calibration:
        """Statistics of every activation that an int8 operation reads, and what fp16 must hold; nothing if no candidate is in
        either. Of several sizes one calibration, which one plan for all of them follows from (`edgec.stages.sizes`)."""
        tried = {precision for _, precision in self.resolved.pairs}
        watched = self.resolved.devices and tried - {"fp32"}
        peaks = widest_peaks([self._peaks(each, split) for each in hub.all]) if watched else {}
        if "int8" not in tried:
            return Calibration({}, peaks=peaks)
        found = [self._statistics(each, split) for each in hub.all]
        return Calibration(widest_ranges(found), self._statistics_key(hub.all, split), peaks)

    def _statistics_key(self, hubs: tuple[Hub, ...], split: Split) -> str:
        return self._key(hubs, identities(split.calibration), self.resolved.request.seed)

    def _statistics(self, hub: Hub, split: Split) -> Mapping[str, Statistics]:
        from edgec.graph.statistics import load_statistics, observe, save_statistics

        request = self.resolved.request

        def produce(directory: Path) -> None:
            graph = hub.load_shipped()
            tensors, threads = int8_activations(graph), self.resolved.threads
            pictures = self._pictures(hub, split.calibration, step)
            found = observe(graph, tensors, pictures, self._batch, threads=threads, seed=request.seed)
            save_statistics(directory / "statistics.npz", found)

        with self.progress.stage(f"calibrate{self._at(hub.size)}", len(split.calibration)) as step:
            directory = self.cache.stage("statistics", self._statistics_key((hub,), split), produce)
        return load_statistics(directory / "statistics.npz")

    def _pictures(self, hub: Hub, frames: Sequence[Frame], step: Step) -> Iterator[Pixels]:
        for frame, picture in framing.batches(frames, hub.size):
            step(doing=frame.name)
            yield picture

    def _peaks(self, hub: Hub, split: Split) -> dict[str, float]:
        chosen = _spread(split.calibration, PEAK_FRAMES)

        def produce(directory: Path) -> None:
            pictures = self._pictures(hub, chosen, step)
            peaks = observe_peaks(hub.load_shipped(), pictures, self._batch, threads=self.resolved.threads)
            dump(directory / "peaks.json", peaks)

        with self.progress.stage(f"find what fp16 must hold{self._at(hub.size)}", len(chosen)) as step:
            key = self._key(hub, identities(chosen))
            found: dict[str, float] = load(self.cache.stage("peaks", key, produce) / "peaks.json")
        return found

    def sensitivity(self, hub: Hub, calibration: Calibration, split: Split) -> dict[str, float]:
        """What each operation's int8 costs the features, on calibration frames of the default size; nothing unless the effort is
        full."""
        request = self.resolved.request
        if request.effort != "full" or not calibration.statistics:
            return {}
        chosen = _spread(split.calibration, SENSITIVITY_FRAMES)
        plans = self.plans(hub, calibration)

        def produce(directory: Path) -> None:
            from edgec.precision.sensitivity import measure_sensitivity

            pictures = [picture for _, picture in framing.batches(chosen, hub.size)]
            plan = load_plan(plans.directory(STATIC, INT8_KINDS, "fp32"))
            found = measure_sensitivity(
                hub.load_shipped(), plan, pictures, self._batch, threads=self.resolved.threads, step=lambda name: step(doing=name)
            )
            dump(directory / "sensitivity.json", found)

        with self.progress.stage("measure sensitivity", _count(hub)) as step:
            key = self._key(hub, plans.key(STATIC, INT8_KINDS, "fp32"), identities(chosen))
            found: dict[str, float] = load(self.cache.stage("sensitivity", key, produce) / "sensitivity.json")
        return found


def _count(hub: Hub) -> int:
    return sum(operation.kind in INT8_KINDS for operation in operations(hub.load_shipped()))


def _spread(frames: Sequence[Frame], count: int) -> tuple[Frame, ...]:
    """So many of them at most, evenly."""
    count = min(count, len(frames))
    return tuple(frames[round(index * (len(frames) - 1) / max(count - 1, 1))] for index in range(count))
