"""How much of float32's decisions heads keep, as figures and in words: the same in every table, page and comparison."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from edgec.fidelity.budget import Budget
from edgec.fidelity.tasks import TaskBudgets
from edgec.onboard.figures import kept, percentage
from edgec.records.fidelity import Classes, HeadFacts, Masks, StageFidelity, TaskFidelity
from edgec.records.reading import printable
from edgec.records.report import CandidateFigures, Report
from edgec.report.cells import ABSENT, shortened

Measure = Literal["classes", "masks", "depths", "values"]
FIGURES: Final[dict[Measure, str]] = {
    "classes": "agreement",
    "masks": "mean IoU",
    "depths": "depth error",
    "values": "mean cosine",
}
"""The one figure of each that tables show, and that budgets bound."""
_SHORT: Final[dict[Measure, str]] = {"classes": "agrees", "masks": "mIoU", "depths": "error", "values": "cosine"}
_GIVES = {
    "scores": "a class a frame",
    "labels": "a class a pixel",
    "logits": "scores of classes a pixel",
    "depth": "a depth a pixel",
    "values": "vectors",
}
_LONGEST = 12
_LISTED = 6


@dataclass(frozen=True)
class HeadMeasure:
    """One output of a head and what is measured of it: a column of a table, or a row of a chart."""

    output: str
    measure: Measure

    @property
    def title(self) -> str:
        """Short, for the top of a column."""
        return f"{shortened(self.output, _LONGEST, _LONGEST // 2 - 1)} {_SHORT[self.measure]}"

    @property
    def words(self) -> str:
        """The output's name and the figure's."""
        return f"{printable(self.output)}: {FIGURES[self.measure]}"

    def find(self, stage: StageFidelity | None) -> TaskFidelity | None:
        """This output's measurement in a stage; None where the stage has none."""
        tasks = () if stage is None else stage.tasks
        return next((task for task in tasks if task.head == self.output and measure_of(task) == self.measure), None)

    def cell(self, stage: StageFidelity | None) -> str:
        """The figure as a table shows it."""
        task = self.find(stage)
        return ABSENT if task is None else headline(task)


def head_measures(stages: Iterable[StageFidelity | None]) -> tuple[HeadMeasure, ...]:
    """All that some stage measured, each once, in the order of their first appearance."""
    tasks = (task for stage in stages if stage is not None for task in stage.tasks)
    pairs = ((task.head, measure_of(task)) for task in tasks)
    return tuple(dict.fromkeys(HeadMeasure(head, measure) for head, measure in pairs if measure is not None))


def measure_of(task: TaskFidelity) -> Measure | None:
    """Which of the four measurements it holds; None where it holds none."""
    return next((measure for measure in FIGURES if getattr(task, measure) is not None), None)


def figure(task: TaskFidelity) -> float:
    """The one that `FIGURES` names: of depths the error, the lower the better; of all others the share that is kept, up to 1."""
    if task.depths:
        return task.depths.relative_error
    return task.values.cosine_mean if task.values else task.retained


def lost(task: TaskFidelity) -> float:
    """The figure that budgets bound, as a loss: 0 where nothing is lost."""
    return figure(task) if task.depths else 1 - figure(task)


def headline(task: TaskFidelity) -> str:
    """The one figure of `FIGURES`, formatted as tables show it."""
    if task.classes:
        return percentage(task.classes.agreement)
    return f"{figure(task):.3g}" if task.depths else kept(figure(task))


def words(task: TaskFidelity, head: HeadFacts | None = None) -> str:
    """Everything that was measured of the output, on one line. `head` names the classes."""
    if task.classes:
        return _classes(task.classes)
    if task.masks:
        return _masks(task.masks, head.classes if head else ())
    if task.depths:
        return f"depth error {task.depths.relative_error:.3g} of the depth; RMSE {task.depths.rmse:.4g}"
    if task.values:
        return f"mean cosine {kept(task.values.cosine_mean)}, smallest {kept(task.values.cosine_min)}"
    return "not measured"


def _classes(classes: Classes) -> str:
    return (
        f"same class on {percentage(classes.agreement)} of the frames; mean margin {classes.margin_shipped:.4g}, "
        f"float32's {classes.margin_float32:.4g}; smallest {classes.smallest_margin:.3g}"
    )


