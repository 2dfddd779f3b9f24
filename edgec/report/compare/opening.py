"""Finding and reading the reports that a command line names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgec.errors import RequestError
from edgec.records.consistency import read_report
from edgec.records.reading import printable
from edgec.records.report import REPORT as REPORT
from edgec.records.report import SWEEP, CandidateFigures, Report
from edgec.report.compare.conditions import CONDITIONS
from edgec.report.compare.sides import Side

_DETAILS = ".details.json"
"""What `edgec deploy` leaves beside a board's report."""


def open_side(path: Path, candidate: str | None = None) -> Side:
    """One side of a comparison: a report, an artefact with its report.json, or a folder with reports of several runs of one
    thing.

    `candidate` is by default the chosen one. Raises `ArtefactError` for what `read_report` refuses, and `RequestError` if there
    is no such candidate, or if the reports of a folder are not of one thing."""
    paths = report_files(path)
    reports = [read_report(each) for each in paths]
    side = Side(
        str(path), tuple(reports), tuple(_find(report, candidate, each) for report, each in zip(reports, paths, strict=True))
    )
    if len(reports) > 1:
        _check_one_thing(side, paths)
    return side


def report_files(path: Path, *, artefacts: bool = False) -> list[Path]:
    """The reports at `path`: the file itself, an artefact's report, or all reports of a folder; with `artefacts` also those of
    the artefacts in it. Raises `RequestError` if there are none."""
    if not path.is_dir():
        return [path]
    if (path / REPORT).exists():
        return [path / REPORT]
    own = [file for file in path.glob("*.json") if file.name != SWEEP and not file.name.endswith(_DETAILS)]
    files = sorted([*own, *(path.glob(f"*/{REPORT}") if artefacts else ())])
    if not files:
        nor = f", nor another .json file, nor a folder with a {REPORT}" if artefacts else " nor any other .json file"
        raise RequestError(
            f"There is no report in {path}.",
            evidence=f"neither {REPORT}{nor} is in it",
            remedy="give a report, an artefact, or a folder with reports"
            + (" or artefacts" if artefacts else " of several runs of one thing"),
        )
    return files


def with_cells(paths: Sequence[Path]) -> list[Path]:
    """The paths, with all artefacts of a sweep in the place of its folder. Raises `RequestError` for a sweep without any."""
    every: list[Path] = []
    for path in paths:
        if not (path / SWEEP).is_file():
            every.append(path)
            continue
        cells = sorted(report.parent for report in path.glob(f"*/{REPORT}"))
        if not cells:
            raise RequestError(
                f"The sweep in {path} has built nothing yet.",
                evidence=f"there is {SWEEP}, and no folder with a {REPORT}",
                remedy="run it to its end: the same `edgec sweep` goes on",
            )
        every += cells
    return every


def _find(report: Report, name: str | None, path: Path) -> CandidateFigures:
    for candidate in report.candidates:
        if candidate.name == (report.chosen if name is None else name):
            return candidate
    raise RequestError(
        f"The report at {path} has no candidate {printable(str(name))!r}.",
        evidence=f"it has {', '.join(printable(candidate.name) for candidate in report.candidates)}",
        remedy="name one of these with --candidate, or leave the option out for the chosen one",
    )


def _check_one_thing(side: Side, paths: Sequence[Path]) -> None:
    first, *rest = (_identity(report, candidate) for report, candidate in zip(side.reports, side.candidates, strict=True))
    for path, other in zip(paths[1:], rest, strict=True):
        differing = [title for title in first if first[title] != other[title]]
        if differing:
            raise RequestError(
                f"The reports in {side.name} are not of one thing: they differ in {', '.join(differing)}.",
                evidence=[f"{title}: {first[title]} in {paths[0].name}, {other[title]} in {path.name}" for title in differing],
                remedy="keep the runs of each artefact in a folder of their own",
            )
    if not side.runs:
        raise RequestError(f"Not all reports in {side.name} hold samples, so they cannot be taken together.")
    seen: dict[bytes, Path] = {}
    for path, run in zip(paths, side.runs, strict=True):
        twin = seen.setdefault(run.samples.tobytes(), path)
        if twin is not path:
            raise RequestError(
                f"Two reports in {side.name} are of the same run.",
                evidence=f"{twin.name} and {path.name} hold the same samples",
                remedy="keep one of them: a run counts once",
            )


def _identity(report: Report, candidate: CandidateFigures) -> dict[str, str]:
    conditions = {condition.title: condition.cell(Side("", (report,), (candidate,))) for condition in CONDITIONS}
    facts = {
        "artefact": report.artefact_sha256 or "unknown",
        "checkpoint": report.model.checkpoint_sha256,
        "candidate": candidate.name,
        "size": str(candidate.size_bytes),
        "target": report.target,
    }
    return {title: printable(value) for title, value in {**facts, **conditions}.items()}
