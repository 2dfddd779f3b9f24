"""Candidates: written, run against the reference before any figure is believed, searched for, and measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgec.backends import profiles as targets
from edgec.backends.jetson.foresight import foresee
from edgec.errors import RuntimeFailure
from edgec.fidelity.gate import measure_fidelity
from edgec.fidelity.reference import Reference
from edgec.graph.plan import PrecisionPlan
from edgec.host.facts import contention
from edgec.latency.measure import Measurement, measure
from edgec.lowering.base import LoweredModel
from edgec.lowering.sizes import ManySizes
from edgec.precision.candidates import Attempt, attempts, rest_of
from edgec.precision.choice import Choice, choose, choose_first, choose_unmeasured, finalists
from edgec.precision.recipes import STATIC, Recipe
from edgec.precision.search import fewest, ladder, predict_sensitivity
from edgec.precision.static import uniform
from edgec.precision.storing import load_plan
from edgec.records.evidence import Evidence
from edgec.records.fidelity import StageFidelity
from edgec.records.report import Candidate, ColdStart, Latency
from edgec.stages.base import Calibration, Hub, Lowered, dump, frames_key, load
from edgec.stages.quantising import Plans, Quantising
from edgec.stages.sizes import least, size_of

MEASURING = "measure latency"
"""The stage that wants the machine to itself."""
MAX_SECONDS = 12.0
"""What measuring one candidate's latency may take: slow models get fewer iterations, and the report says how many."""


