"""`edgec report`: reports as one HTML page."""

from __future__ import annotations

from pathlib import Path

import click

from edgec.cli import options


@click.command()
@click.argument("reports", nargs=-1, required=True, metavar="A [B…]", type=options.PathType())
@click.option(
    "-o", "--output", type=options.PathType(written=True), metavar="FILE",
    help="Where the page goes; standard output otherwise, if that is no terminal.",
)  # fmt: skip
def report(reports: tuple[Path, ...], output: Path | None) -> None:
    """Make one HTML page of reports: every candidate, latency, deadlines, fidelity, features, and where the time goes.

    A and B are reports, artefacts (whose features the page then shows), or folders of these. The page is one file that opens
    without a network. An older page of that name is replaced; no other file is.
    """
    from edgec.cli import pages

    pages.require_place(output)
    pages.publish(pages.subjects(reports), output, reports)
