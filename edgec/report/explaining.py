"""An artefact's explanation, from its files to what people read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgec.artefact.reading import OpenArtefact
from edgec.errors import ArtefactError
from edgec.fidelity.metrics import worst
from edgec.records.consistency import read_report
from edgec.records.explanation import EXPLANATION, ExceptionFacts, Explanation, OperationFacts
from edgec.records.fidelity import StageFidelity
from edgec.records.reading import printable, read_record
from edgec.records.report import Report
from edgec.report.decisions import has_features

if TYPE_CHECKING:
    from rich.table import Table

LOST = 1e-4
"""How much a stage's worst cosine must fall to be called a loss: float32's own rounding over a deep model stays below."""
MOST_SENSITIVE = 10
PYTORCH = "PyTorch"

_IN_BLOCK = re.compile(r"(?:(.*)\.)?blocks\.(\d+)\.(.+)")
_CELLS = {"int8": "i8", "int8-per-token": "tok"}
_REASONS = 2


@dataclass(frozen=True)
class Explained:
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
    """`stage` computes features whose worst cosine is `after`; those of the stage `before_stage` had `before`."""

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
    """Raises `ArtefactError` if the artefact holds no explanation, as those of early versions, or one that is damaged; and for
    its report alike."""
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
    """In the order of execution. Where operations of one kind have many reasons, the most frequent are told."""
    total = sum(operation.macs for operation in explanation.operations) or 1
    grouped: dict[tuple[str, str], list[OperationFacts]] = {}
    for operation in explanation.operations:
        grouped.setdefault((operation.kind, operation.precision), []).append(operation)
    found = []
    for (kind, precision), group in grouped.items():
        reasons = [reason for reason, _ in Counter(operation.reason for operation in group if operation.reason).most_common()]
        more = [f"and {len(reasons) - _REASONS} more reasons"] if len(reasons) > _REASONS else []
        share = sum(operation.macs for operation in group) / total
        found.append(Kind(kind, precision, len(group), share, "; ".join([*reasons[:_REASONS], *more])))
    return tuple(found)


def most_sensitive(explanation: Explanation) -> tuple[OperationFacts, ...]:
    measured = [operation for operation in explanation.operations if operation.sensitivity is not None]
    return tuple(sorted(measured, key=lambda operation: -(operation.sensitivity or 0))[:MOST_SENSITIVE])


def first_loss(stages: Sequence[StageFidelity], threshold: float = LOST) -> Loss | None:
    """The first stage whose worst cosine is more than `threshold` below that of the stage before; PyTorch's own is 1."""
    before_stage, before = PYTORCH, 1.0
    for stage in stages:
        if before - worst(stage) > threshold:
            return Loss(stage.stage, worst(stage), before_stage, before)
        before_stage, before = stage.stage, worst(stage)
    return None


def price(report: Report) -> Price | None:
    """What the chosen candidate's exceptions cost: against the same runtime's plan that has none, if it was measured."""
    chosen = next(candidate for candidate in report.candidates if candidate.chosen)
    plain = next((each for each in report.candidates if each.name == f"{chosen.runtime}-int8-static"), None)
    if plain is None or plain is chosen or plain.latency is None or chosen.latency is None:
        return None
    return Price(plain.name, plain.latency.p50_ms, chosen.latency.p50_ms)


# --- for people


def ships(report: Report) -> str:
    """What ships, and why, as one sentence."""
    chosen, reason = printable(report.chosen), printable(report.reason)
    return f"{chosen} ships: {f'it{reason.removeprefix(chosen)}' if reason.startswith(f'{chosen} ') else reason}"


def kinds_table(explanation: Explanation) -> Table:
    from rich.text import Text

    table = _table("kind", "precision", "count:", "MACs:", "why")
    for entry in kinds(explanation):
        cells = (entry.kind, entry.precision, str(entry.count), f"{entry.share:.1%}", entry.reason)
        table.add_row(*(Text(printable(cell)) for cell in cells))
    return table


def blocks_table(explanation: Explanation) -> tuple[Table, tuple[str, ...]]:
    """A row a block, a column an operation; and, as text, the operations that are in no block. `+` marks a smoothed input."""
    from rich.text import Text

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
    table = _table("block", *(printable(short[name]) for name in columns))
    for block, row in rows.items():
        table.add_row(block, *(Text(row.get(name, "-")) for name in columns))
    return table, tuple(elsewhere)


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
    from rich.text import Text

    table = _table("operation", "runs in", "lost:")
    for operation in most_sensitive(explanation):
        table.add_row(Text(printable(operation.name)), Text(printable(operation.precision)), f"{operation.sensitivity:.7f}")
    return table


def massive_table(explanation: Explanation) -> Table:
    from rich.text import Text

    table = _table("operation", "token", "channel:", "value:", "ratio:", "frame")
    for entry in explanation.massive:
        cells = (entry.operation, entry.token, str(entry.channel), f"{entry.value:.4g}", f"{entry.ratio:.1f}x", entry.frame)
        table.add_row(*(Text(printable(cell)) for cell in cells))
    return table


def loss_line(stages: Sequence[StageFidelity]) -> str:
    """By the cosines or, of a model without features, by what the worst head keeps."""
    loss = first_loss(stages)
    features = any(stage.cosines for stage in stages)
    if loss is None:
        return f"No stage lost more than {LOST:g} of {'the worst cosine' if features else 'what the worst head decides'}."
    return (
        f"Fidelity was first lost at {printable(loss.stage)}: {'its worst cosine is' if features else 'its worst head keeps'} "
        f"{loss.after:.6f}, {loss.before - loss.after:.6f} below {printable(loss.before_stage)}'s {loss.before:.6f}."
    )


def named(operations: Iterable[str]) -> str:
    """`mlp.fc2 of blocks 0-4, 7; patch_embed`."""
    grouped: dict[str, list[int]] = {}
    for name in operations:
        match = _IN_BLOCK.fullmatch(name)
        key = f"{match[3]} of {f'{match[1]}.' if match[1] else ''}blocks" if match else name
        grouped.setdefault(key, []).extend([int(match[2])] if match else [])
    return "; ".join(printable(f"{key} {_ranges(sorted(numbers))}") for key, numbers in grouped.items())


def _ranges(numbers: Sequence[int]) -> str:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def _judge(report: Report) -> str:
    return "the worst cosine" if has_features(report) else "the worst head"


def _bought(exception: ExceptionFacts, judge: str) -> str:
    without, kept = exception.lost_without, exception.lost_with
    if without is None or kept is None:
        return "not measured: `--effort full` also tries the plan without it"
    said = f"{judge} loses {kept:.6f} instead of {without:.6f}"
    return said if kept < without else f"nothing: {said}"


def _cost(found: Price | None) -> str:
    if found is None:
        return "not measured: `--effort full` also tries the plan without it"
    difference = found.with_ms - found.without_ms
    said = f"{found.with_ms:.2f} ms at the median instead of {found.without_ms:.2f}, {printable(found.without)}'s"
    return f"{difference:.2f} ms: {said}" if difference > 0 else f"nothing: {said}"


def _table(*titles: str) -> Table:
    """A title that ends with a colon is a number's."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in titles:
        number = title.endswith(":")
        table.add_column(title.rstrip(":"), justify="right" if number else "left", no_wrap=number, overflow="fold")
    return table
