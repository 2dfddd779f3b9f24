"""`edgec verify`: hashes, golden frames, and the difference to what was recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgec.cli import options
from edgec.cli.console import out

if TYPE_CHECKING:
    from edgec.verifying import VerifyResult


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@options.artefact
@options.threads
@click.option(
    "--min-fidelity",
    type=click.FloatRange(0, 1, min_open=True),
    help="The least cosine to float32 that the artefact may promise, if it was built to keep less than edgec allows otherwise.",
)
@options.as_json
def verify(artefact: Path, threads: int | None, min_fidelity: float | None, as_json: bool) -> None:
    """Run ARTEFACT's golden frames again and compare.

    Checks the hash of every file, then every output against the features recorded at the build: bit by bit on such a machine as
    built it. Needs the artefact's runtime and numpy only. Exit code 8: the artefact is damaged. 9: it computes something else.
    """
    from edgec.verifying import verify as run

    result = run(artefact, threads=threads, min_fidelity=min_fidelity)
    if as_json:
        click.echo(json.dumps(_result_json(result), indent=2))
    else:
        _print(result)


def _print(result: VerifyResult) -> None:
    from rich.table import Table
    from rich.text import Text

    from edgec.cli.console import err
    from edgec.records.reading import printable

    for note in result.notes:
        err.print(Text(f"Warning: {note}"))
    out.print(f"hashes ok, {result.files} files")
    threads = f"{result.threads} thread{'s' if result.threads > 1 else ''}"
    run = (f"{result.frames} golden frames in {printable(result.runtime)}", printable(result.execution_precision), threads)
    out.print(Text(", ".join(filter(None, run))))
    table = Table(box=None, pad_edge=False)
    several = any(output.size for output in result.outputs)
    if several:
        table.add_column("size")
    table.add_column("output")
    for title in ("difference", "tolerance", "like float32", "worst", "as"):
        table.add_column(title, justify="right")
    for output in result.outputs:
        table.add_row(
            *([output.size] if several else []),
            Text(printable(f"{output.name}, {output.variant}" if output.variant else output.name)),
            f"{output.difference:.3g}",
            f"{output.tolerance:.3g}",
            f"{output.float32_cosine_mean:.6f}",
            f"{output.float32_cosine_min:.6f}",
            "same labels" if output.role == "labels" else "cosine",
        )
    out.print(table)
    out.print("verified")


def _result_json(result: VerifyResult) -> dict[str, object]:
    from dataclasses import asdict

    return {**asdict(result), "directory": str(result.directory), "verified": True}
