"""Which model, at which size, on which board, keeps up with the camera within the fidelity budget: read from the cells' reports.

A yes needs a measured p99: the camera's next frame is there after 1 / fps, whatever the median is. An estimate can only say no
(where even the bound is too long), never yes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from edgec.durable import sha256_of
from edgec.errors import ArtefactError
from edgec.fidelity.metrics import worst
from edgec.host.facts import contention
from edgec.onboard.figures import RUNS_FOR_P99, kept, milliseconds
from edgec.records.consistency import read_report
from edgec.records.manifest import MANIFEST
from edgec.records.reading import printable
from edgec.records.report import Bound, CandidateFigures, Report
from edgec.sweep.answer_matrix import KEEPS_UP
from edgec.sweep.schema import Answer, BoundFacts, Cell, FidelityFacts, LatencyFacts, MemoryFacts, Verdict

ORDER: tuple[Verdict, ...] = ("yes", "cannot tell", "no", "failed")
_FROM_BOARDS = ".report.json"


def answer_all(folder: Path, cells: Sequence[Cell], fps: float, min_fidelity: float) -> tuple[Answer, ...]:
    """`answers_of` all cells, in the order of a sweep's report."""
    return in_order(cells, [answer for cell in cells for answer in answers_of(folder, cell, fps, min_fidelity)])


def answers_of(folder: Path, cell: Cell, fps: float, min_fidelity: float) -> tuple[Answer, ...]:
    """One, or one a board where the artefact is for several. A report that a board sent back (`edgec deploy`) lies beside its
    artefact and counts, if it is about what is there now."""
    return tuple(_answers_of_cell(folder, cell, fps, min_fidelity))


def in_order(cells: Sequence[Cell], answers: Sequence[Answer]) -> tuple[Answer, ...]:
    """Sorted by verdict as in `ORDER`; within each the largest input first, then the fastest."""
    pixels = {cell.name: cell.size[0] * cell.size[1] for cell in cells}

    def sort_key(answer: Answer) -> tuple[int, int, float, float, str, str]:
        time = answer.latency.p99_ms if answer.latency else answer.bound.bound_ms if answer.bound else float("inf")
        cosine = answer.fidelity.worst_cosine if answer.fidelity else -1.0
        return ORDER.index(answer.verdict), -pixels[answer.cell], time, -cosine, answer.cell, answer.board

    return tuple(sorted(answers, key=sort_key))


def _answers_of_cell(folder: Path, cell: Cell, fps: float, min_fidelity: float) -> Iterator[Answer]:
    if cell.state == "failed" or cell.artefact is None:
        yield Answer(cell=cell.name, board=cell.target, verdict="failed", why=f"{cell.error} (exit code {cell.exit_code})")
        return
    directory = folder / cell.artefact
    try:
        report = read_report(directory / "report.json")
        sha256 = sha256_of(directory / MANIFEST)
    except (ArtefactError, OSError) as error:
        why = error.what if isinstance(error, ArtefactError) else str(error)
        yield Answer(cell=cell.name, board=cell.target, verdict="cannot tell", why=why)
        return
    chosen = next(candidate for candidate in report.candidates if candidate.chosen)
    boards = dict.fromkeys(bound.board for candidate in report.candidates for bound in candidate.bounds)
    if chosen.latency is None and boards:
        for board in boards:
            candidate, bound = _least(report, board, min_fidelity, chosen)
            yield _judge(cell, board, report, candidate, bound, fps, min_fidelity)
    else:
        yield _judge(cell, cell.target, report, chosen, None, fps, min_fidelity)
    for path in sorted(folder.glob("*" + _FROM_BOARDS)):
        board = path.name.removesuffix(_FROM_BOARDS).removeprefix(f"{cell.name}.")
        if path.name != f"{cell.name}.{board}{_FROM_BOARDS}":
            continue
        try:
            sent = read_report(path)
        except ArtefactError as error:
            yield Answer(cell=cell.name, board=board, verdict="cannot tell", why=error.what)
            continue
        if sent.artefact_sha256 == sha256:
            best = next(candidate for candidate in sent.candidates if candidate.chosen)
            yield _judge(cell, board, sent, best, None, fps, min_fidelity)


