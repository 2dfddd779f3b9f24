"""Candidates: lowered, compared with the reference before any figure is used, searched for, and assessed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from edgec.artefact.recording import size_of
from edgec.backends.candidate import Assessment, Candidate
from edgec.backends.choosing import Choice, choose_named, keeps
from edgec.backends.offering import attempts, other_forms, rest_of
from edgec.errors import RuntimeFailure, TargetError
from edgec.fidelity.elsewhere import Elsewhere, measure_elsewhere
from edgec.fidelity.gate import measure_fidelity
from edgec.fidelity.reference import Reference
from edgec.graph.plan import PrecisionPlan
from edgec.host.quiet import wait_for_quiet
from edgec.lowering.base import LoweredModel
from edgec.lowering.forms import ManyForms
from edgec.lowering.sizes import ManySizes
from edgec.precision.recipes import STATIC, Recipe
from edgec.precision.search import fewest, ladder, predict_sensitivity
from edgec.precision.static import uniform
from edgec.precision.storing import load_plan
from edgec.progress import Step
from edgec.records.compilation import Compilation
from edgec.records.fidelity import StageFidelity
from edgec.stages.base import Build, Calibration, Hub, dump, key_of, load
from edgec.stages.quantising import Plans

ASSESSMENTS = "assessments.json"
COMPILATIONS = "compilations.json"
ELSEWHERE = "elsewhere.json"
_ASSESSMENTS = TypeAdapter(tuple[Assessment, ...])
_COMPILATIONS = TypeAdapter(tuple[Compilation, ...])
_FIDELITIES = TypeAdapter(tuple[StageFidelity, ...])


def lower(build: Build, hub: Hub, plans: Plans, sensitivity: Mapping[str, float]) -> tuple[Candidate, ...]:
    """Quantise as each recipe says, and write each candidate's files. A candidate that its runtime refuses gets a `problem` and
    does not stop the others."""
    resolved = build.resolved
    candidates = attempts(
        hub.load_shipped(),
        resolved.pairs,
        resolved.lowerings,
        sensitivity,
        per_token=resolved.backend.int8_rules(resolved.profiles).per_token,
    )
    with build.progress.stage("quantise and lower", len(candidates)) as step:
        lowered = []
        for candidate in candidates:
            step(doing=candidate.name)
            lowered.append(_lower_one(build, hub, plans, candidate))
    return tuple(lowered)


def _lower_one(build: Build, hub: Hub, plans: Plans, candidate: Candidate) -> Candidate:
    if candidate.problem:
        return candidate
    lowering = build.resolved.lowerings[candidate.runtime]
    plan_directory: Path | None = None
    plan: PrecisionPlan
    if candidate.recipe:
        plan_directory = plans.directory(
            candidate.recipe, lowering.int8_kinds, rest_of(build.resolved.profile.precisions, lowering), candidate.precision
        )
        plan = load_plan(plan_directory, weights=False)
    else:
        plan = plans.fitted(uniform(candidate.precision))  # type: ignore[arg-type]

    def produce(directory: Path) -> None:
        (directory / candidate.name).mkdir()
        whole_plan = load_plan(plan_directory) if plan_directory else plan
        graphs = [each.load_shipped() for each in hub.all]
        if isinstance(lowering, ManySizes) and hub.others:
            model = lowering.lower_sizes(graphs, whole_plan, directory / candidate.name)
        elif isinstance(lowering, ManyForms) and candidate.form:
            model = lowering.lower_form(graphs[0], whole_plan, candidate.form, directory / candidate.name)
        else:
            model = lowering.lower(graphs[0], whole_plan, directory / candidate.name)
        dump(directory / "model.json", {"entry": model.entry, "files": model.files, "settings": model.settings})

    key = build.key(hub.all, candidate.name, key_of(plan_directory) if plan_directory else plan)
    try:
        directory = build.stage("lowered", key, produce, modules=("edgec.precision.storing", type(lowering).__module__))
    except RuntimeFailure as error:
        return replace(candidate, plan=plan, problem=str(error))
    facts = load(directory / "model.json")
    files = tuple(facts["files"])
    model = LoweredModel(candidate.runtime, directory / candidate.name, facts["entry"], files, facts["settings"])
    return replace(candidate, plan=plan, model=model)


@dataclass(frozen=True)
class Judges:
    """What candidates are compared with: the references at each size, the default's first, and what they must keep elsewhere."""

    references: tuple[Reference, ...]
    elsewhere: Elsewhere | None = None

    def batches(self, build: Build) -> int:
        """How many runs of the model they take together."""
        return build.batches(self.references) + (self.elsewhere.batches(build.batch) if self.elsewhere else 0)


