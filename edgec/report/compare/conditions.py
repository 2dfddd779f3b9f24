"""What must be the same on both sides for their latencies to be comparable, and what is shown beside the figures."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgec.errors import RequestError
from edgec.fidelity.metrics import worst
from edgec.onboard.figures import p99
from edgec.records.evidence import Evidence
from edgec.records.reading import printable
from edgec.report.cells import ABSENT, cosine_cell, megabytes, ms_cell
from edgec.report.compare.sides import Side
from edgec.report.decisions import HeadMeasure, head_measures
from edgec.report.facts import size_of

_HOW_LONG = re.compile(r"--(duration|iterations|warmUp|avgRuns)=")
"""Flags of trtexec that say how much was measured, not how."""
_TAKEN = 0.1
"""Other work may take at most this share of the cores that a run needs; `edgec bench` warns at the same share."""


@dataclass(frozen=True)
class Fact:
    """A row of a comparison. `cell` gives plain text on one line, not escaped for anything."""

    title: str
    cell: Callable[[Side], str]


@dataclass(frozen=True)
class Difference:
    """A condition that is not the same on both sides, and what it is on each."""

    title: str
    first: str
    second: str


def _host(side: Side) -> str:
    host = side.report.host
    return printable(
        f"{host.cpu} ({host.architecture}), {host.usable_cores} of {host.logical_cores} cores, {_memory(host.memory_bytes)}"
    )


def _memory(size: int) -> str:
    """To a tenth of a gigabyte: kernels reserve a little more or less of it."""
    return f"{size / 1e9:.1f} GB"


def _latency(field: str) -> Callable[[Side], str]:
    def cell(side: Side) -> str:
        value = None if side.latency is None else getattr(side.latency, field)
        return ABSENT if value is None else printable(str(value))

    return cell


def _clocks(side: Side) -> str:
    fixed = None if side.latency is None else side.latency.gpu_clock_fixed
    gpu = {None: "", True: "GPU clock fixed", False: "GPU clock free"}[fixed]
    governor = side.report.host.governor
    return printable(", ".join(filter(None, (f"governor {governor}" if governor else "", gpu)))) or ABSENT


def _measured_by(side: Side) -> str:
    flags = [flag for flag in (side.latency.flags if side.latency else ()) if not _HOW_LONG.match(flag)]
    return printable(" ".join(flags)) or ABSENT


def _evidence(side: Side) -> str:
    return side.latency.evidence.value if side.latency else "not measured"


def _kind_of_evidence(side: Side) -> str:
    """Both kinds of measured latencies count as one: of the same host, they are comparable."""
    measured = (Evidence.TARGET, Evidence.HOST)
    return "measured" if side.latency and side.latency.evidence in measured else _evidence(side)


def _runtime(side: Side) -> str:
    name = side.candidate.runtime
    return printable(f"{name} {side.report.host.versions.get(name, '')}")


def _precision(side: Side) -> str:
    executed = side.candidate.execution_precision
    return printable(f"{side.candidate.precision} ({executed})" if executed else side.candidate.precision)


def _model(side: Side) -> str:
    model = side.report.model
    return printable(f"{model.name}, {model.arch}, {model.checkpoint_sha256[:12]}{', random weights' * model.random_weights}")


def _ms(figure: str, share: float) -> Callable[[Side], str]:
    def cell(side: Side) -> str:
        return ms_cell(side.quantile_ms(figure, share))

    return cell


def _p99(side: Side) -> str:
    value = side.quantile_ms("p99", 0.99)
    return ABSENT if value is None or side.latency is None else p99(value, side.samples or side.latency.iterations)


def _runs(side: Side) -> str:
    if side.latency is None:
        return ABSENT
    count = side.samples or side.latency.iterations
    return f"{count} in {len(side.reports)} reports" if len(side.reports) > 1 else str(count)


def _compiled(field: str, unit: float, digits: int) -> Callable[[Side], str]:
    """By SM, of graphs that the vendor's compiler has seen."""

    def cell(side: Side) -> str:
        figures = [
            f"{getattr(each, field) / unit:.{digits}f} (SM {each.sm})" for each in side.candidate.compilations if each.accepted
        ]
        return printable(", ".join(figures)) or ABSENT

    return cell


def _cosine(field: str) -> Callable[[Side], str]:
    return lambda side: cosine_cell(getattr(side.fidelity, field, None))


def _fidelity(side: Side) -> str:
    return ABSENT if side.fidelity is None else cosine_cell(worst(side.fidelity))