def _least(report: Report, board: str, min_fidelity: float, chosen: CandidateFigures) -> tuple[CandidateFigures, Bound | None]:
    """The board runs the fastest candidate within the budget, so the smallest of their bounds is the board's; `chosen` and no
    bound where no candidate has one."""
    within_budget = [
        each for each in report.candidates if not each.problem and each.fidelity and worst(each.fidelity) >= min_fidelity
    ]
    pairs = [(bound, each) for each in within_budget for bound in each.bounds if bound.board == board]
    if not pairs:
        return chosen, None
    bound, candidate = min(pairs, key=lambda pair: pair[0].bound_ms)
    return candidate, bound


def _judge(
    cell: Cell, board: str, report: Report, candidate: CandidateFigures, bound: Bound | None, fps: float, min_fidelity: float
) -> Answer:
    latency, fidelity, cold = candidate.latency, candidate.fidelity, candidate.cold_start
    doubts: tuple[str, ...] = ()
    if latency is not None and latency.other_cores is not None:
        doubts += contention(report.host, latency.threads, [latency.other_cores])
    verdict, why = _verdict(report, candidate, bound, 1000 / fps, min_fidelity, disturbed=bool(doubts))
    if latency is not None and latency.throttled:
        doubts += (f"The board was throttled while it was measured: {', '.join(map(printable, latency.throttled))}.",)
    return Answer(
        cell=cell.name,
        board=board,
        verdict=verdict,
        why=why,
        candidate=candidate.name,
        precision=candidate.precision,
        latency=latency
        and LatencyFacts(
            p50_ms=latency.p50_ms,
            p99_ms=latency.p99_ms,
            iterations=latency.iterations,
            other_cores=latency.other_cores,
            evidence=latency.evidence,
        ),
        bound=bound and BoundFacts(bound_ms=bound.bound_ms, power_mode=bound.power_mode, evidence=bound.evidence),
        fidelity=fidelity
        and FidelityFacts(
            worst_cosine=worst(fidelity),
            patch_cosine_mean=fidelity.patch_cosine_mean,
            frames=fidelity.frames,
            evidence=fidelity.evidence,
        ),
        memory=cold and MemoryFacts(peak_rss_bytes=cold.peak_rss_bytes, evidence=cold.evidence),
        size_bytes=candidate.size_bytes,
        doubts=doubts,
    )


def _verdict(
    report: Report, candidate: CandidateFigures, bound: Bound | None, period_ms: float, min_fidelity: float, *, disturbed: bool
) -> tuple[Verdict, str]:
    latency, fidelity = candidate.latency, candidate.fidelity
    if fidelity is not None and worst(fidelity) < min_fidelity:
        return "no", f"fidelity {kept(worst(fidelity))} ({fidelity.evidence.value})"
    if bound is not None and bound.bound_ms > period_ms:
        return "no", f"at least {bound.bound_ms:.2g} ms ({bound.evidence.value})"
    if latency is None:
        if bound is not None:
            least = f"at least {bound.bound_ms:.2g} ms"
            likely = f"likely {bound.likely_ms[0]:g} to {bound.likely_ms[1]:g} ms" if bound.likely_ms else least
            return "cannot tell", f"{likely} ({bound.evidence.value}), not measured"
        return "cannot tell", "no latency is known: it was not measured there"
    if not report.host_is_target:
        return "cannot tell", f"{milliseconds(latency.p99_ms)} ms on a machine that lacks what the target has"
    of_all = "p99" if latency.iterations >= RUNS_FOR_P99 else f"the longest of {latency.iterations} runs"
    measured = f"{of_all} {milliseconds(latency.p99_ms)} ms ({latency.evidence.value})"
    if latency.p99_ms > period_ms and disturbed:
        return "cannot tell", f"{measured}, but other work disturbed it: measure again"
    if latency.p99_ms > period_ms:
        return "no", measured if latency.p50_ms > period_ms else f"{measured}; the median alone would do"
    if fidelity is None:
        return "cannot tell", f"{measured}, but no fidelity is known"
    if report.model.random_weights:
        return "cannot tell", f"{KEEPS_UP}, fidelity unknown: {measured}, and random weights have no fidelity to keep"
    return "yes", measured
