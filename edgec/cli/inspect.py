"""`edgec inspect`: what a checkpoint is, and what is odd about it."""

from __future__ import annotations

import json

import click

from edgec.cli import options
from edgec.cli.console import out


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
    """Show what CHECKPOINT is.

    CHECKPOINT is `demo`, `random:ARCH`, a .pth, .pt, .bin or .safetensors file, a Hugging Face directory, or a directory with
    one such file.
    """
    from edgec import checkpoint as checkpoints
    from edgec.checkpoint.inspection import inspect as look
    from edgec.cli.tables import facts_table
    from edgec.model.spec import Size

    size = Size.parse(input_size)
    inspection = look(checkpoints.read(checkpoint, seed=seed, weights=weights, config=config), size)
    if as_json:
        click.echo(json.dumps(inspection.as_json(), indent=2))
        return
    out.print(facts_table(inspection.rows()))
