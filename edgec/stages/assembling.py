"""Assembling an artefact: the runtime's files, golden vectors, licence, manifest and report. The written files are run."""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import edgec
from edgec.artefact.contents import build_manifest_files
from edgec.artefact.drift import drift_path
from edgec.artefact.machine import execution
from edgec.artefact.operations import require_faithful
from edgec.artefact.recording import golden_count, input_of, meanings, record_sizes, size_of
from edgec.artefact.statements import REPORT
from edgec.backends.base import Packing
from edgec.backends.candidate import Candidate
from edgec.backends.choosing import Choice
from edgec.durable import sha256_of
from edgec.fidelity.gate import measure_fidelity, require_kept
from edgec.fidelity.reference import Reference
from edgec.frames import Frame, Origin, Split
from edgec.frames.lint import LintFinding, repeating
from edgec.graph.plan import CALIBRATED, PrecisionPlan
from edgec.lowering.base import Label, LoweredModel, Runner
from edgec.precision.explaining import explain
from edgec.records.explanation import EXPLANATION, Explanation
from edgec.records.fidelity import StageFidelity
from edgec.records.manifest import MANIFEST, FrameSetFacts, Manifest, RecipeFacts, RecordingFacts, SizeFacts, VariantFacts
from edgec.records.report import Beside, FrameFinding, Report
from edgec.report.markdown import to_markdown
from edgec.report.pareto import pareto_svg
from edgec.stages.base import Build, Calibration, Hub
from edgec.stages.drift import RecordedDrift
from edgec.stages.sizes import size_notes

PARETO = "report/pareto.svg"
MARKDOWN = "report.md"


