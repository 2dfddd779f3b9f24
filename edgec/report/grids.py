"""Tables of what heads keep, as plain text: the same rows for Markdown, pages and the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from edgec.records.fidelity import Classes, Depths, Masks, TaskFidelity, Vectors
from edgec.records.reading import printable
from edgec.records.report import Report
from edgec.report.decisions import (
    ABSENT,
    Decided,
    Measure,
    budget_words,
    class_name,
    decided,
    describe,
    head_of,
    measure_of,
)


@dataclass(frozen=True)
class Grid:
    """`numbers` says by column whether it is one; `strong` are the rows that are set off."""

    title: str
    titles: tuple[str, ...]
    numbers: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]
    strong: tuple[int, ...] = ()


_FIGURES: dict[Measure, tuple[str, tuple[str, ...]]] = {
    "classes": ("Classes", ("agreement", "mean margin", "float32's", "smallest margin")),
    "masks": ("Masks", ("mean IoU", "lowest class IoU", "of class", "pixels alike")),
    "depths": ("Depths", ("relative error", "RMSE")),
    "values": ("Vectors", ("mean cosine", "smallest cosine")),
}
_TEXTS = ("of class",)


def heads_grid(report: Report) -> Grid | None:
    """A row a head: what it is, and what it had to keep."""
    measures = {task.head: measure_of(task) for each in report.candidates if each.fidelity for task in each.fidelity.tasks}
    rows = []
    for head in report.heads:
        found = [measure for name in head.outputs if (measure := measures.get(name)) is not None]
        budget = ", ".join(dict.fromkeys(budget_words(report, measure) for measure in found)) or ABSENT
        rows.append((printable(head.name), describe(head), budget, head.sha256[:12]))
    return Grid("Heads", ("head", "what it is", "budget", "SHA-256"), (False,) * 4, tuple(rows)) if rows else None


def kept_grids(report: Report) -> tuple[Grid, ...]:
    """What each head keeps in each stage and candidate: a table for classes, for masks, for depths and for vectors."""
    judged = [(stage.stage, stage) for stage in report.stages]
    named = {name for name, _ in judged}
    judged += [(each.name, each.fidelity) for each in report.candidates if each.fidelity is not None and each.name not in named]
    stages = [(printable(name) + " (chosen)" * (name == report.chosen), each, name == report.chosen) for name, each in judged]
    found = []
    for measure, (title, heads) in _FIGURES.items():
        rows: list[tuple[str, ...]] = []
        strong: list[int] = []
        for name, stage, chosen in stages:
            for task in stage.tasks:
                if measure_of(task) != measure:
                    continue
                if chosen:
                    strong.append(len(rows))
                rows.append((name, printable(task.head), *_cells(report, task), str(stage.frames), stage.evidence.value))
        if rows:
            titles = ("stage", "head", *heads, "frames", "evidence")
            numbers = (False, False, *(head not in _TEXTS for head in heads), True, False)
            found.append(Grid(title, titles, numbers, tuple(rows), tuple(strong)))
    return tuple(found)


def iou_grids(report: Report, most: int) -> tuple[Grid, ...]:
    """IoU by class: a table a head, a row a class, a column a candidate. Of more than `most` classes, those that the chosen
    candidate keeps worst."""
    judged = [each for each in report.candidates if each.fidelity is not None]
    found = []
    for each in decided(candidate.fidelity for candidate in judged):
        if each.measure != "masks":
            continue
        columns = [
            (candidate, task.masks.iou)
            for candidate in judged
            if (task := each.find(candidate.fidelity)) is not None and task.masks is not None
        ]
        head = head_of(report, each.output)
        names = [printable(candidate.name) + " (chosen)" * candidate.chosen for candidate, _ in columns]
        values = list(zip_longest(*(iou for _, iou in columns)))
        leading = next((index for index, (candidate, _) in enumerate(columns) if candidate.chosen), 0)
        shown = worst_classes([row[leading] for row in values], most)
        rows = tuple(
            (class_name(head.classes if head else (), index), *(ABSENT if v is None else f"{v:.5f}" for v in values[index]))
            for index in shown
        )
        left_out = f": the {most} lowest of {len(values)} classes" if len(values) > most else ""
        title = f"IoU by class, {printable(each.output)}{left_out}"
        found.append(Grid(title, ("class", *names), (False, *[True] * len(names)), rows))
    return tuple(found)


def worst_classes(iou: Sequence[float | None], most: int) -> list[int]:
    """Indices of all, or of the `most` that are lowest; in their order."""
    if len(iou) <= most:
        return list(range(len(iou)))
    ordered = sorted(range(len(iou)), key=lambda index: (iou[index] is None, iou[index] or 0.0))
    return sorted(ordered[:most])


def chosen_rows(report: Report) -> list[tuple[Decided, TaskFidelity, str]]:
    """Of what ships: each head's output, what it keeps, and what that had to be."""
    chosen = next(candidate for candidate in report.candidates if candidate.chosen)
    found = ((each, each.find(chosen.fidelity)) for each in decided([chosen.fidelity]))
    return [(each, task, budget_words(report, each.measure)) for each, task in found if task is not None]


def _cells(report: Report, task: TaskFidelity) -> tuple[str, ...]:
    part = task.classes or task.masks or task.depths or task.values
    if isinstance(part, Classes):
        margins = (part.margin_shipped, part.margin_float32, part.smallest_margin)
        return f"{part.agreement:.2%}", *(f"{value:.4g}" for value in margins)
    if isinstance(part, Masks):
        known = [(value, index) for index, value in enumerate(part.iou) if value is not None]
        head = head_of(report, task.head)
        low = min(known, default=None)
        words = (ABSENT, ABSENT) if low is None else (f"{low[0]:.5f}", class_name(head.classes if head else (), low[1]))
        return f"{part.mean_iou:.5f}", *words, f"{part.pixel_agreement:.3%}"
    if isinstance(part, Depths):
        return f"{part.relative_error:.3g}", f"{part.rmse:.4g}"
    assert isinstance(part, Vectors)
    return f"{part.cosine_mean:.5f}", f"{part.cosine_min:.5f}"
