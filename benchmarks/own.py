"""edgec's contenders: what a build ships, and every candidate that it tried."""

from __future__ import annotations

from dataclasses import dataclass, replace

import onnx_ir as ir

from benchmarks.contender import Contender, Run
from edgec.artefact.reading import open_artefact
from edgec.backends.cpu.choosing import choose
from edgec.building import build
from edgec.cache import Cache
from edgec.fidelity.budget import Budget
from edgec.fidelity.metrics import worst
from edgec.graph.statistics import Statistics
from edgec.lowering import registry
from edgec.lowering.base import LoweredModel
from edgec.progress import Silent
from edgec.records.report import CandidateFigures
from edgec.request import BuildRequest, resolve
from edgec.stages.base import Build
from edgec.stages.candidates import Judges, lower, search_within_budget, verify_candidates
from edgec.stages.elsewhere import compute_elsewhere
from edgec.stages.preparing import choose_frames, compute_references, export_hub
from edgec.stages.quantising import Plans, calibrate, measure_int8_costs


@dataclass(frozen=True)
class Built:
    """`int8` names the artefact that goals are about: what ships, or, where that is no int8, what `--precision int8` would
    ship. `execution` is by contender what the runtime says that it computes in."""

    hub: ir.Model
    statistics: dict[str, Statistics]
    contenders: tuple[Contender, ...]
    shipped: str
    int8: str
    execution: dict[str, str]
    reason: str


def shipped_contender(request: BuildRequest) -> Contender:
    """What `--precision auto` ships, run as a robot would run it."""
    result = build(request)
    artefact = open_artefact(result.directory)
    return Contender(_name(result.report.chosen), _runner(artefact.lowered, request.threads), shipped=True)


def all_contenders(request: BuildRequest) -> Built:
    """Builds, and loads every candidate that ran; the shipped one is the artefact itself."""
    shipped = shipped_contender(request)
    assert request.output is not None
    stages = Build(resolve(replace(request, output=request.output.with_suffix(".unused"))), Cache(), Silent())
    # The build has just run these stages: they come from the cache.
    split, hub = choose_frames(stages), export_hub(stages)
    calibration = calibrate(stages, hub, split)
    plans = Plans(stages, hub, calibration)
    sensitivity, references = measure_int8_costs(stages, hub, plans, calibration, split), compute_references(stages, hub, split)
    judges = Judges(references, compute_elsewhere(stages, hub, split))
    candidates = verify_candidates(stages, lower(stages, hub, plans, sensitivity), judges)
    candidates = search_within_budget(stages, hub, plans, calibration, sensitivity, candidates, judges)
    report = build(request).report
    ran = [candidate for candidate in report.candidates if candidate.fidelity and candidate.latency]
    models = {entry.name: entry.model for entry in candidates if entry.model is not None}
    contenders = [shipped]
    for candidate in ran:
        if candidate.name != report.chosen:
            contenders.append(Contender(_name(candidate.name), _runner(models[candidate.name], request.threads)))
    return Built(
        hub=hub.load(),
        statistics=dict(calibration.statistics),
        contenders=tuple(contenders),
        shipped=shipped.name,
        int8=_name(_int8(ran, report.chosen, request.min_fidelity)),
        execution={_name(candidate.name): candidate.execution_precision for candidate in ran},
        reason=report.reason,
    )


def _int8(ran: list[CandidateFigures], chosen: str, min_fidelity: float) -> str:
    candidates = [candidate for candidate in ran if candidate.precision == "int8"]
    if any(candidate.name == chosen for candidate in candidates):
        return chosen
    best = max(worst(candidate.fidelity) for candidate in candidates if candidate.fidelity)
    return choose(candidates, Budget(min(min_fidelity, best))).candidate.name


def _name(candidate: str) -> str:
    return f"edgec: {candidate}"


def _runner(model: LoweredModel, threads: int | None) -> Run:
    runner = registry.get(model.runtime).load(model, threads=threads)
    return lambda frame: runner(frame[None])
