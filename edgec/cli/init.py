"""`edgec init`: a first recipe."""

from __future__ import annotations

from pathlib import Path

import click

from edgec.cli import options
from edgec.cli.console import out


@click.command()
@click.argument("folder", type=options.PathType(written=True, exists=True, file_okay=False), default=".")
@click.option("--force", is_flag=True, help="Replace a recipe that is there.")
def init(folder: Path, force: bool) -> None:
    """Write a recipe, edgec.toml, from what FOLDER holds: a checkpoint, frames, heads, a key, a FLEET.toml.

    `edgec build` without a checkpoint then does what it says. It is yours to change: every choice has its line, and a comment.
    """
    from rich.text import Text

    from edgec.cli.tables import facts_table
    from edgec.durable import write_whole
    from edgec.errors import RequestError
    from edgec.recipes.file import NAME, read
    from edgec.recipes.starting import look, written

    path = folder / NAME
    if path.exists() and not force:
        raise RequestError(f"{path} exists already.", remedy="change it, or replace it with --force")
    try:
        start = look(folder)
        write_whole(path, written(start).encode("utf-8"))
    except OSError as error:
        raise RequestError(f"{path} cannot be written.", evidence=str(error), remedy="choose another folder") from error
    read(path)
    out.print(facts_table(start.rows()))
    out.print(Text(f"\nwrote {path}\nNext: edgec build{'' if folder == Path() else f' {path}'}"), soft_wrap=True)
