"""An artefact's explanation: read from its files, and put into tables and sentences."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.table import Table

from edgec.artefact.reading import OpenArtefact
from edgec.errors import ArtefactError
from edgec.fidelity.metrics import worst
from edgec.onboard.figures import kept, milliseconds
from edgec.records.consistency import read_report
from edgec.records.explanation import EXPLANATION, ExceptionFacts, Explanation, OperationFacts
from edgec.records.fidelity import StageFidelity
from edgec.records.reading import printable, read_record
from edgec.records.report import Report
from edgec.report.cells import ABSENT, number
from edgec.report.decisions import has_features
from edgec.report.sheets import numbers, sheet, texts
from edgec.report.table import terminal_table

LOST = 1e-4
"""How far a stage's fidelity must fall to be called a loss: float32's own rounding over a deep model stays below."""
MOST_SENSITIVE = 10
PYTORCH = "PyTorch"

_IN_BLOCK = re.compile(r"(?:(.*)\.)?blocks\.(\d+)\.(.+)")
_CELLS = {"int8": "i8", "int8-per-token": "tok"}
_REASONS = 2


@dataclass(frozen=True)
class Explained:
    """What an artefact says of itself: its report, its explanation, and the fidelity of its build's stages."""

    report: Report
    explanation: Explanation
    stages: tuple[StageFidelity, ...]
    """The manifest's: hub, chosen candidate, artefact."""


@dataclass(frozen=True)
class Kind:
    """Operations of one kind in one precision. `share` is of all multiply-accumulates."""

    kind: str
    precision: str
    count: int
    share: float
    reason: str


@dataclass(frozen=True)
class Loss:
    """`stage` computes features whose fidelity is `after`; those of the stage `before_stage` had `before`."""

    stage: str
    after: float
    before_stage: str
    before: float


@dataclass(frozen=True)
class Price:
    """Median latencies in milliseconds of what ships and of the candidate without the exception."""

    without: str
    without_ms: float
    with_ms: float


def read_explained(artefact: OpenArtefact) -> Explained:
    """Raises `ArtefactError` if the explanation or the report is missing, as in artefacts of early versions, or damaged."""
    path = artefact.directory / EXPLANATION
    if not path.exists():
        raise ArtefactError(
            f"The artefact at {artefact.directory} holds no explanation.",
            evidence=f"it has no {EXPLANATION}; it was built by edgec {printable(artefact.manifest.edgec_version)}",
            remedy="build it again",
        )
    explanation = read_record(path, Explanation, "explanation")
    return Explained(read_report(artefact.directory / "report.json"), explanation, artefact.manifest.fidelity)


def kinds(explanation: Explanation) -> tuple[Kind, ...]:
    """In the order of execution. Of many reasons for one kind, the most frequent are given."""
    total = sum(operation.macs for operation in explanation.operations) or 1
    grouped: dict[tuple[str, str], list[OperationFacts]] = {}
    for operation in explanation.operations:
        grouped.setdefault((operation.kind, operation.precision), []).append(operation)
    result = []
    for (kind, precision), group in grouped.items():
        reasons = [reason for reason, _ in Counter(operation.reason for operation in group if operation.reason).most_common()]
        more = [f"and {len(reasons) - _REASONS} more reasons"] if len(reasons) > _REASONS else []
        share = sum(operation.macs for operation in group) / total
        result.append(Kind(kind, precision, len(group), share, "; ".join([*reasons[:_REASONS], *more])))
    return tuple(result)


def most_sensitive(explanation: Explanation) -> tuple[OperationFacts, ...]:
    """The operations that cost the features most in int8, the worst first; empty where that was not measured."""
    measured = [operation for operation in explanation.operations if operation.sensitivity is not None]
    return tuple(sorted(measured, key=lambda operation: -(operation.sensitivity or 0))[:MOST_SENSITIVE])


def first_loss(stages: Sequence[StageFidelity], threshold: float = LOST) -> Loss | None:
    """The first stage whose fidelity is more than `threshold` below that of the stage before; PyTorch's own is 1."""
    before_stage, before = PYTORCH, 1.0
    for stage in stages:
        if before - worst(stage) > threshold:
            return Loss(stage.stage, worst(stage), before_stage, before)
        before_stage, before = stage.stage, worst(stage)
    return None


def price(report: Report) -> Price | None:
    """What the chosen candidate's exceptions cost: its latency beside that of the same runtime's plan without exceptions. None
    where that was not measured."""
    chosen = next(candidate for candidate in report.candidates if candidate.chosen)
    static = next((candidate for candidate in report.candidates if candidate.name == f"{chosen.runtime}-int8-static"), None)
    if static is None or static is chosen or static.latency is None or chosen.latency is None:
        return None
    return Price(static.name, static.latency.p50_ms, chosen.latency.p50_ms)


# --- for people


def ships(report: Report) -> str:
    """What ships, and why."""
    return f"Chosen: {printable(report.chosen)}. {printable(report.reason)}"


