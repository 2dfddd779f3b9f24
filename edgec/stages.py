"""The build's stages: each takes what earlier ones made, is cached under a hash of what it depends on, and says how far it is.

What computes is in the rooms; here is only the order of files, keys and progress. torch is imported when a stage really runs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgec import cache as cached
from edgec import checkpoint as checkpoints
from edgec import frames as framing
from edgec import targets
from edgec.artefact.assemble import Ingredients, assemble_artefact
from edgec.artefact.manifest import CheckpointFacts, LicenceFacts
from edgec.cache import Cache
from edgec.errors import RuntimeFailure
from edgec.evidence import Evidence
from edgec.fidelity.gate import check_export, measure_fidelity
from edgec.fidelity.metrics import worst
from edgec.fidelity.reference import Reference, read_reference, write_reference
from edgec.frames import Frame, Pixels, Split
from edgec.latency.host import contention
from edgec.latency.measure import Measurement, measure
from edgec.lowering.base import LoweredModel, Lowering
from edgec.model.spec import describe, family_name, gflops, parameters
from edgec.precision.candidates import Attempt, attempts
from edgec.precision.choice import Choice, finalists
from edgec.precision.explaining import explain
from edgec.precision.plan import Precision, PrecisionPlan
from edgec.precision.planning import Planner
from edgec.precision.recipes import STATIC, Recipe
from edgec.precision.search import fewest, ladder, predict_sensitivity
from edgec.precision.static import INT8_KINDS, int8_activations, uniform
from edgec.precision.storing import load_plan, save_plan
from edgec.progress import Progress
from edgec.report.schema import Candidate, ColdStart, Latency, ModelFacts, StageFidelity
from edgec.request import Resolved, code_digest

if TYPE_CHECKING:
    import onnx

    from edgec.checkpoint import Checkpoint
    from edgec.graph.statistics import Statistics

MAX_SECONDS = 12.0
"""What measuring one candidate's latency may take: slow models get fewer iterations, and the report says how many."""
SENSITIVITY_FRAMES = 3
"""Enough to rank operations: on ViT-S/16 the single losses that three frames show add up to the whole plan's (8.0e-5 of
8.4e-5)."""


@dataclass(frozen=True)
class Hub:
    """The hub graph's file, and what was learnt of the checkpoint on the way."""

    path: Path
    facts: CheckpointFacts
    model: ModelFacts
    outputs: tuple[str, ...]
    licence: str
    notice: str

    def load(self) -> onnx.ModelProto:
        from edgec.graph.files import load

        return load(self.path)


@dataclass(frozen=True)
class Lowered:
    """A candidate's files, or the problem that prevented them."""

    name: str
    runtime: str
    precision: str
    plan: PrecisionPlan | None
    recipe: Recipe | None
    model: LoweredModel | None
    problem: str = ""


class Quantising:
    """Plans for a hub graph, each made once and kept; nothing is loaded if all are there."""

    def __init__(self, stages: Stages, hub: Hub, statistics: Mapping[str, Statistics]) -> None:
        int8 = stages.resolved.profile.int8
        self._stages, self._hub, self._statistics = stages, hub, statistics
        self._activations = int8.activations if int8 else "u8"
        self._paired = bool(int8 and int8.pairs_saturate)

    @cached_property
    def _planner(self) -> Planner:
        return Planner(self._hub.load(), self._statistics, activations=self._activations, paired=self._paired)

    def key(self, recipe: Recipe, kinds: tuple[str, ...], rest: Precision) -> str:
        """What the plan depends on, statistics by their own key."""
        return cached.key(self._stages.statistics_key, self._activations, self._paired, _recipe(recipe), kinds, rest)

    def plan(self, recipe: Recipe, kinds: tuple[str, ...], rest: Precision) -> Path:
        """The directory that holds the plan (`edgec.precision.storing`)."""

        def produce(directory: Path) -> None:
            save_plan(directory, self._planner.plan(recipe, kinds=kinds, rest=rest))

        return self._stages.cache.stage("plan", self.key(recipe, kinds, rest), produce)