def _masks(masks: Masks, classes: Sequence[str]) -> str:
    known = [(value, index) for index, value in enumerate(masks.iou) if value is not None]
    low = ""
    if len(known) > 1:
        value, index = min(known)
        low = f" (lowest: {class_name(classes, index)} {kept(value)})"
    return f"mean IoU {kept(masks.mean_iou)}{low}; {percentage(masks.pixel_agreement, 3)} of the pixels alike"


def class_name(classes: Sequence[str], index: int) -> str:
    """As the head names it, or by its index where the head has no such name."""
    return printable(classes[index]) if index < len(classes) else f"class {index}"


def head_of(report: Report, output: str) -> HeadFacts | None:
    """The head that gives this output; None where no head does."""
    return next((head for head in report.heads if output in head.outputs), None)


def describe(head: HeadFacts) -> str:
    """What the head is and what it gives, on one line."""
    listed = ", ".join(printable(name) for name in head.classes[:_LISTED])
    more = f" and {len(head.classes) - _LISTED} more" if len(head.classes) > _LISTED else ""
    count = len(head.classes)
    classes = f"; {count} class{'es' * (count != 1)}: {listed}{more}" if head.classes else ""
    names = f" as {', '.join(map(printable, head.outputs))}" if head.outputs != (head.name,) else ""
    return f"{head.kind}, gives {_GIVES[head.output]}{names}; reads {', '.join(map(printable, head.reads))}{classes}"


def bound(report: Report, measure: Measure) -> float | None:
    """The least that `figure` must be, or the most that a depth error may be; None where there is no bound."""
    bounds = {
        "classes": report.min_agreement,
        "masks": report.min_iou,
        "depths": report.max_depth_error,
        "values": report.min_fidelity,
    }
    return bounds[measure]


def allowed_loss(report: Report, measure: Measure) -> float | None:
    """The most that `lost` may be; None where there is no bound."""
    limit = bound(report, measure)
    return limit if limit is None or measure == "depths" else 1 - limit


def budget_words(report: Report, measure: Measure) -> str:
    """The bound on that figure in words; "none" where there is no bound."""
    limit = bound(report, measure)
    if limit is None:
        return "none"
    side = "at most" if measure == "depths" else "at least"
    return f"{FIGURES[measure]} {side} {f'{limit:.2%}' if measure == 'classes' else f'{limit:g}'}"


def budget_lines(report: Report) -> tuple[str, ...]:
    """The bounds on features and heads, a text each."""
    tasks = [task for each in report.candidates if each.fidelity for task in each.fidelity.tasks]
    measures = [measure for measure in FIGURES if measure != "values" and any(measure_of(task) == measure for task in tasks)]
    features = [f"fidelity at least {report.min_fidelity:g}"] if has_features(report) else []
    if features and report.min_fidelity_elsewhere not in (None, report.min_fidelity):
        features.append(f"elsewhere at least {report.min_fidelity_elsewhere:g}")
    return (*features, *(budget_words(report, measure) for measure in measures if bound(report, measure) is not None))


def judged_stages(report: Report) -> list[tuple[str, StageFidelity]]:
    """By name, the build's stages and then every candidate that was judged."""
    stages = [(stage.stage, stage) for stage in report.stages]
    return stages + [(each.name, each.fidelity) for each in report.candidates if each.fidelity is not None]


def has_features(report: Report) -> bool:
    """Whether candidates give features that were judged; True also where nothing was judged. The build's stages may give more."""
    judged = [each.fidelity for each in report.candidates if each.fidelity is not None] or report.stages
    return not judged or any(each.cosines for each in judged)


def budget_violations(report: Report, candidate: CandidateFigures) -> tuple[str, ...]:
    """Where a candidate's fidelity is beyond a budget, in words."""
    if candidate.fidelity is None:
        return ()
    tasks = TaskBudgets(report.min_agreement, report.min_iou, report.max_depth_error)
    budget = Budget(report.min_fidelity, tasks, report.min_fidelity_elsewhere)
    return tuple(map(printable, budget.lost(candidate.fidelity, candidate.elsewhere)))


def violation_lines(report: Report) -> tuple[str, ...]:
    """A line for each candidate that is beyond a budget."""
    violations = ((candidate, budget_violations(report, candidate)) for candidate in report.candidates)
    return tuple(
        f"{printable(candidate.name)} is beyond the budget: {'; '.join(reasons)}" for candidate, reasons in violations if reasons
    )