def kinds_table(explanation: Explanation) -> Table:
    """`kinds`, a row each."""
    rows = [(each.kind, each.precision, str(each.count), f"{each.share:.1%}", each.reason) for each in kinds(explanation)]
    return terminal_table(sheet(texts("kind", "precision") + numbers("count", "MACs") + texts("why"), rows))


def blocks_table(explanation: Explanation) -> tuple[Table, tuple[str, ...]]:
    """A row a block, a column an operation, `+` where the input is smoothed; and, as text, the operations outside of all
    blocks."""
    rows: dict[str, dict[str, str]] = {}
    elsewhere = []
    heads: Counter[tuple[str, str]] = Counter()
    for operation in explanation.operations:
        match = _IN_BLOCK.fullmatch(operation.name)
        cell = _CELLS.get(operation.precision, printable(operation.precision)) + ("+" if operation.smoothed else "")
        if match:
            block = ".".join([*re.findall(r"\d+", match[1] or ""), match[2]])
            rows.setdefault(block, {})[match[3]] = cell
        elif operation.kind == "head":
            heads[operation.name.split(".")[1], cell] += 1
        else:
            elsewhere.append(f"{printable(operation.name)} {cell}")
    elsewhere += [f"head {printable(name)} {cell} ({count})" for (name, cell), count in heads.items()]
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    last = Counter(name.split(".")[-1] for name in columns)
    short = {name: name.split(".")[-1] if last[name.split(".")[-1]] == 1 else name for name in columns}
    cells = [(block, *(row.get(name, ABSENT) for name in columns)) for block, row in rows.items()]
    return terminal_table(sheet(texts("block", *(short[name] for name in columns)), cells)), tuple(elsewhere)


def exception_lines(explained: Explained, exception: ExceptionFacts) -> tuple[str, ...]:
    """Which operations, why, what it bought, what it cost: a line each."""
    count = len(exception.operations)
    where = f"{count} operation{'s' if count != 1 else ''} in {printable(exception.precision)}: {named(exception.operations)}"
    return (
        where,
        f"why: {printable(exception.reason)}",
        f"bought: {_bought(exception, _judge(explained.report))}",
        f"cost: {_cost(price(explained.report))}",
    )


def sensitive_table(explanation: Explanation) -> Table:
    """`most_sensitive`, a row each."""
    rows = [(each.name, each.precision, number(each.sensitivity, ".7f")) for each in most_sensitive(explanation)]
    return terminal_table(sheet(texts("operation", "runs in") + numbers("lost"), rows))


def massive_table(explanation: Explanation) -> Table:
    """The explanation's massive activations, a row each."""
    rows = [
        (each.operation, each.token, str(each.channel), f"{each.value:.4g}", f"{each.ratio:.1f}x", each.frame)
        for each in explanation.massive
    ]
    headings = texts("operation", "token") + numbers("channel", "value", "ratio") + texts("frame")
    return terminal_table(sheet(headings, rows))


def loss_line(stages: Sequence[StageFidelity]) -> str:
    """Where fidelity was first lost, as a sentence: by fidelity or, without features, by what the worst head keeps."""
    loss = first_loss(stages)
    features = any(stage.cosines for stage in stages)
    if loss is None:
        return f"No stage lost more than {LOST:g} of {'fidelity' if features else 'what the worst head decides'}."
    return (
        f"Fidelity was first lost at {printable(loss.stage)}: {'its fidelity is' if features else 'its worst head keeps'} "
        f"{kept(loss.after)}, {loss.before - loss.after:.6f} below {printable(loss.before_stage)}'s {kept(loss.before)}."
    )


def named(operations: Iterable[str]) -> str:
    """`mlp.fc2 of blocks 0-4, 7; patch_embed`."""
    grouped: dict[str, list[int]] = {}
    for name in operations:
        match = _IN_BLOCK.fullmatch(name)
        key = f"{match[3]} of {f'{match[1]}.' if match[1] else ''}blocks" if match else name
        grouped.setdefault(key, []).extend([int(match[2])] if match else [])
    return "; ".join(printable(f"{key} {_ranges(sorted(numbers))}") for key, numbers in grouped.items())


def _ranges(blocks: Sequence[int]) -> str:
    runs: list[list[int]] = []
    for block in blocks:
        if runs and block == runs[-1][-1] + 1:
            runs[-1].append(block)
        else:
            runs.append([block])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def _judge(report: Report) -> str:
    return "fidelity" if has_features(report) else "the worst head"


def _bought(exception: ExceptionFacts, judge: str) -> str:
    without, lost = exception.lost_without, exception.lost_with
    if without is None or lost is None:
        return "not measured: `--effort full` also tries the plan without it"
    change = f"{judge} loses {lost:.6f} instead of {without:.6f}"
    return change if lost < without else f"nothing: {change}"


def _cost(paid: Price | None) -> str:
    if paid is None:
        return "not measured: `--effort full` also tries the plan without it"
    difference = paid.with_ms - paid.without_ms
    change = (
        f"{milliseconds(paid.with_ms)} ms at the median instead of {milliseconds(paid.without_ms)}, {printable(paid.without)}'s"
    )
    return f"{milliseconds(difference)} ms: {change}" if difference > 0 else f"nothing: {change}"