class Stages:
    def __init__(self, resolved: Resolved, cache: Cache, progress: Progress) -> None:
        self.resolved, self.cache, self.progress = resolved, cache, progress
        self._base = (resolved.identity.key, resolved.identity.name, resolved.tools, code_digest())
        self._shape = (asdict(resolved.request.size), resolved.request.registers, resolved.request.layers)

        self.statistics_key = ""

    @cached_property
    def _checkpoint(self) -> Checkpoint:
        """Read once, and only if a stage that needs the weights runs."""
        request = self.resolved.request
        return checkpoints.read(request.checkpoint, seed=request.seed)

    def split(self) -> Split:
        """Choose the frames to calibrate on and those to judge by."""
        resolved = self.resolved
        limit, seed = resolved.request.calibration_frames, resolved.request.seed

        def produce(directory: Path) -> None:
            found = framing.split(resolved.frames, limit=limit, seed=seed)
            names = {
                "calibration": [frame.name for frame in found.calibration],
                "validation": [frame.name for frame in found.validation],
                "skipped": found.skipped,
                "copies": found.copies,
            }
            _dump(directory / "split.json", names)

        with self.progress.stage("choose frames"):
            key = cached.key(resolved.frames.sha256, resolved.frames.name, limit, seed, code_digest())
            found = _load(self.cache.stage("split", key, produce) / "split.json")
        by_name = {frame.name: frame for frame in resolved.frames.frames}
        return Split(
            tuple(by_name[name] for name in found["calibration"]),
            tuple(by_name[name] for name in found["validation"]),
            tuple((name, reason) for name, reason in found["skipped"]),
            tuple(found["copies"]),
        )

    def export(self) -> Hub:
        """Read the checkpoint, assemble the model at its size, export it to the hub graph."""
        request = self.resolved.request

        def produce(directory: Path) -> None:
            from edgec.graph.export import export
            from edgec.graph.files import save
            from edgec.model.camera import assemble

            checkpoint = self._checkpoint
            model = assemble(checkpoint, request.size, folded=True, registers=request.registers, layers=request.layers)
            hub = export(model, checkpoint.spec, request.size, request.batch)
            save(hub, directory / "hub.onnx")
            _dump(directory / "checkpoint.json", self._describe(checkpoint, [output.name for output in hub.graph.output]))

        with self.progress.stage("export the hub graph"):
            directory = self.cache.stage("hub", cached.key(self._base, self._shape, request.batch), produce)
        said = _load(directory / "checkpoint.json")
        return Hub(
            directory / "hub.onnx",
            CheckpointFacts.model_validate(said["facts"]),
            ModelFacts.model_validate(said["model"]),
            tuple(said["outputs"]),
            said["licence"],
            said["notice"],
        )

    def _describe(self, checkpoint: Checkpoint, outputs: list[str]) -> dict[str, Any]:
        arch = family_name(checkpoint.spec) or describe(checkpoint.spec)
        licence = checkpoint.licence
        facts = CheckpointFacts(
            name=checkpoint.name,
            form=checkpoint.form,
            arch=arch,
            sha256=checkpoint.sha256,
            random_weights=checkpoint.random_weights,
            normalisation=f"{checkpoint.normalisation.name}: {checkpoint.normalisation.reason}",
            mean=checkpoint.normalisation.mean,
            std=checkpoint.normalisation.std,
            licence=LicenceFacts(name=licence.name, spdx=licence.spdx, reason=licence.reason),
            findings=tuple(finding.text for finding in checkpoint.findings),
        )
        model = ModelFacts(
            name=checkpoint.name,
            arch=arch,
            checkpoint_sha256=checkpoint.sha256,
            random_weights=checkpoint.random_weights,
            gflops=round(gflops(checkpoint.spec, self.resolved.request.size), 3),
            parameters=parameters(checkpoint.spec),
        )
        return {
            "facts": facts.model_dump(mode="json"),
            "model": model.model_dump(mode="json"),
            "outputs": outputs,
            "licence": licence.text,
            "notice": licence.notice,
        }

    def reference(self, hub: Hub, split: Split) -> Reference:
        """The float32 PyTorch model's features on the validation frames."""
        request = self.resolved.request

        def produce(directory: Path) -> None:
            from edgec.model.camera import assemble

            model = assemble(self._checkpoint, request.size, folded=False, registers=request.registers, layers=request.layers)
            write_reference(model, [picture for _, picture in framing.batches(split.validation, request.size)], directory, step)

        with self.progress.stage("float32 reference in PyTorch", len(split.validation)) as step:
            key = cached.key(self._base, self._shape, _identities(split.validation))
            directory = self.cache.stage("reference", key, produce)
        return read_reference(directory, hub.outputs)

    def verify_export(self, hub: Hub, reference: Reference) -> StageFidelity:
        """Run the hub graph on the validation frames; it must compute what PyTorch does."""

        def produce(directory: Path) -> None:
            from edgec.graph.session import features_of, open_session

            session = open_session(hub.load(), threads=self.resolved.threads)
            fidelity = check_export(reference, lambda frames: features_of(session, frames), self._batch, step)
            _dump(directory / "fidelity.json", fidelity.model_dump(mode="json"))

        with self.progress.stage("verify the hub graph", self._batches(reference)) as step:
            directory = self.cache.stage("hub-fidelity", self._key(hub, reference), produce)
        return StageFidelity.model_validate(_load(directory / "fidelity.json"))

    def calibrate(self, hub: Hub, split: Split) -> dict[str, Statistics]:
        """Statistics of every activation that an int8 operation reads; nothing if no candidate is int8."""
        from edgec.graph.statistics import load_statistics, observe, save_statistics

        request = self.resolved.request
        if "int8" not in {precision for _, precision in self.resolved.pairs}:
            return {}

        def produce(directory: Path) -> None:
            def pictures() -> Iterator[Pixels]:
                for frame, picture in framing.batches(split.calibration, request.size):
                    step(doing=frame.name)
                    yield picture

            graph = hub.load()
            tensors, threads = int8_activations(graph), self.resolved.threads
            found = observe(graph, tensors, pictures(), self._batch, threads=threads, seed=request.seed)
            save_statistics(directory / "statistics.npz", found)

        with self.progress.stage("calibrate", len(split.calibration)) as step:
            self.statistics_key = self._key(hub, _identities(split.calibration), request.seed)
            return load_statistics(self.cache.stage("statistics", self.statistics_key, produce) / "statistics.npz")

    def sensitivity(self, hub: Hub, statistics: Mapping[str, Statistics], split: Split) -> dict[str, float]:
        """What each operation's int8 costs the features, on calibration frames; nothing unless the effort is full."""
        request = self.resolved.request
        if request.effort != "full" or not statistics:
            return {}
        count = min(SENSITIVITY_FRAMES, len(split.calibration))
        chosen = [split.calibration[round(index * (len(split.calibration) - 1) / max(count - 1, 1))] for index in range(count)]
        quantising = Quantising(self, hub, statistics)

        def produce(directory: Path) -> None:
            from edgec.precision.sensitivity import measure_sensitivity

            pictures = [picture for _, picture in framing.batches(chosen, request.size)]
            plan = load_plan(quantising.plan(STATIC, INT8_KINDS, "fp32"))
            found = measure_sensitivity(
                hub.load(), plan, pictures, self._batch, threads=self.resolved.threads, step=lambda name: step(doing=name)
            )
            _dump(directory / "sensitivity.json", found)

        with self.progress.stage("measure sensitivity", len(statistics)) as step:
            key = self._key(hub, quantising.key(STATIC, INT8_KINDS, "fp32"), _identities(chosen))
            found: dict[str, float] = _load(self.cache.stage("sensitivity", key, produce) / "sensitivity.json")
        return found

    def lower(self, hub: Hub, statistics: Mapping[str, Statistics], sensitivity: Mapping[str, float]) -> tuple[Lowered, ...]:
        """Quantise as each recipe says, and write each candidate's files. One that its runtime refuses is reported and does not
        stop the others."""
        resolved = self.resolved
        int8 = resolved.profile.int8
        tried = attempts(hub.load(), resolved.pairs, resolved.lowerings, sensitivity, dot_product=bool(int8 and int8.dot_product))
        quantising = Quantising(self, hub, statistics)
        with self.progress.stage("quantise and lower", len(tried)) as step:
            lowered = []
            for attempt in tried:
                step(doing=attempt.name)
                lowered.append(self._lower_one(hub, attempt, quantising))
        return tuple(lowered)

    def _lower_one(self, hub: Hub, attempt: Attempt, quantising: Quantising) -> Lowered:
        def entry(plan: PrecisionPlan | None, model: LoweredModel | None, problem: str = "") -> Lowered:
            return Lowered(attempt.name, attempt.runtime, attempt.precision, plan, attempt.recipe, model, problem)

        if attempt.problem:
            return entry(None, None, attempt.problem)
        lowering = self.resolved.lowerings[attempt.runtime]
        place: Path | None = None
        if attempt.recipe:
            place = quantising.plan(attempt.recipe, lowering.int8_kinds, self._rest(lowering))
            plan = load_plan(place, weights=False)
        else:
            plan = uniform(attempt.precision)  # type: ignore[arg-type]

        def produce(directory: Path) -> None:
            (directory / attempt.name).mkdir()
            whole = load_plan(place) if place else plan
            made = lowering.lower(hub.load(), whole, directory / attempt.name)
            _dump(directory / "model.json", {"entry": made.entry, "files": made.files, "settings": made.settings})

        try:
            directory = self.cache.stage("lowered", self._key(hub, attempt.name, place.parent.name if place else plan), produce)
        except RuntimeFailure as error:
            return entry(plan, None, str(error))
        said = _load(directory / "model.json")
        files = tuple(said["files"])
        return entry(plan, LoweredModel(attempt.runtime, directory / attempt.name, said["entry"], files, said["settings"]))

    def _rest(self, lowering: Lowering) -> Precision:
        """What an int8 plan's other operations run in: bf16 where target and runtime have it."""
        return "bf16" if "bf16" in self.resolved.profile.precisions and "bf16" in lowering.precisions else "fp32"

    def verify_candidates(self, lowered: Sequence[Lowered], reference: Reference) -> tuple[Candidate, ...]:
        """Run each candidate on the validation frames, before any of its figures is believed."""
        judged = []
        with self.progress.stage("verify candidates", len(lowered) * self._batches(reference)) as step:
            for entry in lowered:
                candidate = Candidate(name=entry.name, runtime=entry.runtime, precision=entry.precision, problem=entry.problem)
                if entry.model is not None:
                    candidate = self._verify_one(candidate, entry.model, reference, lambda: step(doing=entry.name))  # noqa: B023
                judged.append(candidate)
        return tuple(judged)

    def _verify_one(self, candidate: Candidate, model: LoweredModel, reference: Reference, step: Callable[[], None]) -> Candidate:
        def produce(directory: Path) -> None:
            runner = self.resolved.lowerings[candidate.runtime].load(model, threads=self.resolved.threads)
            fidelity = measure_fidelity(reference, runner, self._batch, candidate.name, step)
            found = {"fidelity": fidelity.model_dump(mode="json"), "execution_precision": runner.execution_precision}
            _dump(directory / "fidelity.json", found)

        key = self._key(str(model.directory), _frames_key(reference))
        try:
            found = _load(self.cache.stage("fidelity", key, produce) / "fidelity.json")
        except RuntimeFailure as error:
            return candidate.model_copy(update={"problem": str(error)})
        return candidate.model_copy(
            update={
                "size_bytes": model.size_bytes,
                "fidelity": StageFidelity.model_validate(found["fidelity"]),
                "execution_precision": found["execution_precision"],
            }
        )

    def search(
        self,
        hub: Hub,
        statistics: Mapping[str, Statistics],
        sensitivity: Mapping[str, float],
        lowered: Sequence[Lowered],
        judged: Sequence[Candidate],
        reference: Reference,
    ) -> tuple[tuple[Lowered, ...], tuple[Candidate, ...]]:
        """For each runtime whose static int8 is beyond the budget, the plan with the fewest exceptions that is within it, added
        to what there is."""
        missed = [
            entry for entry, candidate in zip(lowered, judged, strict=True) if entry.recipe == STATIC and self._beyond(candidate)
        ]
        added: list[tuple[Lowered, Candidate]] = []
        for entry in missed:
            added += self._search_one(hub, statistics, sensitivity, entry, reference)
        return (*lowered, *(each for each, _ in added)), (*judged, *(each for _, each in added))

    def _beyond(self, candidate: Candidate) -> bool:
        return candidate.fidelity is not None and worst(candidate.fidelity) < self.resolved.request.min_fidelity

    def _search_one(
        self,
        hub: Hub,
        statistics: Mapping[str, Statistics],
        sensitivity: Mapping[str, float],
        missed: Lowered,
        reference: Reference,
    ) -> list[tuple[Lowered, Candidate]]:
        lowering, int8 = self.resolved.lowerings[missed.runtime], self.resolved.profile.int8
        quantising, graph = Quantising(self, hub, statistics), hub.load()
        kinds = lowering.int8_kinds
        if not sensitivity:
            static = load_plan(quantising.plan(STATIC, kinds, self._rest(lowering)))
            sensitivity = predict_sensitivity(graph, statistics, static)
        per_token = lowering.per_token and bool(int8 and int8.dot_product)
        steps = ladder(graph, sensitivity, kinds=kinds, per_token=per_token)
        tried: dict[str, tuple[Lowered, Candidate]] = {}
        with self.progress.stage(f"search within the budget for {lowering.title}", 8 * self._batches(reference)) as step:

            def within(recipe: Recipe) -> bool:
                attempt = Attempt(f"{missed.runtime}-int8-{recipe.variant}", missed.runtime, "int8", recipe)
                entry = self._lower_one(hub, attempt, quantising)
                candidate = Candidate(name=entry.name, runtime=entry.runtime, precision="int8", problem=entry.problem)
                if entry.model is not None:
                    candidate = self._verify_one(candidate, entry.model, reference, lambda: step(doing=entry.name))
                tried[recipe.variant] = entry, candidate
                return candidate.fidelity is not None and not self._beyond(candidate)

            found = fewest(steps, within)
        return [tried[found.variant]] if found else []

    def measure(
        self, judged: Sequence[Candidate], lowered: Sequence[Lowered], reference: Reference
    ) -> tuple[tuple[Candidate, ...], tuple[str, ...]]:
        """Latency, cold start and memory of all candidates that ran, interleaved; and what makes the figures doubtful."""
        request = self.resolved.request
        running = [entry for entry, candidate in zip(lowered, judged, strict=True) if entry.model and not candidate.problem]
        models = [entry.model for entry in running if entry.model]
        known = [candidate for entry, candidate in zip(lowered, judged, strict=True) if entry in running]

        def produce(directory: Path) -> None:
            stacks = np.stack([frames for frames, _, _ in reference.batches(self._batch)])
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
                names=[entry.name for entry in running],
                goes_on=lambda medians: finalists(known, request.min_fidelity, medians),
                progress=tell,
                evidence=Evidence.HOST,
            )
            _dump(directory / "latency.json", [_measured(entry) for entry in found])

        with self.progress.stage("measure latency", request.iterations * len(models)) as step:
            host = self.resolved.host.model_dump(mode="json", exclude={"governor"})
            key = self._key([str(model.directory) for model in models], host, self.resolved.threads, request.iterations)
            found = _load(self.cache.stage("latency", key, produce) / "latency.json")
        left = iter(found)
        measured = tuple(candidate if candidate.problem else _with_figures(candidate, next(left)) for candidate in judged)
        busy = [entry["other_cores"] for entry in found if entry["other_cores"] is not None]
        doubts = contention(self.resolved.host, self.resolved.threads, busy)
        for doubt in doubts:
            self.progress.note(doubt)
        return measured, doubts

    def write(
        self,
        directory: Path,
        hub: Hub,
        split: Split,
        reference: Reference,
        lowered: Sequence[Lowered],
        measured: Sequence[Candidate],
        choice: Choice,
        fidelity: Sequence[StageFidelity],
        statistics: Mapping[str, Statistics],
        sensitivity: Mapping[str, float],
        doubts: Sequence[str],
    ) -> None:
        """Put the chosen candidate's files together with all that is known of them, and run what was put together."""
        resolved = self.resolved
        chosen = next(entry for entry in lowered if entry.name == choice.candidate.name)
        if chosen.model is None or chosen.plan is None:
            raise RuntimeFailure(f"{chosen.name} was chosen, but it has no files.")
        frames = [frame.name for frame in split.calibration]
        explanation = explain(hub.load(), chosen.plan, chosen.recipe, statistics, sensitivity, frames, choice.candidate, measured)
        with self.progress.stage("verify the artefact", self._batches(reference)) as step:
            assemble_artefact(
                directory,
                Ingredients(
                    build_key=resolved.key,
                    target=resolved.profile.name,
                    host=resolved.host,
                    host_is_target=not targets.missing(resolved.profile, resolved.host),
                    threads=resolved.threads,
                    tools=resolved.tools,
                    precision_asked=resolved.request.precision,
                    min_fidelity=resolved.request.min_fidelity,
                    batch=self._batch,
                    checkpoint=hub.facts,
                    model=hub.model,
                    licence=hub.licence,
                    notice=hub.notice,
                    frames=resolved.frames,
                    split=split,
                    reference=reference,
                    lowering=resolved.lowerings[chosen.runtime],
                    lowered=chosen.model,
                    explanation=explanation,
                    candidates=tuple(measured),
                    choice=choice,
                    fidelity=tuple(fidelity),
                    notes=(*resolved.notes, *doubts),
                ),
                step,
            )

    @property
    def _batch(self) -> int:
        return self.resolved.request.batch

    def _batches(self, reference: Reference) -> int:
        return -(-len(reference.frames) // self._batch)

    def _key(self, *parts: Any) -> str:
        """Over the checkpoint, the shape and the tools, whatever else a stage depends on."""
        return cached.key(self._base, self._shape, self._batch, [_plain(part) for part in parts])


def _plain(part: Any) -> Any:
    if isinstance(part, Hub):
        return part.path.parent.parent.name
    if isinstance(part, Reference):
        return _frames_key(part)
    return part


def _frames_key(reference: Reference) -> str:
    return hashlib.sha256(reference.frames.tobytes()).hexdigest()


def _identities(frames: Sequence[Frame]) -> list[list[str]]:
    return [[frame.name, frame.digest, frame.crop or ""] for frame in frames]


def _recipe(recipe: Recipe) -> Any:
    return recipe.variant, sorted(recipe.per_token), sorted(recipe.kept)


def _measured(found: Measurement) -> dict[str, Any]:
    return {
        "latency": found.latency.model_dump(mode="json") if found.latency else None,
        "cold_start": found.cold_start.model_dump(mode="json") if found.cold_start else None,
        "problem": found.problem,
        "other_cores": found.other_cores,
    }


def _with_figures(candidate: Candidate, found: Mapping[str, Any]) -> Candidate:
    return candidate.model_copy(
        update={
            "latency": Latency.model_validate(found["latency"]) if found["latency"] else None,
            "cold_start": ColdStart.model_validate(found["cold_start"]) if found["cold_start"] else None,
            "problem": found["problem"],
        }
    )


def _dump(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True), encoding="utf-8")


def _load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