class Candidates(Quantising):
    def lower(self, hub: Hub, calibration: Calibration, sensitivity: Mapping[str, float]) -> tuple[Lowered, ...]:
        """Quantise as each recipe says, and write each candidate's files. One that its runtime refuses is reported and does not
        stop the others."""
        resolved = self.resolved
        int8 = resolved.profile.int8
        tried = attempts(
            hub.load_shipped(),
            resolved.pairs,
            resolved.lowerings,
            sensitivity,
            dot_product=bool(int8 and int8.dot_product),
            remote=bool(resolved.devices),
        )
        plans = self.plans(hub, calibration)
        with self.progress.stage("quantise and lower", len(tried)) as step:
            lowered = []
            for attempt in tried:
                step(doing=attempt.name)
                lowered.append(self._lower_one(hub, attempt, plans))
        return tuple(lowered)

    def _lower_one(self, hub: Hub, attempt: Attempt, plans: Plans) -> Lowered:
        def entry(plan: PrecisionPlan | None, model: LoweredModel | None, problem: str = "") -> Lowered:
            return Lowered(attempt.name, attempt.runtime, attempt.precision, plan, attempt.recipe, model, problem)

        if attempt.problem:
            return entry(None, None, attempt.problem)
        lowering = self.resolved.lowerings[attempt.runtime]
        place: Path | None = None
        if attempt.recipe:
            place = plans.directory(attempt.recipe, lowering.int8_kinds, rest_of(self.resolved.profile.precisions, lowering))
            plan = load_plan(place, weights=False)
        else:
            plan = plans.fitted(uniform(attempt.precision))  # type: ignore[arg-type]

        def produce(directory: Path) -> None:
            (directory / attempt.name).mkdir()
            whole = load_plan(place) if place else plan
            graphs = [each.load_shipped() for each in hub.all]
            if isinstance(lowering, ManySizes) and hub.others:
                made = lowering.lower_sizes(graphs, whole, directory / attempt.name)
            else:
                made = lowering.lower(graphs[0], whole, directory / attempt.name)
            dump(directory / "model.json", {"entry": made.entry, "files": made.files, "settings": made.settings})

        try:
            directory = self.cache.stage(
                "lowered", self._key(hub.all, attempt.name, place.parent.name if place else plan), produce
            )
        except RuntimeFailure as error:
            return entry(plan, None, str(error))
        said = load(directory / "model.json")
        files = tuple(said["files"])
        return entry(plan, LoweredModel(attempt.runtime, directory / attempt.name, said["entry"], files, said["settings"]))

    def verify_candidates(self, lowered: Sequence[Lowered], references: Sequence[Reference]) -> tuple[Candidate, ...]:
        """Run each candidate on the validation frames, before any of its figures is believed: at each size, and its worst one
        counts."""
        judged = []
        with self.progress.stage("verify candidates", len(lowered) * self._batches(references)) as step:
            for entry in lowered:
                candidate = Candidate(name=entry.name, runtime=entry.runtime, precision=entry.precision, problem=entry.problem)
                if entry.model is not None:
                    candidate = self._verify_one(candidate, entry.model, references, lambda: step(doing=entry.name))  # noqa: B023
                judged.append(candidate)
        return tuple(judged)

    def _verify_one(
        self, candidate: Candidate, model: LoweredModel, references: Sequence[Reference], step: Callable[[], None]
    ) -> Candidate:
        try:
            found = [self._judge(candidate.name, model, reference, step) for reference in references]
        except RuntimeFailure as error:
            return candidate.model_copy(update={"problem": str(error)})
        return candidate.model_copy(
            update={
                "size_bytes": model.size_bytes,
                "fidelity": least([fidelity for fidelity, _ in found]),
                "execution_precision": found[0][1],
            }
        )

    def _judge(self, name: str, model: LoweredModel, reference: Reference, step: Callable[[], None]) -> tuple[StageFidelity, str]:
        """Its fidelity at the reference's size, and what its runtime says that it computes in."""
        stage = f"{name}{self._at(size_of(reference))}"

        def produce(directory: Path) -> None:
            lowering = self.resolved.lowerings[model.runtime]
            runner = lowering.load(model, threads=self.resolved.threads)
            fidelity = measure_fidelity(reference, runner, self._batch, stage, step, lowering.evidence)
            found = {"fidelity": fidelity.model_dump(mode="json"), "execution_precision": runner.execution_precision}
            dump(directory / "fidelity.json", found)

        key = self._key(str(model.directory), frames_key(reference))
        found = load(self.cache.stage("fidelity", key, produce) / "fidelity.json")
        return StageFidelity.model_validate(found["fidelity"]), found["execution_precision"]

    def at_each_size(self, entry: Lowered, references: Sequence[Reference]) -> tuple[StageFidelity, ...]:
        """The fidelity of a candidate that was verified, which is in the cache."""
        assert entry.model is not None
        return tuple(self._judge(entry.name, entry.model, reference, lambda: None)[0] for reference in references)

    def search(
        self,
        hub: Hub,
        calibration: Calibration,
        sensitivity: Mapping[str, float],
        lowered: Sequence[Lowered],
        judged: Sequence[Candidate],
        references: Sequence[Reference],
    ) -> tuple[tuple[Lowered, ...], tuple[Candidate, ...]]:
        """For each runtime whose fastest int8 is beyond the budget, the plan with the fewest exceptions that is within it, added
        to what there is."""
        fastest: dict[str, tuple[Lowered, Candidate]] = {}
        for entry, candidate in zip(lowered, judged, strict=True):
            if entry.recipe:
                fastest.setdefault(entry.runtime, (entry, candidate))
        missed = [entry for entry, candidate in fastest.values() if self._beyond(candidate)]
        added: list[tuple[Lowered, Candidate]] = []
        for entry in missed:
            added += self._search_one(hub, calibration, sensitivity, entry, references)
        return (*lowered, *(each for each, _ in added)), (*judged, *(each for _, each in added))

    def _beyond(self, candidate: Candidate) -> bool:
        return candidate.fidelity is not None and not self.resolved.budget.keeps(candidate.fidelity)

    def _search_one(
        self,
        hub: Hub,
        calibration: Calibration,
        sensitivity: Mapping[str, float],
        missed: Lowered,
        references: Sequence[Reference],
    ) -> list[tuple[Lowered, Candidate]]:
        lowering, int8 = self.resolved.lowerings[missed.runtime], self.resolved.profile.int8
        plans, graph = self.plans(hub, calibration), hub.load_shipped()
        kinds = lowering.int8_kinds
        if not sensitivity:
            static = load_plan(plans.directory(STATIC, kinds, rest_of(self.resolved.profile.precisions, lowering)))
            sensitivity = predict_sensitivity(graph, calibration.statistics, static)
        per_token = lowering.per_token and bool(int8 and int8.dot_product)
        steps = ladder(graph, sensitivity, kinds=kinds, per_token=per_token)
        tried: dict[str, tuple[Lowered, Candidate]] = {}
        with self.progress.stage(f"search within the budget for {lowering.title}", 8 * self._batches(references)) as step:

            def within(recipe: Recipe) -> bool:
                attempt = Attempt(f"{missed.runtime}-int8-{recipe.variant}", missed.runtime, "int8", recipe)
                entry = self._lower_one(hub, attempt, plans)
                candidate = Candidate(name=entry.name, runtime=entry.runtime, precision="int8", problem=entry.problem)
                if entry.model is not None:
                    candidate = self._verify_one(candidate, entry.model, references, lambda: step(doing=entry.name))
                tried[recipe.variant] = entry, candidate
                return candidate.fidelity is not None and not self._beyond(candidate)

            found = fewest(steps, within)
        return [tried[found.variant]] if found else []

    def measure(
        self, judged: Sequence[Candidate], lowered: Sequence[Lowered], references: Sequence[Reference]
    ) -> tuple[tuple[Candidate, ...], tuple[str, ...]]:
        """Latency, cold start and memory of all candidates that ran, interleaved; and what makes the figures doubtful. What
        boards finish is not measured here: it is checked and its bounds are estimated. Nor is what runs on Apple's devices."""
        if self.resolved.boards:
            return self._foresee(judged, lowered)
        if self.resolved.devices:
            return tuple(judged), ()
        self.drop_plans()
        request = self.resolved.request
        running = [
            (entry.model, candidate)
            for entry, candidate in zip(lowered, judged, strict=True)
            if entry.model and not candidate.problem
        ]
        models, known = [model for model, _ in running], [candidate for _, candidate in running]

        def produce(directory: Path) -> None:
            stacks = np.stack([frames for frames, _, _ in references[0].batches(self._batch)])
            done = 0

            def tell(doing: str, count: int, _total: int) -> None:
                nonlocal done
                step(count - done, doing)
                done = count

            found = measure(
                models,
                stacks,
                threads=self.resolved.threads,
                iterations=request.iterations,
                max_seconds=MAX_SECONDS,
                seed=request.seed,
                names=[candidate.name for candidate in known],
                goes_on=lambda medians: finalists(known, self.resolved.budget, medians),
                progress=tell,
                evidence=Evidence.HOST,
            )
            dump(directory / "latency.json", [_measured(entry) for entry in found])

        with self.progress.stage(MEASURING, request.iterations * len(models)) as step:
            host = self.resolved.host.model_dump(mode="json", exclude={"governor"})
            # Who keeps the budget decides who is measured in full.
            keep = sorted(finalists(known, self.resolved.budget, dict.fromkeys(range(len(known)), 0.0)))
            asked = self.resolved.threads, request.iterations, keep
            key = self._key([str(model.directory) for model in models], host, asked)
            found = load(self.cache.stage("latency", key, produce) / "latency.json")
        left = iter(found)
        measured = tuple(candidate if candidate.problem else _with_figures(candidate, next(left)) for candidate in judged)
        busy = [entry["other_cores"] for entry in found if entry["other_cores"] is not None]
        doubts = contention(self.resolved.host, self.resolved.threads, busy)
        for doubt in doubts:
            self.progress.note(doubt)
        return measured, doubts

    def _foresee(self, judged: Sequence[Candidate], lowered: Sequence[Lowered]) -> tuple[tuple[Candidate, ...], tuple[str, ...]]:
        """Whether every board's TensorRT takes each graph, and how long it must take there at least."""
        foreseen, notes = [], []
        with self.progress.stage("check against TensorRT's versions", len(lowered)) as step:
            for entry, candidate in zip(lowered, judged, strict=True):
                step(doing=entry.name)
                if entry.model is None or candidate.problem:
                    foreseen.append(candidate)
                    continue
                found = foresee(entry.model.directory / entry.model.entry, entry.precision, self.resolved.boards)
                notes += [f"{entry.name}: {note}" for note in found.notes]
                foreseen.append(candidate.model_copy(update={"bounds": found.bounds, "problem": found.problem}))
        return tuple(foreseen), tuple(notes)

    def choose(self, candidates: Sequence[Candidate]) -> Choice:
        budget = self.resolved.budget
        if self.resolved.boards:
            return choose_unmeasured(candidates, budget)
        if self.resolved.devices:
            return choose_first(candidates, budget, targets.order(self.resolved.devices))
        return choose(candidates, budget)


def _measured(found: Measurement) -> dict[str, Any]:
    return {
        "latency": found.latency.model_dump(mode="json") if found.latency else None,
        "cold_start": found.cold_start.model_dump(mode="json") if found.cold_start else None,
        "problem": found.problem,
        "cpu_ms_per_frame": found.cpu_ms_per_frame,
        "other_cores": found.other_cores,
    }


def _with_figures(candidate: Candidate, found: Mapping[str, Any]) -> Candidate:
    return candidate.model_copy(
        update={
            "latency": Latency.model_validate(found["latency"]) if found["latency"] else None,
            "cold_start": ColdStart.model_validate(found["cold_start"]) if found["cold_start"] else None,
            "cpu_ms_per_frame": found["cpu_ms_per_frame"],
            "problem": found["problem"],
        }
    )
