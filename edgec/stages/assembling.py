"""Putting an artefact together: the runtime's files, golden vectors, licence, manifest and report. What was written is run."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import edgec
from edgec.artefact.contents import build_manifest_files
from edgec.artefact.machine import execution
from edgec.artefact.operations import require_faithful
from edgec.artefact.recording import golden_count, input_of, meanings, record_sizes, size_of
from edgec.artefact.statements import REPORT
from edgec.backends.apple.packing import write_mac
from edgec.backends.jetson.packing import Bundle, Variant, write_bundle
from edgec.backends.profiles import Profile
from edgec.durable import sha256_of
from edgec.fidelity.budget import Budget
from edgec.fidelity.gate import measure_fidelity, require_kept
from edgec.fidelity.reference import Reference
from edgec.frames import Frame, FrameSet, Split
from edgec.latency.measure import NOTE
from edgec.lowering.base import Label, LoweredModel, Lowering, Runner
from edgec.precision.choice import Choice
from edgec.records.explanation import EXPLANATION, Explanation
from edgec.records.fidelity import StageFidelity
from edgec.records.manifest import MANIFEST, CheckpointFacts, FrameSetFacts, Manifest, SizeFacts, Tensor, VariantFacts
from edgec.records.report import Beside, Candidate, Host, ModelFacts, Report
from edgec.report.markdown import to_markdown
from edgec.report.pareto import pareto_svg

if TYPE_CHECKING:
    import onnx

    from edgec.graph.plan import PrecisionPlan

PARETO = "report/pareto.svg"
MARKDOWN = "report.md"
BOARDS_NOTE = (
    "No latency was measured: there is no engine on this machine. Fidelity is that of the graphs, types included, imitated here; "
    "bounds are the least that data sheets allow, no latencies to expect. On the board, device/edgec-device.pyz measures."
)
"""For reports of artefacts that boards finish."""
APPLE_NOTE = (
    "No latency was measured: Core ML runs on Apple's devices alone. Fidelity is that of the saved package, fp16's rounding "
    "included, run here by edgec's own evaluator; the Neural Engine, the GPU and the CPU each round in ways of their own, "
    "which device/edgec-mac.pyz compares and measures on a Mac."
)
"""For reports of Core ML packages."""


@dataclass(frozen=True)
class Ingredients:
    """Everything that goes into an artefact. `lowering` runs `lowered`, the files of `choice`'s candidate."""

    build_key: str
    target: str
    host: Host
    host_is_target: bool
    threads: int
    tools: Mapping[str, str]
    precision_asked: str
    budget: Budget
    batch: int
    checkpoint: CheckpointFacts
    model: ModelFacts
    licence: str
    notice: str
    frames: FrameSet
    split: Split
    references: tuple[Reference, ...]
    """One a size, the default's first."""
    lowering: Lowering
    lowered: LoweredModel
    graphs: tuple[Callable[[], onnx.ModelProto], ...]
    """Load the hub graphs that `lowered` was made from, by `plan`: one a size."""
    plan: PrecisionPlan
    explanation: Explanation
    candidates: tuple[Candidate, ...]
    choice: Choice
    fidelity: tuple[StageFidelity, ...]
    kept: tuple[StageFidelity, ...]
    """The chosen candidate's, one a size."""
    notes: tuple[str, ...]
    boards: tuple[Profile, ...] = ()
    """Those that finish the artefact themselves, and what they may choose from, `lowered` among it."""
    variants: tuple[tuple[Variant, LoweredModel], ...] = ()
    devices: tuple[Profile, ...] = ()
    """All that the artefact is for, where none of them is this machine."""

    @property
    def reference(self) -> Reference:
        """Of the default size."""
        return self.references[0]

    def at(self, reference: Reference) -> str:
        """Its size, where there are several to tell apart."""
        return str(size_of(reference)) if len(self.references) > 1 else ""


def assemble_artefact(directory: Path, made: Ingredients, step: Callable[[], None]) -> None:
    """Fill `directory`. The written files are loaded from it and run on every validation frame: the last stage's fidelity.

    Raises `FidelityError` if they compute other features than the candidate did, or if one of their operations, where those can
    be watched, computes something else than the hub graph's.
    """
    (directory / "model").mkdir()
    written = _copy_model(made.lowered, directory / "model")
    for _, other in made.variants:
        _copy_model(other, directory / "model")
    made.lowering.label(written, _label(made))
    runner = made.lowering.load(written, threads=made.threads)
    final = [_run(made, reference, runner, step) for reference in made.references]
    for before, after in zip(made.kept, final, strict=True):
        require_kept(before, after)
    for reference, graph in zip(made.references, made.graphs, strict=True):
        require_faithful(runner, graph, made.plan, reference.frames, made.batch)
    sizes = record_sizes(directory, made.references, runner, made.batch, made.choice.candidate.precision)
    _write_texts(directory, made)
    (directory / EXPLANATION).write_text(made.explanation.model_dump_json(indent=1) + "\n", encoding="utf-8")
    variants: tuple[VariantFacts, ...] = ()
    if made.boards:
        variants = write_bundle(directory, _bundle(made, sizes[0].outputs, runner.threads))
    elif made.devices:
        write_mac(
            directory,
            made.devices,
            min_fidelity=made.budget.min_fidelity,
            model=made.model,
            precision_asked=made.precision_asked,
            calibration=_calibration(made),
        )
    fidelity = (*made.fidelity, *made.kept, *final)
    manifest = _manifest(made, directory, runner, sizes, fidelity, variants)
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


