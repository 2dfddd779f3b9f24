"""The card of an artefact, with which a page opens: what a person asks first, and nothing else."""

from __future__ import annotations

from typing import Any

from edgec.fidelity.metrics import worst, worst_of
from edgec.onboard.figures import ABSENT, RUNS_FOR_P99, kept, milliseconds, per_second, rate
from edgec.records.reading import printable
from edgec.records.report import CandidateFigures, Report
from edgec.report.decisions import budget_violations, head_measures
from edgec.report.facts import size_of
from edgec.report.html.series import RATES_HZ
from edgec.report.html.subjects import Subject
from edgec.report.keeping_up import CAMERA_HZ, burdened, keeps_up
from edgec.report.names import candidate_words
from edgec.report.shipping import chosen_of

_HEADS = 3


def card(number: int, subject: Subject, compared: CandidateFigures | None = None) -> dict[str, Any]:
    """What the template shows of one report, by the template's names: of the candidate that ships, or of `compared`. Plain
    text, a line each."""
    report = subject.report
    chosen = compared or chosen_of(report)
    latency = chosen.latency
    verdicts = {hz: keeps_up(report, chosen, hz) for hz in RATES_HZ}
    batch = report.input_shape[0]
    return {
        "number": number,
        "name": printable(subject.name),
        "model": printable(report.model.name),
        "size": size_of(report) + (f", {batch} frames a batch" if batch > 1 else ""),
        "board": printable(report.target),
        "rate": ABSENT if latency is None else per_second(rate(latency.p50_ms, batch)),
        "times": _times(chosen),
        "verdict": verdicts[CAMERA_HZ].verdict,
        "why": verdicts[CAMERA_HZ].why,
        "verdicts": {hz: [each.verdict, each.why] for hz, each in verdicts.items()},
        "fidelity": ABSENT if chosen.fidelity is None else kept(worst(chosen.fidelity)),
        "short_of_budget": bool(budget_violations(report, chosen)),
        "fidelity_of": _fidelity_words(report, chosen),
        "elsewhere": _elsewhere(chosen),
        "heads": [(printable(each.title), each.cell(chosen.fidelity)) for each in head_measures([chosen.fidelity])[:_HEADS]],
        "runs": candidate_words(chosen.name, chosen.precision),
        "evidence": latency.evidence.value if latency else "not measured",
        "load": printable(
            burdened(report, chosen).replace("while it was measured", "meanwhile").replace("it was", "the board was")
        ),
        "random": report.model.random_weights,
    }


def _times(candidate: CandidateFigures) -> str:
    latency = candidate.latency
    if latency is None:
        least = min((bound.bound_ms for bound in candidate.bounds), default=None)
        return "not measured" if least is None else f"not measured; at least {milliseconds(least)} ms by data sheets"
    enough = latency.iterations >= RUNS_FOR_P99
    slowest = (
        f"p99 {milliseconds(latency.p99_ms)}" if enough else f"longest of {latency.iterations} {milliseconds(latency.max_ms)}"
    )
    return f"p50 {milliseconds(latency.p50_ms)}, {slowest} ms"


def _elsewhere(candidate: CandidateFigures) -> tuple[str, str] | None:
    """The lowest fidelity away from home, and where that was; None where it was not measured."""
    lowest = worst_of(candidate.elsewhere)
    return None if lowest is None else (kept(worst(lowest)), printable(lowest.stage))


def _fidelity_words(report: Report, candidate: CandidateFigures) -> str:
    fidelity = candidate.fidelity
    if fidelity is None:
        return "not judged"
    if report.model.random_weights:
        return "random weights: says nothing"
    asked = f"{report.min_fidelity:g} asked" if fidelity.cosines else "of what its heads decide"
    return f"{asked}, on {fidelity.frames} frames of its own footage"
