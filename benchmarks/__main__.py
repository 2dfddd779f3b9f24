"""`python -m benchmarks`: see benchmarks/README.md."""

from __future__ import annotations

from typing import Any

import click

from edgec.cli import options


@click.group(invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """Compare edgec with its peers on this machine. Without a command: everything, on the demo."""
    if context.invoked_subcommand is None:
        context.invoke(build, checkpoint="demo", calibration="demo", size="224")
        context.invoke(latency, checkpoint="demo", calibration="demo", evaluation=None, size="224", rounds=10, threads=None)


checkpoint = click.option("--checkpoint", default="demo", show_default=True, help="A Hugging Face directory, or `demo`.")
calibration = click.option("--calibration", default="demo", show_default=True, metavar="SET", help="Frames to calibrate on.")
evaluation = click.option("--evaluation", metavar="SET", help="Frames to judge by.  [default: held out of the calibration set]")
rounds = click.option("--rounds", type=click.IntRange(min=3), default=12, show_default=True, help="Blocks of each contender.")


@main.command()
@checkpoint
@calibration
@options.input_size
def build(checkpoint: str, calibration: str, size: Any) -> None:
    """A cold build and a cached one: wall time, and peak memory of the process and of all its children together."""
    from benchmarks.building import measure_builds

    measure_builds(checkpoint, calibration, str(size))


@main.command()
@checkpoint
@calibration
@evaluation
@options.input_size
@rounds
@options.threads
def latency(checkpoint: str, calibration: str, evaluation: str | None, size: Any, rounds: int, threads: int | None) -> None:
    """An artefact against its peers, interleaved in one process."""
    from benchmarks.contest import run_contest
    from edgec.model.spec import Size

    run_contest(checkpoint, calibration, evaluation, Size.parse(str(size)), rounds=rounds, threads=threads)


if __name__ == "__main__":
    main()