def verify_candidates(build: Build, candidates: Sequence[Candidate], judges: Judges) -> tuple[Candidate, ...]:
    """Run each candidate on the validation frames at each size, before any of its figures is used; its worst size counts. Those
    that keep the budget there run elsewhere, too."""
    verified = []
    with build.progress.stage("verify candidates", len(candidates) * judges.batches(build)) as step:
        for candidate in candidates:
            verified.append(_verify_one(build, candidate, judges, lambda: step(doing=candidate.name)))  # noqa: B023
    return tuple(verified)


def _verify_one(build: Build, candidate: Candidate, judges: Judges, step: Callable[[], None]) -> Candidate:
    if candidate.model is None:
        return candidate
    resolved = build.resolved
    if unjudged := resolved.backend.only_target_judges(candidate, resolved.profile, resolved.host):
        return replace(candidate, unjudged=unjudged)
    try:
        results = [_judge(build, candidate.name, candidate.model, reference, step) for reference in judges.references]
        judged = replace(candidate, fidelity=tuple(fidelity for fidelity, _ in results), execution_precision=results[0][1])
        if judges.elsewhere is None:
            return judged
        if not keeps(judged.figures(), resolved.budget):
            for _ in range(judges.elsewhere.batches(build.batch)):
                step()
            return judged
        return replace(judged, elsewhere=_judge_elsewhere(build, candidate.model, judges.elsewhere, step))
    except RuntimeFailure as error:
        return replace(candidate, problem=str(error))


def _judge(
    build: Build, name: str, model: LoweredModel, reference: Reference, step: Callable[[], None]
) -> tuple[StageFidelity, str]:
    """The candidate's fidelity at the reference's size, and what its runtime says that it computes in."""
    stage = f"{name}{build.at(size_of(reference))}"
    lowering = build.resolved.lowerings[model.runtime]

    def produce(directory: Path) -> None:
        runner = lowering.load(model, threads=build.resolved.threads)
        fidelity = measure_fidelity(reference, runner, build.batch, stage, step, lowering.evidence)
        facts = {"fidelity": fidelity.model_dump(mode="json"), "execution_precision": runner.execution_precision}
        dump(directory / "fidelity.json", facts)

    key = build.key(str(model.directory), reference)
    modules = ("edgec.fidelity.gate", type(lowering).__module__)
    directory = build.stage("fidelity", key, produce, modules=modules, gflop=reference.gflops * len(reference.frames))
    facts = load(directory / "fidelity.json")
    return StageFidelity.model_validate(facts["fidelity"]), facts["execution_precision"]


def _judge_elsewhere(
    build: Build, model: LoweredModel, elsewhere: Elsewhere, step: Callable[[], None]
) -> tuple[StageFidelity, ...]:
    lowering = build.resolved.lowerings[model.runtime]

    def produce(directory: Path) -> None:
        runner = lowering.load(model, threads=build.resolved.threads)
        judged = measure_elsewhere(elsewhere, runner, build.batch, step, lowering.evidence)
        (directory / ELSEWHERE).write_bytes(_FIDELITIES.dump_json(judged))

    key = build.key(str(model.directory), elsewhere.reference)
    modules = ("edgec.fidelity.elsewhere", type(lowering).__module__)
    directory = build.stage("fidelity-elsewhere", key, produce, modules=modules)
    return _FIDELITIES.validate_json((directory / ELSEWHERE).read_bytes())


