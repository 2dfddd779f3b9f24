"""Putting an artefact together: the runtime's files, golden vectors, licence, manifest and report. What was written is run."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import edgec
from edgec.artefact.contents import build_manifest_files
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
from edgec.frames import Frame, Split
from edgec.graph.plan import PrecisionPlan
from edgec.lowering.base import Label, LoweredModel, Runner
from edgec.precision.explaining import explain
from edgec.records.explanation import EXPLANATION, Explanation
from edgec.records.fidelity import StageFidelity
from edgec.records.manifest import MANIFEST, FrameSetFacts, Manifest, SizeFacts, Tensor, VariantFacts
from edgec.records.report import Beside, Report
from edgec.report.markdown import to_markdown
from edgec.report.pareto import pareto_svg
from edgec.stages.base import Build, Calibration, Hub
from edgec.stages.sizes import size_notes

PARETO = "report/pareto.svg"
MARKDOWN = "report.md"


@dataclass(frozen=True)
class Made:
    """All that the stages made of a build."""

    build: Build
    hub: Hub
    split: Split
    references: tuple[Reference, ...]
    """One a size, the default's first."""
    calibration: Calibration
    sensitivity: dict[str, float]
    candidates: tuple[Candidate, ...]
    choice: Choice
    fidelity: tuple[StageFidelity, ...]
    """Of the stages before any candidate."""
    doubts: tuple[str, ...]

    @property
    def reference(self) -> Reference:
        """Of the default size."""
        return self.references[0]

    @cached_property
    def chosen(self) -> Candidate:
        return next(candidate for candidate in self.candidates if candidate.name == self.choice.candidate.name)

    @property
    def model(self) -> LoweredModel:
        """The chosen candidate's files."""
        assert self.chosen.model is not None
        return self.chosen.model

    @property
    def plan(self) -> PrecisionPlan:
        assert self.chosen.plan is not None
        return self.chosen.plan

    @cached_property
    def explanation(self) -> Explanation:
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
        sizes = self.build.resolved.request.sizes
        at_sizes = {candidate.name: candidate.fidelity for candidate in self.candidates if candidate.fidelity}
        several = size_notes(sizes, at_sizes) if self.hub.others else ()
        return (*self.build.resolved.notes, *self.split.notes, *several, *self.doubts)

    @property
    def calibrated_on(self) -> str:
        frames = self.build.resolved.frames
        return f"{frames.name}, {len(self.split.calibration)} frames ({frames.sha256[:12]})"

    def at(self, reference: Reference) -> str:
        """Its size, where there are several to tell apart."""
        return str(size_of(reference)) if len(self.references) > 1 else ""


def write(directory: Path, made: Made) -> None:
    """Put the chosen candidate's files together with all that is known of them, and run what was put together."""
    build = made.build
    with build.progress.stage("verify the artefact", build.batches(made.references)) as step:
        assemble_artefact(directory, made, step)


