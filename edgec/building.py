"""The compiler, in one sentence:

read a checkpoint → assemble the model at its camera resolution → export it to one ONNX graph, the hub → calibrate that graph on
real frames → plan its precision under a fidelity budget → hand both to the target family's backend, which lowers, judges,
measures, chooses and packs → write the artefact.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgec import extras
from edgec.artefact.reading import open_artefact
from edgec.artefact.statements import check_report
from edgec.artefact.write import check_destination, existing_build_key, write_artefact
from edgec.cache import Cache
from edgec.cache import key as cache_key
from edgec.durable import copy_hashed
from edgec.errors import ArtefactError, EdgecError
from edgec.onboard.files import link
from edgec.progress import Progress, Silent
from edgec.records.consistency import read_report
from edgec.records.manifest import MANIFEST, UPGRADES, Manifest
from edgec.records.reading import read_record
from edgec.records.report import Host, Report
from edgec.request import BuildRequest, Resolved, resolve
from edgec.stages.base import Build

REPORT = "report.json"


@dataclass(frozen=True)
class BuildResult:
    """What `build` wrote. `reused`: the same artefact was at the destination already, and nothing was done."""

    directory: Path
    manifest: Manifest
    report: Report
    reused: bool = False


def build(request: BuildRequest, progress: Progress | None = None) -> BuildResult:
    """Build one artefact. Every stage is cached by what it depends on: a build that was killed resumes, a repeated one does
    nothing.

    Raises the `EdgecError`s of its stages. Nothing is then written, and what was at the destination stays.
    """
    extras.require("build", "Building an artefact")
    progress = progress or Silent()
    with progress.stage("resolve"):
        resolved = resolve(request)
    progress.settings(resolved.rows())
    for note in resolved.notes:
        progress.note(note)
    existing = _up_to_date(resolved)
    if existing is not None:
        return existing
    check_destination(resolved.output, request.force)
    stages = Build(resolved, Cache(note=progress.note), progress)
    key = cache_key(resolved.key, _measured_on(resolved.host))
    cached = stages.cache.stage("artefact", key, lambda directory: compile_into(directory, stages))
    with progress.stage("write"):
        directory = write_artefact(resolved.output, lambda work: _copy(stages.cache, cached, work), force=request.force)
    return _result(directory)


def compile_into(directory: Path, build: Build) -> None:
    """The stages in order, and nothing else."""
    # Imported when there is work: a request that is refused, or a build that is up to date, need not wait for onnx-ir.
    from edgec.stages.assembling import Results, write
    from edgec.stages.bounding import bound_validation, tell_what_to_expect
    from edgec.stages.candidates import Judges, assess, choose, compile_candidates, lower, search_within_budget, verify_candidates
    from edgec.stages.drift import record_drift
    from edgec.stages.elsewhere import compute_elsewhere
    from edgec.stages.preparing import (
        check_the_heads,
        choose_frames,
        compute_references,
        export_hub,
        lint_frames,
        only_shipped,
        verify_against_author,
        verify_export,
    )
    from edgec.stages.quantising import Plans, calibrate, measure_int8_costs

    check_the_heads(build)
    split = choose_frames(build)
    findings = lint_frames(build, split)
    hub = export_hub(build)
    split = bound_validation(build, hub, split)
    tell_what_to_expect(build, hub, split)
    complete = compute_references(build, hub, split)
    fidelity = (*verify_against_author(build, complete), *verify_export(build, hub, complete))
    references = only_shipped(hub, complete)
    judges = Judges(references, compute_elsewhere(build, hub, split))
    drift = record_drift(build, hub, split, references)
    calibration = calibrate(build, hub, split)
    plans = Plans(build, hub, calibration)
    sensitivity = measure_int8_costs(build, hub, plans, calibration, split)
    candidates = lower(build, hub, plans, sensitivity)
    candidates = verify_candidates(build, candidates, judges)
    candidates = search_within_budget(build, hub, plans, calibration, sensitivity, candidates, judges)
    candidates, unseen = compile_candidates(build, candidates)
    candidates, doubts = assess(build, hub, candidates, references)
    choice = choose(build, hub, candidates)
    notes = (*unseen, *doubts)
    results = Results(
        build, hub, split, findings, references, drift, calibration, sensitivity, candidates, choice, fidelity, notes
    )
    write(directory, results)


def _copy(cache: Cache, source: Path, work: Path) -> None:
    """Copy a cached artefact, hashing what is copied; files with equal content share the room of one.

    Raises `EdgecError` if it is not what the stage wrote.
    """
    expected, changed = cache.digests(source), []
    written: dict[str, Path] = {}
    # One by one: `copytree` hides a full disk in an error of its own, and copies the cache's permissions.
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source)
        digest = expected.get(name.as_posix(), "")
        if path.is_dir():
            (work / name).mkdir()
        elif digest in written and link(written[digest], work / name):
            continue
        elif copy_hashed(path, work / name) != digest:
            changed.append(name.as_posix())
        else:
            written[digest] = work / name
    if changed:
        raise EdgecError(
            "The cache changed while the artefact was copied out of it; nothing was written.",
            evidence=[f"changed: {name}" for name in changed],
            remedy="build again: what has changed is computed again. If it changes once more, the disk or the memory is damaged",
        )


def _up_to_date(resolved: Resolved) -> BuildResult | None:
    """The artefact at the destination, if it is whole, is what this build would write, and was measured on this machine."""
    if existing_build_key(resolved.output) != resolved.key:
        return None
    try:
        opened = open_artefact(resolved.output)
        report = check_report(opened.manifest, opened.directory)
        resolved.backend.check(opened, report, None)
        if report is None or _measured_on(report.host) != _measured_on(resolved.host):
            return None
        return _result(resolved.output, reused=True)
    except ArtefactError:
        return None


def _measured_on(host: Host) -> dict[str, Any]:
    """What a report's figures depend on besides the artefact."""
    return host.model_dump(mode="json", exclude={"governor", "usable_cores", "versions"})


def _result(directory: Path, *, reused: bool = False) -> BuildResult:
    manifest = read_record(directory / MANIFEST, Manifest, "manifest", UPGRADES)
    return BuildResult(directory, manifest, read_report(directory / REPORT), reused)