@dataclass(frozen=True)
class Results:
    """The results of a build's stages, which the artefact is assembled from."""

    build: Build
    hub: Hub
    split: Split
    findings: tuple[LintFinding, ...]
    """What the linter says of the frames."""
    references: tuple[Reference, ...]
    """One for each size, the default's first."""
    drift: tuple[RecordedDrift, ...]
    """Of each size; none if the artefact gives no features."""
    calibration: Calibration
    sensitivity: dict[str, float]
    candidates: tuple[Candidate, ...]
    choice: Choice
    fidelity: tuple[StageFidelity, ...]
    """Of the stages before the candidates."""
    doubts: tuple[str, ...]

    @property
    def reference(self) -> Reference:
        """The reference of the default size."""
        return self.references[0]

    @cached_property
    def chosen(self) -> Candidate:
        """The candidate that ships."""
        return next(candidate for candidate in self.candidates if candidate.name == self.choice.candidate.name)

    @property
    def model(self) -> LoweredModel:
        """The chosen candidate's files."""
        assert self.chosen.model is not None
        return self.chosen.model

    @property
    def plan(self) -> PrecisionPlan:
        """The chosen candidate's plan."""
        assert self.chosen.plan is not None
        return self.chosen.plan

    @cached_property
    def explanation(self) -> Explanation:
        """Why each operation has its precision, for explanation.json."""
        figures = [candidate.figures() for candidate in self.candidates]
        return explain(
            self.hub.load_shipped(),
            self.plan,
            self.chosen.recipe,
            self.calibration.statistics,
            self.sensitivity,
            [frame.name for frame in self.split.calibration],
            self.choice.candidate,
            figures,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the report should know, a sentence each."""
        sizes = self.build.resolved.request.sizes
        at_sizes = {candidate.name: candidate.fidelity for candidate in self.candidates if candidate.fidelity}
        several = size_notes(sizes, at_sizes) if self.hub.others else ()
        frames = [finding.text for finding in self.findings if finding.level != "note"]
        drift = [drift.note for drift in self.drift[:1]]
        return (*self.build.resolved.notes, *self.split.notes, *frames, *several, *drift, *self.doubts)

    @property
    def calibrated_on(self) -> str:
        """The calibration frames in words: name, number, hash."""
        frames = self.build.resolved.frames
        return f"{frames.name}, {len(self.split.calibration)} frames ({frames.sha256[:12]})"

    def at(self, reference: Reference) -> str:
        """The reference's size in words; empty if the artefact has only one."""
        return str(size_of(reference)) if len(self.references) > 1 else ""


def write(directory: Path, results: Results) -> None:
    """Assemble the artefact from the chosen candidate's files and all that is known about them, and run the result."""
    build = results.build
    with build.progress.stage("verify the artefact", build.batches(results.references)) as step:
        assemble_artefact(directory, results, step)


def assemble_artefact(directory: Path, results: Results, step: Callable[[], None]) -> None:
    """Fill `directory`. The written files are loaded from it and run on every validation frame: the last stage's fidelity.

    Raises `FidelityError` if they compute other features than the candidate did, or if one of their operations, if those can be
    observed, computes something else than the hub graph's.
    """
    resolved = results.build.resolved
    variants = resolved.backend.variants(results.candidates, results.chosen, resolved.budget)
    written = _copy_model(results.model, directory / "model")
    folders = {variant.name: resolved.backend.folder_of(variant, results.chosen) for variant in variants}
    for variant in variants:
        if variant.model is not None and variant is not results.chosen:
            _copy_model(variant.model, directory / folders[variant.name])
    lowering = resolved.lowerings[results.chosen.runtime]
    lowering.label(written, _label(results))
    runner = lowering.load(written, threads=resolved.threads)
    final = [_run(results, reference, runner, step) for reference in results.references]
    for before, after in zip(results.chosen.fidelity, final, strict=True):
        require_kept(before, after)
    for reference, hub in zip(results.references, results.hub.all, strict=True):
        require_faithful(runner, hub.load_shipped, results.plan, reference.frames, resolved.request.batch)
    sizes = record_sizes(directory, results.references, runner, resolved.request.batch, results.chosen.precision)
    _copy_drift(directory, results)
    _write_texts(directory, results)
    (directory / EXPLANATION).write_text(results.explanation.model_dump_json(indent=1) + "\n", encoding="utf-8")
    packed = resolved.backend.pack(_packing(directory, results, folders, variants, sizes, runner.threads))
    fidelity = (*results.fidelity, *results.chosen.fidelity, *final)
    manifest = _manifest(results, directory, runner, sizes, fidelity, packed)
    (directory / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    report = _report(results, fidelity).model_copy(update={"artefact_sha256": sha256_of(directory / MANIFEST)})
    measured = any(candidate.latency for candidate in report.candidates)
    if measured:
        (directory / "report").mkdir()
        (directory / PARETO).write_bytes(pareto_svg(report))
    (directory / MARKDOWN).write_text(to_markdown(report, PARETO if measured else None), encoding="utf-8")
    # Written last: it has the hashes of the files beside it and of the manifest, which has those of all others.
    beside = tuple(_beside(directory, path) for path in (MARKDOWN, *([PARETO] if measured else [])))
    (directory / REPORT).write_text(report.model_copy(update={"files": beside}).to_json(), encoding="utf-8")


def _beside(directory: Path, path: str) -> Beside:
    return Beside(path=path, sha256=sha256_of(directory / path), size_bytes=(directory / path).stat().st_size)


def _run(results: Results, reference: Reference, runner: Runner, step: Callable[[], None]) -> StageFidelity:
    resolved, at = results.build.resolved, results.at(reference)
    evidence = resolved.lowerings[results.chosen.runtime].evidence
    return measure_fidelity(reference, runner, resolved.request.batch, f"artefact at {at}" if at else "artefact", step, evidence)


def _packing(
    directory: Path,
    results: Results,
    folders: Mapping[str, str],
    variants: Sequence[Candidate],
    sizes: tuple[SizeFacts, ...],
    threads: int,
) -> Packing:
    resolved, batch = results.build.resolved, results.build.resolved.request.batch
    height, width = results.reference.frames.shape[1:3]
    return Packing(
        directory=directory,
        name=f"{results.hub.facts.name}-{resolved.target}-{height}x{width}",
        build_key=resolved.key,
        profiles=resolved.profiles,
        target=resolved.target,
        input=input_of(results.reference, batch),
        outputs=sizes[0].outputs,
        variants=variants,
        golden_count=golden_count(results.reference),
        budget=resolved.budget,
        model=results.hub.model,
        precision_asked=resolved.request.precision,
        calibration=results.calibrated_on,
        threads=threads,
        folders=folders,
        heads=results.reference.heads,
        sizes=sizes,
    )


def _copy_model(model: LoweredModel, folder: Path) -> LoweredModel:
    for name in model.files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(model.directory / name, folder / name)
    return LoweredModel(model.runtime, folder, model.entry, model.files, model.settings)


def _label(results: Results) -> Label:
    """What the model's files may say about themselves. The manifest has their hashes, so they cannot have its hash: they name the
    build, as it does."""
    checkpoint = results.hub.facts
    return Label(
        author=f"edgec {edgec.__version__}",
        licence=results.hub.licence.strip() or checkpoint.licence.name,
        version=edgec.__version__,
        description=f"{checkpoint.name}: DINOv3 {checkpoint.arch} features of a camera frame, {results.chosen.precision}",
        input=input_of(results.reference, results.build.resolved.request.batch).meaning,
        outputs=meanings(results.reference),
        facts={
            "edgec.build_key": results.build.resolved.key,
            "edgec.checkpoint_sha256": checkpoint.sha256,
            "edgec.licence": checkpoint.licence.spdx,
            "edgec.precision": results.chosen.precision,
            "edgec.target": results.build.resolved.target,
        },
    )


def _copy_drift(directory: Path, results: Results) -> None:
    for drift, reference in zip(results.drift, results.references, strict=bool(results.drift)):
        copy = directory / drift_path("" if reference is results.reference else str(size_of(reference)))
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(drift.path, copy)


def _write_texts(directory: Path, results: Results) -> None:
    for name, text in (("LICENSE", results.hub.licence), ("NOTICE", results.hub.notice)):
        if text:
            (directory / name).write_text(text.rstrip() + "\n", encoding="utf-8")


def _manifest(
    results: Results,
    directory: Path,
    runner: Runner,
    sizes: tuple[SizeFacts, ...],
    fidelity: tuple[StageFidelity, ...],
    variants: tuple[VariantFacts, ...],
) -> Manifest:
    precision = results.chosen.precision
    return Manifest(
        open_with=results.build.resolved.lowerings[results.chosen.runtime].open_with(results.model),
        edgec_version=edgec.__version__,
        build_key=results.build.resolved.key,
        checkpoint=results.hub.facts,
        calibration=_facts(results, results.split.calibration) if precision in CALIBRATED else None,
        validation=_facts(results, results.split.validation),
        target=results.build.resolved.target,
        runtime=results.model.runtime,
        precision=precision,
        execution_precision=runner.execution_precision,
        execution=execution(results.model.runtime, runner),
        entry=f"model/{results.model.entry}",
        settings=results.model.settings,
        input=sizes[0].input,
        outputs=sizes[0].outputs,
        operations={entry.name: entry.precision for entry in results.explanation.operations},
        fidelity=fidelity,
        elsewhere=results.chosen.elsewhere,
        golden=sizes[0].golden,
        heads=results.reference.heads,
        sizes=sizes if len(sizes) > 1 else (),
        variants=variants,
        recipe=_recipe(results),
        tools=dict(results.build.resolved.tools),
        files=build_manifest_files(directory),
    )


def _recipe(results: Results) -> RecipeFacts | None:
    use = results.build.resolved.request.recipe
    if use is None:
        return None
    return RecipeFacts(name=use.name, settings=json.loads(use.settings), overridden=use.overridden)


def _facts(results: Results, frames: tuple[Frame, ...]) -> FrameSetFacts:
    skipped = (*results.build.resolved.frames.skipped, *results.split.skipped)
    return FrameSetFacts(
        name=results.build.resolved.frames.name,
        sha256=results.build.resolved.frames.sha256,
        frames=len(frames),
        skipped=tuple(f"{name}: {reason}" for name, reason in skipped),
        recordings=tuple(_recordings(results.build.resolved.frames.origins, frames)),
    )


def _recordings(origins: tuple[Origin, ...], frames: tuple[Frame, ...]) -> Iterator[RecordingFacts]:
    for origin in origins:
        times = [frame.order for frame in frames if frame.source == origin.source]
        if times:
            yield RecordingFacts(
                name=origin.source,
                sha256=origin.sha256,
                topic=origin.topic,
                messages=origin.messages,
                frames=len(times),
                first_ns=min(times),
                last_ns=max(times),
            )


def _report(results: Results, fidelity: tuple[StageFidelity, ...]) -> Report:
    height, width = results.reference.frames.shape[1:3]
    name, resolved = results.chosen.name, results.build.resolved
    notes = [resolved.backend.note_on(resolved.profile, resolved.host), *results.notes, *results.hub.facts.findings]
    skipped = (*results.build.resolved.frames.skipped, *results.split.skipped)
    notes += [f"frame skipped: {frame}: {reason}" for frame, reason in skipped]
    return Report(
        edgec_version=edgec.__version__,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        model=results.hub.model,
        target=results.build.resolved.target,
        host_is_target=not resolved.backend.lacks(resolved.profile, resolved.host),
        input_shape=(results.build.resolved.request.batch, height, width, 3),
        precision_asked=results.build.resolved.request.precision,
        min_fidelity=results.build.resolved.budget.min_fidelity,
        min_fidelity_elsewhere=results.build.resolved.budget.min_fidelity_elsewhere if results.chosen.elsewhere else None,
        min_agreement=results.build.resolved.budget.tasks.min_agreement,
        min_iou=results.build.resolved.budget.tasks.min_iou,
        max_depth_error=results.build.resolved.budget.tasks.max_depth_error,
        heads=results.reference.heads,
        calibration=results.calibrated_on,
        validation_frames=len(results.split.validation),
        repeated_frames=repeating(results.split),
        frame_findings=tuple(FrameFinding(level=each.level, check=each.check, text=each.text) for each in results.findings),
        stages=fidelity,
        candidates=tuple(
            candidate.figures().model_copy(update={"chosen": candidate is results.chosen}) for candidate in results.candidates
        ),
        chosen=name,
        reason=results.choice.reason,
        notes=tuple(notes),
        host=results.build.resolved.host,
    )