def assemble_artefact(directory: Path, made: Made, step: Callable[[], None]) -> None:
    """Fill `directory`. The written files are loaded from it and run on every validation frame: the last stage's fidelity.

    Raises `FidelityError` if they compute other features than the candidate did, or if one of their operations, where those can
    be watched, computes something else than the hub graph's.
    """
    resolved = made.build.resolved
    variants = resolved.backend.variants(made.candidates, made.chosen, resolved.budget)
    (directory / "model").mkdir()
    written = _copy_model(made.model, directory / "model")
    for variant in variants:
        if variant.model is not None and variant is not made.chosen:
            _copy_model(variant.model, directory / "model")
    lowering = resolved.lowerings[made.chosen.runtime]
    lowering.label(written, _label(made))
    runner = lowering.load(written, threads=resolved.threads)
    final = [_run(made, reference, runner, step) for reference in made.references]
    for before, after in zip(made.chosen.fidelity, final, strict=True):
        require_kept(before, after)
    for reference, hub in zip(made.references, made.hub.all, strict=True):
        require_faithful(runner, hub.load_shipped, made.plan, reference.frames, resolved.request.batch)
    sizes = record_sizes(directory, made.references, runner, resolved.request.batch, made.chosen.precision)
    _write_texts(directory, made)
    (directory / EXPLANATION).write_text(made.explanation.model_dump_json(indent=1) + "\n", encoding="utf-8")
    packed = resolved.backend.pack(_packing(directory, made, variants, sizes[0].outputs, runner.threads))
    fidelity = (*made.fidelity, *made.chosen.fidelity, *final)
    manifest = _manifest(made, directory, runner, sizes, fidelity, packed)
    (directory / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    report = _report(made, fidelity).model_copy(update={"artefact_sha256": sha256_of(directory / MANIFEST)})
    measured = any(candidate.latency for candidate in report.candidates)
    if measured:
        (directory / "report").mkdir()
        (directory / PARETO).write_bytes(pareto_svg(report))
    (directory / MARKDOWN).write_text(to_markdown(report, PARETO if measured else None), encoding="utf-8")
    # Last: it vouches for those beside it, and names the manifest, which vouches for all others.
    beside = tuple(_beside(directory, path) for path in (MARKDOWN, *([PARETO] if measured else [])))
    (directory / REPORT).write_text(report.model_copy(update={"files": beside}).to_json(), encoding="utf-8")


def _beside(directory: Path, path: str) -> Beside:
    return Beside(path=path, sha256=sha256_of(directory / path), size_bytes=(directory / path).stat().st_size)


def _run(made: Made, reference: Reference, runner: Runner, step: Callable[[], None]) -> StageFidelity:
    resolved, at = made.build.resolved, made.at(reference)
    evidence = resolved.lowerings[made.chosen.runtime].evidence
    return measure_fidelity(reference, runner, resolved.request.batch, f"artefact at {at}" if at else "artefact", step, evidence)


def _packing(directory: Path, made: Made, variants: Sequence[Candidate], outputs: tuple[Tensor, ...], threads: int) -> Packing:
    resolved, batch = made.build.resolved, made.build.resolved.request.batch
    height, width = made.reference.frames.shape[1:3]
    return Packing(
        directory=directory,
        name=f"{made.hub.facts.name}-{resolved.target}-{height}x{width}",
        build_key=resolved.key,
        profiles=resolved.profiles,
        target=resolved.target,
        input=input_of(made.reference, batch),
        outputs=outputs,
        variants=variants,
        golden_count=golden_count(made.reference),
        budget=resolved.budget,
        model=made.hub.model,
        precision_asked=resolved.request.precision,
        calibration=made.calibrated_on,
        threads=threads,
        heads=made.reference.heads,
    )


def _copy_model(model: LoweredModel, folder: Path) -> LoweredModel:
    for name in model.files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(model.directory / name, folder / name)
    return LoweredModel(model.runtime, folder, model.entry, model.files, model.settings)


def _label(made: Made) -> Label:
    """What the model's files may say of themselves. The manifest holds their hashes, so that they cannot hold its own: they name
    the build, as it does."""
    checkpoint = made.hub.facts
    return Label(
        author=f"edgec {edgec.__version__}",
        licence=made.hub.licence.strip() or checkpoint.licence.name,
        version=edgec.__version__,
        description=f"{checkpoint.name}: DINOv3 {checkpoint.arch} features of a camera frame, {made.chosen.precision}",
        input=input_of(made.reference, made.build.resolved.request.batch).meaning,
        outputs=meanings(made.reference),
        facts={
            "edgec.build_key": made.build.resolved.key,
            "edgec.checkpoint_sha256": checkpoint.sha256,
            "edgec.licence": checkpoint.licence.spdx,
            "edgec.precision": made.chosen.precision,
            "edgec.target": made.build.resolved.target,
        },
    )


def _write_texts(directory: Path, made: Made) -> None:
    for name, text in (("LICENSE", made.hub.licence), ("NOTICE", made.hub.notice)):
        if text:
            (directory / name).write_text(text.rstrip() + "\n", encoding="utf-8")


def _manifest(
    made: Made,
    directory: Path,
    runner: Runner,
    sizes: tuple[SizeFacts, ...],
    fidelity: tuple[StageFidelity, ...],
    variants: tuple[VariantFacts, ...],
) -> Manifest:
    precision = made.chosen.precision
    return Manifest(
        edgec_version=edgec.__version__,
        build_key=made.build.resolved.key,
        checkpoint=made.hub.facts,
        calibration=_facts(made, made.split.calibration) if precision == "int8" else None,
        validation=_facts(made, made.split.validation),
        target=made.build.resolved.target,
        runtime=made.model.runtime,
        precision=precision,
        execution_precision=runner.execution_precision,
        execution=execution(made.model.runtime, runner),
        entry=f"model/{made.model.entry}",
        settings=made.model.settings,
        input=sizes[0].input,
        outputs=sizes[0].outputs,
        operations={entry.name: entry.precision for entry in made.explanation.operations},
        fidelity=fidelity,
        golden=sizes[0].golden,
        heads=made.reference.heads,
        sizes=sizes if len(sizes) > 1 else (),
        variants=variants,
        tools=dict(made.build.resolved.tools),
        files=build_manifest_files(directory),
    )


def _facts(made: Made, frames: tuple[Frame, ...]) -> FrameSetFacts:
    skipped = (*made.build.resolved.frames.skipped, *made.split.skipped)
    return FrameSetFacts(
        name=made.build.resolved.frames.name,
        sha256=made.build.resolved.frames.sha256,
        frames=len(frames),
        skipped=tuple(f"{name}: {reason}" for name, reason in skipped),
    )


def _report(made: Made, fidelity: tuple[StageFidelity, ...]) -> Report:
    height, width = made.reference.frames.shape[1:3]
    name, resolved = made.chosen.name, made.build.resolved
    notes = [resolved.backend.note, *made.notes, *made.hub.facts.findings]
    skipped = (*made.build.resolved.frames.skipped, *made.split.skipped)
    notes += [f"frame skipped: {frame}: {reason}" for frame, reason in skipped]
    return Report(
        edgec_version=edgec.__version__,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        model=made.hub.model,
        target=made.build.resolved.target,
        host_is_target=not resolved.backend.lacks(resolved.profile, resolved.host),
        input_shape=(made.build.resolved.request.batch, height, width, 3),
        precision_asked=made.build.resolved.request.precision,
        min_fidelity=made.build.resolved.budget.min_fidelity,
        min_agreement=made.build.resolved.budget.tasks.min_agreement,
        min_iou=made.build.resolved.budget.tasks.min_iou,
        max_depth_error=made.build.resolved.budget.tasks.max_depth_error,
        heads=made.reference.heads,
        calibration=made.calibrated_on,
        validation_frames=len(made.split.validation),
        stages=fidelity,
        candidates=tuple(each.figures().model_copy(update={"chosen": each is made.chosen}) for each in made.candidates),
        chosen=name,
        reason=made.choice.reason,
        notes=tuple(notes),
        host=made.build.resolved.host,
    )
