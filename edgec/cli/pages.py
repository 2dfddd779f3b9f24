"""What `edgec report` and `edgec compare --format html` have in common: opening what is named, and putting a page somewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgec.cli.console import document

if TYPE_CHECKING:
    from edgec.records.report import Report
    from edgec.report.html.page import Compared
    from edgec.report.html.subjects import Subject


def subjects(paths: Sequence[Path]) -> list[Subject]:
    """Each report, artefact or folder of reports; of artefacts also the features of their golden frames.

    An artefact whose features cannot be read is shown without them, and the page says why.
    """
    from edgec.records.consistency import read_report
    from edgec.report.compare.opening import REPORT, report_files
    from edgec.report.html.subjects import Subject
    from edgec.report.names import short_names

    files = [file for path in paths for file in report_files(path, artefacts=True)]
    names = short_names([file.parent if file.name == REPORT else file for file in files])
    result = []
    for file, name in zip(files, names, strict=True):
        report = read_report(file)
        result.append(_with_pictures(name, report, file.parent) if _is_artefact(file) else Subject(name, report))
    return result


def _is_artefact(file: Path) -> bool:
    from edgec.records.manifest import MANIFEST
    from edgec.report.compare.opening import REPORT

    return file.name == REPORT and (file.parent / MANIFEST).is_file()


def _with_pictures(name: str, report: Report, directory: Path) -> Subject:
    from edgec.artefact.reading import open_artefact
    from edgec.errors import EdgecError, MissingPackage
    from edgec.extras import require
    from edgec.report.html.subjects import Subject
    from edgec.running.compared import gives_features, golden_features, golden_heads

    try:
        require("pictures", "Drawing pictures of features")
        opened = open_artefact(directory, check_hashes=False)
        heads = golden_heads(opened)
        if heads is not None and not gives_features(opened):
            return Subject(name, report, None, "The artefact gives no features, but its heads' outputs alone.", heads)
        return Subject(name, report, golden_features(opened), "", heads)
    except EdgecError as error:
        words = [f"The artefact's features cannot be drawn. {error.what}"]
        if isinstance(error, MissingPackage):
            words.append(f"To add it: {error.remedy}")
        return Subject(name, report, None, " ".join(words))


def require_place(output: Path | None) -> None:
    """Before any work: raises `RequestError` if the page would be printed on a terminal."""
    from edgec.errors import RequestError

    if output is None and sys.stdout.isatty():
        raise RequestError("An HTML page cannot be shown on a terminal.", remedy="say where it goes: -o page.html")


def publish(pages: Sequence[Subject], output: Path | None, inputs: Sequence[Path], compared: Compared | None = None) -> None:
    """Renders the page, and writes it to `output` or to standard output."""
    from edgec.report.html.page import render, without_charts, write_page

    page = render(pages, compared)
    if without_charts():
        click.echo(without_charts(), err=True)
    if output is None:
        document(page, end="")
        return
    write_page(page, output, inputs=inputs)
    click.echo(f"{output}: {len(pages)} report{'s' * (len(pages) > 1)}, {len(page.encode()) / 1e6:.1f} MB", err=True)
