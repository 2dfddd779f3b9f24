"""What benchmarks print: plain tables that fit 120 columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from benchmarks.contender import Contender, Judgement
from benchmarks.goals import Goal
from benchmarks.race import Blocks, median, percentile, ratio
from edgec.host import facts as host
from edgec.model.spec import Size
from edgec.records.evidence import Evidence

PACKAGES = ("openvino", "onnxruntime", "nncf", "torch")


@dataclass(frozen=True)
class Result:
    """A contender, how it was judged, and its latencies by block."""

    contender: Contender
    judgement: Judgement
    blocks: Blocks

    @property
    def name(self) -> str:
        """The contender's."""
        return self.contender.name

    @property
    def p50(self) -> float:
        """Milliseconds."""
        return median(self.blocks)


def host_line(threads: int, size: Size, calibrated: int, judged: int) -> str:
    """The machine, its tools, and what was compared on it."""
    here = host.facts()
    flags = [flag for flag in ("avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "asimddp", "i8mm") if flag in here.isa]
    versions = ", ".join(f"{name} {version}" for name, version in host.versions(PACKAGES).items() if name != "edgec")
    return (
        f"{here.cpu} ({', '.join(flags) or 'no int8 products'}), {threads} threads; {versions}\n"
        f"{size}; peers calibrated on {calibrated} frames; all judged on {judged}, by torch's float32 features; "
        f"{Evidence.HOST.value}"
    )


def contest_table(results: Sequence[Result], ours: Result) -> Table:
    """Sorted by latency. `ours` is what the others' latencies are the ratio to."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("contender", max_width=46)
    for title in ("p50 ms", "p99 ms", "ours / this", "95 %", "patches", "worst 1 %", "cls"):
        table.add_column(title, justify="right", no_wrap=True)
    for result in sorted(results, key=lambda result: result.p50):
        ours_over_this, judged = ratio(ours.blocks, result.blocks), result.judgement
        marks = [text for text, holds in (("ships", result.contender.shipped), ("ours", result is ours)) if holds]
        table.add_row(
            f"{result.name}{f' [{chr(44).join(marks)}]' if marks else ''}".replace("[", r"\["),
            f"{result.p50:.2f}",
            f"{percentile(result.blocks, 99):.2f}",
            f"{ours_over_this.value:.3f}",
            f"{ours_over_this.low:.2f}..{ours_over_this.high:.2f}",
            f"{judged.patch_mean:.6f}",
            f"{judged.patch_p01:.6f}",
            f"{judged.cls_mean:.6f}",
            style="bold" if result is ours else None,
        )
    return table


def goals_table(goals: Sequence[Goal]) -> Table:
    """A row a goal; those that were missed are bold."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title, width in (("model", 18), ("figure", 44), ("goal", 13), ("measured", 34)):
        table.add_column(title, max_width=width)
    table.add_column("", no_wrap=True)
    last = ""
    for goal in goals:
        table.add_row(
            "" if goal.model == last else goal.model,
            goal.figure + ("" if goal.evidence is Evidence.HOST else f"; {goal.evidence.value}"),
            goal.goal,
            goal.measured,
            {True: "met", False: "NOT MET", None: ""}[goal.met],
            style="bold" if goal.met is False else None,
        )
        last = goal.model
    return table
