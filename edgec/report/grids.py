"""Tables of what heads keep of their float32 decisions, as plain text: the same rows for Markdown, pages and the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from edgec.onboard.figures import kept, percentage
from edgec.records.fidelity import Classes, Depths, Masks, StageFidelity, TaskFidelity, Vectors
from edgec.records.reading import printable
from edgec.records.report import Report
from edgec.report.cells import ABSENT, candidate_name, cosine_cell, mark_chosen
from edgec.report.decisions import (
    HeadMeasure,
    Measure,
    budget_words,
    class_name,
    describe,
    head_measures,
    head_of,
    judged_stages,
    measure_of,
)
from edgec.report.sheets import Heading, Sheet, numbers, sheet, texts

_FIGURES: dict[Measure, tuple[str, tuple[Heading, ...]]] = {
    "classes": ("Classes", numbers("agreement", "mean margin", "float32's", "smallest margin")),
    "masks": ("Masks", numbers("mean IoU", "lowest class IoU") + texts("of class") + numbers("pixels alike")),
    "depths": ("Depths", numbers("relative error", "RMSE")),
    "values": ("Vectors", numbers("mean cosine", "smallest cosine")),
}


def heads_grid(report: Report) -> Sheet | None:
    """A row a head: what it is, and its budget. None without heads."""
    measures = {task.head: measure_of(task) for each in report.candidates if each.fidelity for task in each.fidelity.tasks}
    rows = []
    for head in report.heads:
        of_head = [measure for name in head.outputs if (measure := measures.get(name)) is not None]
        budget = ", ".join(dict.fromkeys(budget_words(report, measure) for measure in of_head)) or ABSENT
        rows.append((head.name, describe(head), budget, head.sha256[:12]))
    return sheet(texts("head", "what it is", "budget", "SHA-256"), rows) if rows else None


def fidelity_grids(report: Report) -> tuple[Sheet, ...]:
    """What each head keeps in each stage and candidate: a table for classes, for masks, for depths and for vectors."""
    stages: dict[str, StageFidelity] = {}
    for name, stage in judged_stages(report):
        stages.setdefault(name, stage)
    grids = []
    for measure, (title, figures) in _FIGURES.items():
        tasks = [(name, stage, task) for name, stage in stages.items() for task in stage.tasks if measure_of(task) == measure]
        rows = [
            (
                mark_chosen(name, chosen=name == report.chosen),
                task.head,
                *_cells(report, task),
                str(stage.frames),
                stage.evidence.value,
            )
            for name, stage, task in tasks
        ]
        strong = [index for index, (name, _, _) in enumerate(tasks) if name == report.chosen]
        if rows:
            headings = texts("stage", "head") + figures + numbers("frames") + texts("evidence")
            grids.append(sheet(headings, rows, strong, title))
    return tuple(grids)


def iou_grids(report: Report, most: int) -> tuple[Sheet, ...]:
    """IoU by class: a table a head, a row a class, a column a candidate. Of more than `most` classes, those that the chosen
    candidate keeps worst."""
    judged = [candidate for candidate in report.candidates if candidate.fidelity is not None]
    grids = []
    for measure in head_measures(candidate.fidelity for candidate in judged):
        if measure.measure != "masks":
            continue
        columns = [
            (candidate, task.masks.iou)
            for candidate in judged
            if (task := measure.find(candidate.fidelity)) is not None and task.masks is not None
        ]
        head = head_of(report, measure.output)
        values = list(zip_longest(*(iou for _, iou in columns)))
        leading = next((index for index, (candidate, _) in enumerate(columns) if candidate.chosen), 0)
        rows = [
            (class_name(head.classes if head else (), index), *(cosine_cell(value) for value in values[index]))
            for index in worst_classes([row[leading] for row in values], most)
        ]
        left_out = f": the {most} lowest of {len(values)} classes" if len(values) > most else ""
        title = f"IoU by class, {printable(measure.output)}{left_out}"
        headings = texts("class") + numbers(*(candidate_name(candidate) for candidate, _ in columns))
        grids.append(sheet(headings, rows, title=title))
    return tuple(grids)


def worst_classes(iou: Sequence[float | None], most: int) -> list[int]:
    """The indices of all classes, or of the `most` with the lowest IoU, in ascending order."""
    if len(iou) <= most:
        return list(range(len(iou)))
    ordered = sorted(range(len(iou)), key=lambda index: (iou[index] is None, iou[index] or 0.0))
    return sorted(ordered[:most])


def chosen_rows(report: Report) -> list[tuple[HeadMeasure, TaskFidelity, str]]:
    """Of what ships: each head's output, what it keeps, and its budget in words."""
    chosen = next(candidate for candidate in report.candidates if candidate.chosen)
    pairs = ((measure, measure.find(chosen.fidelity)) for measure in head_measures([chosen.fidelity]))
    return [(measure, task, budget_words(report, measure.measure)) for measure, task in pairs if task is not None]


def _cells(report: Report, task: TaskFidelity) -> tuple[str, ...]:
    part = task.classes or task.masks or task.depths or task.values
    if isinstance(part, Classes):
        margins = (part.margin_shipped, part.margin_float32, part.smallest_margin)
        return percentage(part.agreement), *(f"{value:.4g}" for value in margins)
    if isinstance(part, Masks):
        known = [(value, index) for index, value in enumerate(part.iou) if value is not None]
        head = head_of(report, task.head)
        low = min(known, default=None)
        words = (ABSENT, ABSENT) if low is None else (kept(low[0]), class_name(head.classes if head else (), low[1]))
        return kept(part.mean_iou), *words, percentage(part.pixel_agreement, 3)
    if isinstance(part, Depths):
        return f"{part.relative_error:.3g}", f"{part.rmse:.4g}"
    assert isinstance(part, Vectors)
    return kept(part.cosine_mean), kept(part.cosine_min)