def search_within_budget(
    build: Build,
    hub: Hub,
    plans: Plans,
    calibration: Calibration,
    sensitivity: Mapping[str, float],
    candidates: Sequence[Candidate],
    judges: Judges,
) -> tuple[Candidate, ...]:
    """For each runtime whose fastest int8 is beyond the budget, add the plan with the fewest exceptions that keeps it. Returns
    all candidates."""
    fastest: dict[str, Candidate] = {}
    for candidate in candidates:
        if candidate.recipe and candidate.precision == "int8":
            fastest.setdefault(candidate.runtime, candidate)
    budget = build.resolved.budget
    added = [
        result
        for candidate in fastest.values()
        if candidate.fidelity and not keeps(candidate.figures(), budget)
        for result in _search_one(build, hub, plans, calibration, sensitivity, candidate, judges)
    ]
    plans.release()  # Measuring, which comes next, needs the memory.
    return (*candidates, *added)


def _search_one(
    build: Build,
    hub: Hub,
    plans: Plans,
    calibration: Calibration,
    sensitivity: Mapping[str, float],
    fastest: Candidate,
    judges: Judges,
) -> tuple[Candidate, ...]:
    resolved, graph = build.resolved, hub.load_shipped()
    lowering = resolved.lowerings[fastest.runtime]
    kinds = lowering.int8_kinds
    if not sensitivity:
        static = load_plan(plans.directory(STATIC, kinds, rest_of(resolved.profile.precisions, lowering)))
        sensitivity = predict_sensitivity(graph, calibration.statistics, static)
    per_token = lowering.per_token and lowering.name in resolved.backend.int8_rules(resolved.profiles).per_token
    steps = ladder(graph, sensitivity, kinds=kinds, per_token=per_token)
    tried: dict[str, Candidate] = {}
    with build.progress.stage(f"search within the budget for {lowering.title}", 8 * judges.batches(build)) as step:

        def within(recipe: Recipe) -> bool:
            attempt = Candidate(f"{fastest.runtime}-int8-{recipe.variant}", fastest.runtime, "int8", recipe=recipe)
            lowered = _lower_one(build, hub, plans, attempt)
            verified = _verify_one(build, lowered, judges, lambda: step(doing=lowered.name))
            tried[recipe.variant] = verified
            return bool(verified.fidelity) and keeps(verified.figures(), resolved.budget)

        best = fewest(steps, within)
        if best is None:
            return ()
        plain = tried[best.variant]
        others = [_lower_one(build, hub, plans, form) for form in other_forms(plain, lowering)]
        return (plain, *(_verify_one(build, form, judges, lambda: step(doing=form.name)) for form in others))  # noqa: B023


def compile_candidates(build: Build, candidates: Sequence[Candidate]) -> tuple[tuple[Candidate, ...], tuple[str, ...]]:
    """What the vendor's own compiler makes of each candidate that ran, where the family has one and it is installed, and a note
    where it is not. One that it refuses has a problem from then on."""
    backend = build.resolved.backend
    if not backend.compiling:
        return tuple(candidates), ()
    compiler = backend.compiler()
    if not compiler.available:
        note = (
            "No vendor's compiler has seen these graphs: none is installed here, so that what it would refuse, fuse or unpack is "
            f"not known. `{compiler.install}` adds it"
        )
        return tuple(candidates), (note,)
    ran = sum(candidate.ran for candidate in candidates)
    with build.progress.stage(backend.compiling, ran) as step:
        return tuple(_compile_one(build, candidate, compiler.version, step) for candidate in candidates), ()


def _compile_one(build: Build, candidate: Candidate, version: str, step: Step) -> Candidate:
    if not candidate.ran or candidate.model is None:
        return candidate
    backend, profiles = build.resolved.backend, build.resolved.profiles
    step(doing=candidate.name)

    def produce(directory: Path) -> None:
        (directory / COMPILATIONS).write_bytes(_COMPILATIONS.dump_json(backend.compile(candidate, profiles)))

    key = build.key(str(candidate.model.directory), version, [profile.model_dump(mode="json") for profile in profiles])
    modules = (type(backend).__module__, "edgec.lowering.tensorrt.compiler.worker")
    try:
        directory = build.stage("compilation", key, produce, modules=modules)
    except RuntimeFailure as error:
        # Another version's words, or a machine on which it does not start: that says nothing about the graph.
        build.progress.note(f"{candidate.name} has no counts of kernels and bytes: {error}")
        return candidate
    compilations = _COMPILATIONS.validate_json((directory / COMPILATIONS).read_bytes())
    refused = "; ".join(
        f"{each.compiler} refuses it for SM {each.sm}: {each.refusal}" for each in compilations if not each.accepted
    )
    return replace(candidate, compilations=compilations, problem=refused)