def _run(made: Ingredients, reference: Reference, runner: Runner, step: Callable[[], None]) -> StageFidelity:
    at = made.at(reference)
    stage = f"artefact at {at}" if at else "artefact"
    return measure_fidelity(reference, runner, made.batch, stage, step, made.lowering.evidence)


def _bundle(made: Ingredients, outputs: tuple[Tensor, ...], threads: int) -> Bundle:
    height, width = made.reference.frames.shape[1:3]
    return Bundle(
        name=f"{made.checkpoint.name}-{made.target}-{height}x{width}",
        build_key=made.build_key,
        boards=made.boards,
        target=made.target,
        input=input_of(made.reference, made.batch),
        outputs=outputs,
        variants=[variant for variant, _ in made.variants],
        golden_count=golden_count(made.reference),
        min_fidelity=made.budget.min_fidelity,
        model=made.model,
        precision_asked=made.precision_asked,
        calibration=_calibration(made),
        threads=threads,
        heads=made.reference.heads,
    )


def _copy_model(model: LoweredModel, folder: Path) -> LoweredModel:
    for name in model.files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(model.directory / name, folder / name)
    return LoweredModel(model.runtime, folder, model.entry, model.files, model.settings)


def _label(made: Ingredients) -> Label:
    """What the model's files may say of themselves. The manifest holds their hashes, so that they cannot hold its own: they name
    the build, as it does."""
    checkpoint = made.checkpoint
    return Label(
        author=f"edgec {edgec.__version__}",
        licence=made.licence.strip() or checkpoint.licence.name,
        version=edgec.__version__,
        description=f"{checkpoint.name}: DINOv3 {checkpoint.arch} features of a camera frame, {made.choice.candidate.precision}",
        input=input_of(made.reference, made.batch).meaning,
        outputs=meanings(made.reference),
        facts={
            "edgec.build_key": made.build_key,
            "edgec.checkpoint_sha256": checkpoint.sha256,
            "edgec.licence": checkpoint.licence.spdx,
            "edgec.precision": made.choice.candidate.precision,
            "edgec.target": made.target,
        },
    )


def _calibration(made: Ingredients) -> str:
    return f"{made.frames.name}, {len(made.split.calibration)} frames ({made.frames.sha256[:12]})"


def _write_texts(directory: Path, made: Ingredients) -> None:
    for name, text in (("LICENSE", made.licence), ("NOTICE", made.notice)):
        if text:
            (directory / name).write_text(text.rstrip() + "\n", encoding="utf-8")


def _manifest(
    made: Ingredients,
    directory: Path,
    runner: Runner,
    sizes: tuple[SizeFacts, ...],
    fidelity: tuple[StageFidelity, ...],
    variants: tuple[VariantFacts, ...],
) -> Manifest:
    precision = made.choice.candidate.precision
    return Manifest(
        edgec_version=edgec.__version__,
        build_key=made.build_key,
        checkpoint=made.checkpoint,
        calibration=_facts(made, made.split.calibration) if precision == "int8" else None,
        validation=_facts(made, made.split.validation),
        target=made.target,
        runtime=made.lowered.runtime,
        precision=precision,
        execution_precision=runner.execution_precision,
        execution=execution(made.lowered.runtime, runner),
        entry=f"model/{made.lowered.entry}",
        settings=made.lowered.settings,
        input=sizes[0].input,
        outputs=sizes[0].outputs,
        operations={entry.name: entry.precision for entry in made.explanation.operations},
        fidelity=fidelity,
        golden=sizes[0].golden,
        heads=made.reference.heads,
        sizes=sizes if len(sizes) > 1 else (),
        variants=variants,
        tools=dict(made.tools),
        files=build_manifest_files(directory),
    )


def _facts(made: Ingredients, frames: tuple[Frame, ...]) -> FrameSetFacts:
    skipped = (*made.frames.skipped, *made.split.skipped)
    return FrameSetFacts(
        name=made.frames.name,
        sha256=made.frames.sha256,
        frames=len(frames),
        skipped=tuple(f"{name}: {reason}" for name, reason in skipped),
    )


def _report(made: Ingredients, fidelity: tuple[StageFidelity, ...]) -> Report:
    height, width = made.reference.frames.shape[1:3]
    name = made.choice.candidate.name
    how = BOARDS_NOTE if made.boards else APPLE_NOTE if made.devices else NOTE
    notes = [how, *made.notes, *made.checkpoint.findings]
    skipped = (*made.frames.skipped, *made.split.skipped)
    notes += [f"frame skipped: {frame}: {reason}" for frame, reason in skipped]
    return Report(
        edgec_version=edgec.__version__,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        model=made.model,
        target=made.target,
        host_is_target=made.host_is_target,
        input_shape=(made.batch, height, width, 3),
        precision_asked=made.precision_asked,
        min_fidelity=made.budget.min_fidelity,
        min_agreement=made.budget.tasks.min_agreement,
        min_iou=made.budget.tasks.min_iou,
        max_depth_error=made.budget.tasks.max_depth_error,
        heads=made.reference.heads,
        calibration=_calibration(made),
        validation_frames=len(made.split.validation),
        stages=fidelity,
        candidates=tuple(entry.model_copy(update={"chosen": entry.name == name}) for entry in made.candidates),
        chosen=name,
        reason=made.choice.reason,
        notes=tuple(notes),
        host=made.host,
    )
