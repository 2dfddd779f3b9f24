"""Where the time of a batch goes, added up from a profile's steps: by kind of operation and by block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgec.records.reading import printable
from edgec.records.report import OperationTime, Profile
from edgec.report.cells import number
from edgec.report.sheets import numbers, sheet, texts
from edgec.report.table import terminal_table

OUTSIDE = "outside"
"""What runs before and after the blocks, and steps that the runtime added under names of its own."""


@dataclass(frozen=True)
class Part:
    """Several steps together. `share` is of the whole time. `gflops` is the work of the steps whose work is known. `roofline` is,
    for steps with a known bound, the time at the machine's measured rate over the time that they took."""

    name: str
    steps: int
    ms: float
    share: float
    gflops: float | None
    roofline: float | None


def by_kind(profile: Profile) -> tuple[Part, ...]:
    """The longest first."""
    return tuple(sorted(_parts(profile, lambda step: step.kind), key=lambda part: -part.ms))


def by_block(profile: Profile) -> tuple[Part, ...]:
    """In the order of the blocks, then what is outside of them. Empty where no step names its block."""
    if all(step.block is None for step in profile.steps):
        return ()
    parts = _parts(profile, lambda step: OUTSIDE if step.block is None else str(step.block))
    return tuple(sorted(parts, key=lambda part: (part.name == OUTSIDE, len(part.name), part.name)))


def total(profile: Profile) -> Part:
    """All steps together."""
    return _part("all steps", profile.steps, profile.whole_ms)


def unattributed_ms(profile: Profile) -> float:
    """The part of the whole that no step accounts for: the runtime's own work between steps, copies, Python. Negative where a few
    slow runs raised the steps' means above the whole's median."""
    return profile.whole_ms - total(profile).ms


def breakdown_table(profile: Profile) -> RenderableType:
    """Both tables and how they were measured, for the terminal: 78 columns at most."""
    rest = unattributed_ms(profile)
    parts: list[RenderableType] = [_table("kind", by_kind(profile), profile, rest)]
    if blocks := by_block(profile):
        parts += ["", _table("block", blocks, profile, rest)]
    return Group(*parts, "", *(Text(line) for line in _notes(profile)))


def _table(title: str, parts: Sequence[Part], profile: Profile, rest: float) -> Table:
    rows = [_row(part) for part in (*parts, total(profile))]
    rows.append(("in no step", "", f"{rest:.3f}", f"{100 * rest / profile.whole_ms:.1f}", "", ""))
    headings = texts(title) + numbers("steps", "ms", "% of whole", "GFLOP", "% of roofline")
    return terminal_table(sheet(headings, rows, [len(parts)]))


def _row(part: Part) -> tuple[str, ...]:
    roofline = None if part.roofline is None else 100 * part.roofline
    return (
        part.name,
        str(part.steps),
        f"{part.ms:.3f}",
        f"{100 * part.share:.1f}",
        number(part.gflops, ".3f"),
        number(roofline, ".0f"),
    )


def _notes(profile: Profile) -> list[str]:
    lines = [f"whole: {profile.whole_ms:.3f} ms with profiling, median of {profile.iterations} runs; steps are means"]
    if profile.plain_ms is not None:
        cost = 100 * (profile.whole_ms / profile.plain_ms - 1)
        # Profiling makes nothing faster: a negative cost is the machine's noise, and the other figures have as much of it.
        profiling_cost = f"profiling costs {cost:.1f} %" if cost >= 0 else f"{cost:.1f} % is noise"
        lines.append(f"without profiling, in turns: {profile.plain_ms:.3f} ms; {profiling_cost}")
    rates = ", ".join(f"{printable(kind)} {rate:.0f}" for kind, rate in profile.rates_gflops.items())
    lines.append(f"roofline: products of matrices, GFLOP/s: {rates or 'not measured'}")
    if unattributed_ms(profile) < 0:
        lines.append("steps exceed the whole: disturbed runs draw up means (steps), not medians")
    lines.append(f"{printable(profile.source)}; {profile.evidence.value}")
    return lines


def _parts(profile: Profile, key: Callable[[OperationTime], str]) -> list[Part]:
    groups: dict[str, list[OperationTime]] = {}
    for step in profile.steps:
        groups.setdefault(key(step), []).append(step)
    return [_part(name, steps, profile.whole_ms) for name, steps in groups.items()]


def _part(name: str, steps: Sequence[OperationTime], whole: float) -> Part:
    ms = sum(step.mean_ms for step in steps)
    work = [step.gflops for step in steps if step.gflops is not None]
    bounds = [(step.mean_ms, step.mean_ms * step.roofline_share) for step in steps if step.roofline_share is not None]
    taken, least = sum(pair[0] for pair in bounds), sum(pair[1] for pair in bounds)
    return Part(name, len(steps), ms, ms / whole, sum(work) if work else None, least / taken if taken else None)
