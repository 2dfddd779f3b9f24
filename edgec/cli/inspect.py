"""`edgec inspect`: what a checkpoint is, and what is odd about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgec.cli import options
from edgec.cli.console import out

if TYPE_CHECKING:
    from edgec.checkpoint.inspection import Inspection
    from edgec.errors import CheckpointError
    from edgec.heads.inspection import HeadInspection


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@options.checkpoint
@options.weights
@options.config
@click.option(
    "--input-size",
    default="224",
    show_default=True,
    metavar="SIDE|HxW",
    help="Frame size that tokens and GFLOPs are given for, e.g. 224 or 480x640.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Seed of `random:ARCH`.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def inspect(checkpoint: str, weights: str | None, config: str | None, input_size: str, seed: int, as_json: bool) -> None:
    """Show what CHECKPOINT is; or a head's file, as `edgec build --head` takes it.

    CHECKPOINT is `demo`, `random:ARCH`, a .pth, .pt, .bin or .safetensors file, a Hugging Face directory, or a directory with
    one such file.
    """
    from edgec import checkpoint as checkpoints
    from edgec.checkpoint.inspection import inspect as look
    from edgec.cli.tables import facts_table
    from edgec.errors import CheckpointError
    from edgec.model.spec import Size

    size = Size.parse(input_size)
    inspection: Inspection | HeadInspection
    try:
        inspection = look(checkpoints.read(checkpoint, seed=seed, weights=weights, config=config), size)
    except CheckpointError as error:
        inspection = _head(checkpoint, error)
    if as_json:
        click.echo(json.dumps(inspection.as_json(), indent=2))
        return
    out.print(facts_table(inspection.rows()))


def _head(path: str, refusal: CheckpointError) -> HeadInspection:
    """What is no checkpoint may be a head. Raises what was said of it as a checkpoint if it is none either."""
    from edgec.errors import EdgecError
    from edgec.heads.inspection import inspect_head
    from edgec.untrusted import is_file

    if not is_file(Path(path)):
        raise refusal
    try:
        return inspect_head(Path(path))
    except EdgecError:
        raise refusal from None