def assess(
    build: Build, hub: Hub, candidates: Sequence[Candidate], references: Sequence[Reference]
) -> tuple[tuple[Candidate, ...], tuple[str, ...]]:
    """What the family can say about the candidates that ran, besides their fidelity, and reasons to doubt it: for a CPU latency,
    cold start and memory, measured in turns; for boards which graphs their runtimes take, and lower bounds of latency."""
    backend, circumstances = build.resolved.backend, build.circumstances(hub)
    ran = [candidate for candidate in candidates if candidate.ran]
    if not backend.assessing_here(circumstances):
        return tuple(candidates), ()

    def produce(directory: Path) -> None:
        done = 0
        if backend.runs_here:
            quiet = wait_for_quiet(build.resolved.request.patience, circumstances.threads, lambda text: step(0, text))
            if quiet.problem:
                build.progress.note(quiet.problem)

        def on_progress(doing: str, count: int) -> None:
            nonlocal done
            step(count - done, doing)
            done = count

        assessments = backend.assess(ran, references[0], circumstances, on_progress)
        (directory / ASSESSMENTS).write_bytes(_ASSESSMENTS.dump_json(assessments))

    with build.progress.stage(backend.assessing, backend.units(ran, circumstances), alone=backend.runs_here) as step:
        compiled = [[each.model_dump(mode="json") for each in candidate.compilations] for candidate in ran]
        key = build.key([str(candidate.model and candidate.model.directory) for candidate in ran], compiled, references[0])
        key = build.key(key, backend.assessment_key(circumstances, ran))
        modules = {
            *(backend.assessed_by or (type(backend).__module__,)),
            *(type(build.resolved.lowerings[each.runtime]).__module__ for each in ran),
        }
        directory = build.stage("assessment", key, produce, modules=(*sorted(modules), "edgec.latency.worker"))
    assessments = _ASSESSMENTS.validate_json((directory / ASSESSMENTS).read_bytes())
    by_name = {candidate.name: assessment for candidate, assessment in zip(ran, assessments, strict=True)}
    doubts = backend.doubts(assessments, circumstances)
    for doubt in doubts:
        build.progress.note(doubt)
    notes = tuple(note for assessment in assessments for note in assessment.notes)
    return tuple(_assessed(candidate, by_name.get(candidate.name)) for candidate in candidates), (*notes, *doubts)


def _assessed(candidate: Candidate, assessment: Assessment | None) -> Candidate:
    if assessment is None:
        return candidate
    return replace(candidate, assessment=assessment, problem=assessment.problem)


def choose(build: Build, hub: Hub, candidates: Sequence[Candidate]) -> Choice:
    """The candidate that ships. Raises `RequestError` if the request names one that there is not, `RuntimeFailure` if no
    candidate ran, `TargetError` if only the target could judge any, `FidelityError` if none keeps the features."""
    figures = [candidate.figures() for candidate in candidates]
    unjudged = {candidate.name: candidate.unjudged for candidate in candidates if candidate.unjudged}
    if unjudged and not any(candidate.ran for candidate in candidates):
        raise TargetError(
            f"Only {build.resolved.profile.title} itself can judge {build.resolved.request.precision}.",
            evidence=[f"{name}: {why}" for name, why in unjudged.items()],
            remedy="use --precision auto, with which it goes along for the target to judge; or build on the target itself",
        )
    name = build.resolved.request.candidate
    if name is None:
        choice = build.resolved.backend.choose(figures, build.circumstances(hub))
    else:
        choice = choose_named(name, figures, build.resolved.budget)
    if not unjudged:
        return choice
    also = f" Also along, for the target alone to judge: {', '.join(unjudged)}."
    return replace(choice, reason=choice.reason + also)
