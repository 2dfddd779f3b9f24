"""What must be the same on both sides for their latencies to say anything of each other, and what is shown beside the figures."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgec.errors import RequestError
from edgec.records.evidence import Evidence
from edgec.records.reading import printable
from edgec.report.columns import ABSENT, cosine_cell
from edgec.report.compare.sides import Side
from edgec.report.decisions import Decided, decided

_HOW_LONG = re.compile(r"--(duration|iterations|warmUp|avgRuns)=")
"""Flags of trtexec that say how much was measured, not how."""
_TAKEN = 0.1
"""The share of the cores that a run needs, above which others may not have used them; `edgec bench` warns from there on, too."""


@dataclass(frozen=True)
class Fact:
    """`cell` gives plain text on one line, not escaped for anything."""

    title: str
    cell: Callable[[Side], str]


@dataclass(frozen=True)
class Difference:
    title: str
    first: str
    second: str


def _shape(side: Side) -> str:
    _, height, width, _ = side.report.input_shape
    return f"{height}x{width}"


def _host(side: Side) -> str:
    host = side.report.host
    return printable(
        f"{host.cpu} ({host.architecture}), {host.usable_cores} of {host.logical_cores} cores, {_memory(host.memory_bytes)}"
    )


def _memory(size: int) -> str:
    """To a tenth of a gigabyte: kernels keep a little more or less of it for themselves."""
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
    """Of one host, what was measured is measured, whether it has all that a target asks for or not."""
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
        return _number(side.quantile_ms(figure, share))

    return cell


def _number(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.2f}"


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


def _rss(side: Side) -> str:
    return ABSENT if side.cold_start is None else f"{side.cold_start.peak_rss_bytes / 1e6:.0f}"


def _size(side: Side) -> str:
    return ABSENT if side.candidate.size_bytes is None else f"{side.candidate.size_bytes / 1e6:.1f}"


def _cosine(field: str) -> Callable[[Side], str]:
    return lambda side: cosine_cell(getattr(side.fidelity, field, None))


def _judged_on(side: Side) -> str:
    frames = side.fidelity.frames if side.fidelity else side.report.validation_frames
    return printable(f"{frames} frames; calibration {side.report.calibration}")


CONDITIONS = (
    Fact("shape", _shape),
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
    Fact("p99 ms", _ms("p99", 0.99)),
    Fact("max ms", lambda side: _number(side.max_ms)),
    Fact("runs", _runs),
    Fact("yardstick ms", lambda side: _number(side.pace_ms)),
    Fact("memory MB", _rss),
    Fact("size MB", _size),
    Fact("cls", _cosine("cls_cosine_mean")),
    Fact("patch mean", _cosine("patch_cosine_mean")),
    Fact("patch p01", _cosine("patch_cosine_p01")),
)


def compiled_figures(sides: Sequence[Side]) -> tuple[Fact, ...]:
    """What a vendor's compiler made of the graphs, where some side has been compiled."""
    if not any(side.candidate.compilations for side in sides):
        return ()
    return (Fact("kernels", _compiled("kernels", 1, 0)), Fact("moved MB", _compiled("moved_bytes", 1e6, 1)))


def head_figures(sides: Sequence[Side]) -> tuple[Fact, ...]:
    """What each output of a head keeps, of all heads that some side has."""

    def fact(each: Decided) -> Fact:
        return Fact(each.words, lambda side: each.cell(side.fidelity))

    return tuple(fact(each) for each in decided(side.fidelity for side in sides))


def other_work(side: Side) -> str:
    """Whether other work took cores that the side's single run needed, in words. Several runs tell by themselves what it did."""
    latency, cores = side.latency, side.report.host.logical_cores
    if len(side.reports) > 1 or latency is None or latency.other_cores is None:
        return ""
    if latency.other_cores <= max(0, cores - latency.threads) + _TAKEN * latency.threads:
        return ""
    return f"other work used {latency.other_cores:.1f} of {cores} cores while {printable(side.name)} was measured"


def differences(first: Side, second: Side) -> tuple[Difference, ...]:
    """Empty if the latencies of both may be compared."""
    cells = [(fact.title, fact.cell(first), fact.cell(second)) for fact in CONDITIONS]
    return tuple(Difference(*each) for each in cells if each[1] != each[2])


def require_comparable(sides: Sequence[Side]) -> None:
    """All with the first. Raises `RequestError`, which says what differs."""
    first, *others = sides
    found = [(other, differences(first, other)) for other in others]
    evidence = [
        f"{each.title}: {each.first} in {printable(first.name)}, {each.second} in {printable(other.name)}"
        for other, differing in found
        for each in differing
    ]
    if evidence:
        titles = dict.fromkeys(each.title for _, differing in found for each in differing)
        raise RequestError(
            f"These reports cannot be compared: they differ in {', '.join(titles)}.",
            evidence=evidence,
            remedy="measure both under the same conditions, or add --anyway to see the figures side by side",
        )