def _judged_on(side: Side) -> str:
    frames = side.fidelity.frames if side.fidelity else side.report.validation_frames
    return printable(f"{frames} frames; calibration {side.report.calibration}")


CONDITIONS = (
    Fact("shape", lambda side: size_of(side.report)),
    Fact("batch", lambda side: str(side.report.input_shape[0])),
    Fact("host", _host),
    Fact("threads", _latency("threads")),
    Fact("power mode", _latency("power_mode")),
    Fact("clocks", _clocks),
    Fact("measured with", _measured_by),
    Fact("kind of evidence", _kind_of_evidence),
)
"""Where two sides differ in one of these, their latencies are not compared."""

FACTS = (
    Fact("candidate", lambda side: printable(side.candidate.name)),
    Fact("model", _model),
    Fact("target", lambda side: printable(side.report.target)),
    Fact("precision", _precision),
    Fact("runtime", _runtime),
    *CONDITIONS[:-1],
    Fact("evidence", _evidence),
    Fact("judged on", _judged_on),
)
FIGURES = (
    Fact("p50 ms", _ms("p50", 0.50)),
    Fact("p99 ms", _p99),
    Fact("fidelity", _fidelity),
    Fact("max ms", lambda side: ms_cell(side.max_ms)),
    Fact("runs", _runs),
    Fact("reference work ms", lambda side: ms_cell(side.pace_ms)),
    Fact("memory MB", lambda side: megabytes(getattr(side.cold_start, "peak_rss_bytes", None), 0)),
    Fact("size MB", lambda side: megabytes(side.candidate.size_bytes)),
    Fact("cls", _cosine("cls_cosine_mean")),
    Fact("patches", _cosine("patch_cosine_mean")),
    Fact("worst 1 % of patches", _cosine("patch_cosine_p01")),
)


def compiled_figures(sides: Sequence[Side]) -> tuple[Fact, ...]:
    """What a vendor's compiler made of the graphs, where some side has been compiled."""
    if not any(side.candidate.compilations for side in sides):
        return ()
    return (Fact("kernels", _compiled("kernels", 1, 0)), Fact("moved MB", _compiled("moved_bytes", 1e6, 1)))


def head_figures(sides: Sequence[Side]) -> tuple[Fact, ...]:
    """How much each output of a head keeps, of all heads that some side has."""

    def fact(each: HeadMeasure) -> Fact:
        return Fact(each.words, lambda side: each.cell(side.fidelity))

    return tuple(fact(each) for each in head_measures(side.fidelity for side in sides))


def other_work(side: Side) -> str:
    """In words, whether other work took cores that the side's single run needed; "" if not, or if there are several runs, whose
    spread shows what it did."""
    latency, cores = side.latency, side.report.host.logical_cores
    if len(side.reports) > 1 or latency is None or latency.other_cores is None:
        return ""
    if latency.other_cores <= max(0, cores - latency.threads) + _TAKEN * latency.threads:
        return ""
    return f"other work used {latency.other_cores:.1f} of {cores} cores while {printable(side.name)} was measured"


def held_back(side: Side) -> str:
    """In words, what slowed the board down while one of the side's runs was measured; "" if nothing did."""
    reasons = dict.fromkeys(reason for each in side.candidates if each.latency for reason in each.latency.throttled)
    return f"{printable(side.name)} was throttled while it was measured: {', '.join(map(printable, reasons))}" if reasons else ""


def differences(first: Side, second: Side) -> tuple[Difference, ...]:
    """Empty if the latencies of both may be compared."""
    cells = [(fact.title, fact.cell(first), fact.cell(second)) for fact in CONDITIONS]
    return tuple(Difference(*each) for each in cells if each[1] != each[2])


def require_comparable(sides: Sequence[Side]) -> None:
    """Raises `RequestError` with what differs if one of the sides cannot be compared with the first."""
    first, *others = sides
    compared = [(other, differences(first, other)) for other in others]
    evidence = [
        f"{difference.title}: {difference.first} in {printable(first.name)}, {difference.second} in {printable(other.name)}"
        for other, differing in compared
        for difference in differing
    ]
    if evidence:
        titles = dict.fromkeys(difference.title for _, differing in compared for difference in differing)
        raise RequestError(
            f"These reports cannot be compared: they differ in {', '.join(titles)}.",
            evidence=evidence,
            remedy="measure both under the same conditions, or add --anyway to see the figures side by side",
        )
