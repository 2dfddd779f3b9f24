"""`edgec history`: a model's latency and fidelity over builds."""

from __future__ import annotations

import json
from pathlib import Path

import click

from edgec.cli import options
from edgec.cli.console import out


@click.command()
@click.argument("folders", nargs=-1, required=True, metavar="FOLDER…", type=options.PathType())
@options.as_json
def history(folders: tuple[Path, ...], as_json: bool) -> None:
    """Show what each model's reports in FOLDER say, the oldest first: what shipped, its latency, its fidelity, its size.

    FOLDER holds reports or artefacts. Rows are of one model's name, target and size; they may be of other machines, which the
    table names: `edgec compare` says which differences are more than chance.
    """
    from rich.text import Text

    from edgec.cli.tables import print_rows
    from edgec.report.history import histories

    every = histories(folders)
    if as_json:
        click.echo(json.dumps([each.to_json() for each in every], indent=2))
        return
    for place, each in enumerate(every):
        out.print(Text("\n" * bool(place) + each.title), soft_wrap=True)
        print_rows(each.sheet())
