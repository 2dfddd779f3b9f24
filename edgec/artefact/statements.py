"""What an artefact says about itself in two places: both must agree, and stay within what edgec allows.

A manifest that was rewritten could allow itself anything. Here it must still fit the golden features that lie beside it, and no
figure may be below `edgec.artefact.tolerances`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgec.artefact.contents import inside
from edgec.artefact.reading import OpenArtefact, OpenSize
from edgec.artefact.tolerances import LEAST_FIDELITY
from edgec.durable import sha256_of
from edgec.errors import ArtefactError
from edgec.fidelity.metrics import Fidelity, worst
from edgec.onboard.vectorised import cosines
from edgec.records.consistency import read_report
from edgec.records.fidelity import StageFidelity, TaskFidelity
from edgec.records.manifest import MANIFEST, Manifest
from edgec.records.reading import printable
from edgec.records.report import Report

REPORT = "report.json"
_REMEDY = "it was edited or damaged: build it again, or copy it again from where it is whole"
_SLACK = 2e-6
"""Figures have six decimals."""
_SHOWN = 20


def check_report(manifest: Manifest, directory: Path) -> Report | None:
    """The artefact's report, if it belongs to this manifest and every file that it lists is unchanged. None if an older edgec,
    which did not protect reports, wrote the artefact and the report is gone.

    Raises `ArtefactError` for a report that is missing, damaged or of another artefact.
    """
    path = directory / REPORT
    if manifest.execution is None and not path.exists():
        return None
    report = read_report(path)
    problems = [*_disagreements(report, manifest, directory)]
    for file in report.files:
        path = inside(directory, file.path)
        if not path.is_file():
            problems.append(f"missing: {file.path}")
        elif path.stat().st_size != file.size_bytes or sha256_of(path) != file.sha256:
            problems.append(f"changed: {file.path} is not as {REPORT} says")
    if problems:
        raise ArtefactError(f"The report in {directory} is not the artefact's.", evidence=problems[:_SHOWN], remedy=_REMEDY)
    return report


def _disagreements(report: Report, manifest: Manifest, directory: Path) -> Iterator[str]:
    if report.artefact_sha256 not in (None, sha256_of(directory / MANIFEST)) or (
        report.artefact_sha256 is None and manifest.execution is not None
    ):
        yield f"it is about a manifest with SHA-256 {str(report.artefact_sha256)[:12]}…"
    if report.stages != manifest.fidelity:
        yield "it has another fidelity than the manifest"
    if report.model.checkpoint_sha256 != manifest.checkpoint.sha256:
        yield "it is about another checkpoint"
    if report.heads != manifest.heads:
        yield "it has other heads than the manifest"


def check_fidelity(artefact: OpenArtefact, least: float | None = None) -> None:
    """Check the recorded fidelity: no figure may be below `least` (by default what edgec allows for the precision), and the
    golden features, a part of those that it was measured on, must not contradict it.

    Raises `ArtefactError`.
    """
    manifest = artefact.manifest
    least = LEAST_FIDELITY[manifest.precision] if least is None else least
    problems: list[str] = []
    for size in artefact.sizes:
        height, width = size.facts.input.shape[1:3]
        name = f"artefact at {height}x{width}" if len(artefact.sizes) > 1 else "artefact"
        stage = next((stage for stage in manifest.fidelity if stage.stage == name), None)
        if stage is None:
            problems.append(f"fidelity of {name} is missing")
        else:
            problems += [f"{name}: {problem}" for problem in _size_problems(size, stage, manifest, least)]
    if problems:
        raise ArtefactError(
            f"The manifest in {artefact.directory} states another fidelity than its golden features have, or too low a one.",
            evidence=problems[:_SHOWN],
            remedy=f"{_REMEDY}; if it was built to lose this much, use edgec verify --min-fidelity",
        )


def _size_problems(size: OpenSize, stage: StageFidelity, manifest: Manifest, least: float) -> Iterator[str]:
    golden = size.golden
    count = len(golden.frames)
    if stage.frames != manifest.validation.frames or stage.frames < count:
        yield f"it is about {stage.frames} frames; {manifest.validation.frames} were set aside, {count} are golden"
        return
    meter = Fidelity(manifest.heads, features="patches" in golden.expected_float32 and "cls" in golden.expected_float32)
    try:
        meter.add(golden.expected_float32, golden.expected_shipped)
    except (KeyError, ValueError, IndexError) as error:  # arrays that are not outputs of such a head
        yield f"the golden features are not those of its heads: {printable(str(error))[:200]}"
        return
    here = meter.summary(stage.stage, stage.evidence)
    if stage.cosines and worst(stage) < least:
        yield f"fidelity {worst(stage):.6f} (at least {least:g})"
    # Some of the frames cannot lose more on average than all of them lose together.
    times = stage.frames / count
    for name in ("cls_cosine_mean", "patch_cosine_mean"):
        recorded, actual = getattr(stage, name), getattr(here, name)
        if (recorded is None) != (actual is None):
            yield f"{name} is {recorded}; computed from the golden features it is {actual}"
        elif recorded is not None:
            if actual < least:
                yield f"{name} of the golden frames is {actual:.6f} (at least {least:g})"
            yield from _beyond(name, 1 - actual, 1 - recorded, times)
    if stage.patch_cosine_p01 is not None:
        values = cosines(golden.expected_float32["patches"], golden.expected_shipped["patches"])
        below = int((values < stage.patch_cosine_p01 - _SLACK).sum())
        most = int(np.ceil(0.01 * values.size * times)) + 1
        if below > most:
            yield f"{below} golden patches are below patch_cosine_p01, {stage.patch_cosine_p01:.6f}; {most} can be"
    if [(task.head, task.output) for task in stage.tasks] != [(task.head, task.output) for task in here.tasks]:
        yield "it judges other heads than the artefact has"
        return
    for recorded, actual in zip(stage.tasks, here.tasks, strict=True):
        yield from _task_problems(recorded, actual, times)


def _task_problems(recorded: TaskFidelity, actual: TaskFidelity, times: float) -> Iterator[str]:
    most, lost = _losses(recorded), _losses(actual)
    if most.keys() != lost.keys():
        yield f"{printable(recorded.head)}: it is judged as another kind of output"
        return
    for name, value in lost.items():
        yield from _beyond(f"{printable(recorded.head)}: {name}", value, most[name], times)
    if recorded.values and actual.values and actual.values.cosine_min < recorded.values.cosine_min - _SLACK:
        yield f"{printable(recorded.head)}: its smallest cosine is {actual.values.cosine_min:.6f} in the golden frames alone"


def _losses(task: TaskFidelity) -> dict[str, float]:
    """The figures that are means over frames, each as what is lost, by name."""
    losses: dict[str, float] = {}
    if task.classes:
        losses["agreement"] = 1 - task.classes.agreement
    if task.masks:
        losses["pixel_agreement"] = 1 - task.masks.pixel_agreement
    if task.depths:
        losses["relative_error"] = task.depths.relative_error
    if task.values:
        losses["cosine_mean"] = 1 - task.values.cosine_mean
    return losses


def _beyond(name: str, lost: float, recorded: float, times: float) -> Iterator[str]:
    if lost > times * (recorded + _SLACK) + _SLACK:
        yield f"{name}: the golden frames lose {lost:.2g} of float32, all frames together {recorded:.2g}"
