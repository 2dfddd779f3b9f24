"""`edgec build`."""

from __future__ import annotations

import json
from typing import Any

import click

from edgec.cli import options


@click.command(short_help="Compile a checkpoint into a verified artefact.")
@options.checkpoint
@options.target
@options.calibration
@options.validation
@options.input_size
@options.batch
@options.precision
@options.min_fidelity
@options.effort
@options.registers
@options.layers
@options.output
@options.force
@options.threads
@options.iterations
@options.seed
@options.as_json
@options.verbose
def build(as_json: bool, verbose: bool, **settings: Any) -> None:
    """Compile CHECKPOINT into an artefact: a directory that holds the model for its runtime, proof of its features, and a report.

    CHECKPOINT is a .pth or .safetensors file, a Hugging Face directory, `demo`, or `random:ARCH`.
    """
    from edgec.build import build as compile_checkpoint
    from edgec.cli.console import out
    from edgec.cli.progress import Shown
    from edgec.report.table import candidates_table
    from edgec.request import BuildRequest

    with Shown(verbose=verbose) as progress:
        result = compile_checkpoint(BuildRequest(**settings), progress)
    if as_json:
        click.echo(json.dumps(_summary(result), indent=1))
        return
    out.print(candidates_table(result.report))
    out.print()
    out.print(result.report.reason, markup=False, soft_wrap=True)
    if result.reused:
        out.print(f"{result.directory} is up to date: nothing was done.", markup=False, soft_wrap=True)
    else:
        out.print(f"wrote {result.directory}", markup=False, soft_wrap=True)


def _summary(result: Any) -> dict[str, Any]:
    return {
        "artefact": str(result.directory),
        "reused": result.reused,
        "manifest": result.manifest.model_dump(mode="json"),
        "report": result.report.model_dump(mode="json", exclude={"candidates": {"__all__": {"latency": {"samples_ms"}}}}),
    }
