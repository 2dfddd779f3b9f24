"""`python -m benchmarks`: see benchmarks/README.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from benchmarks.cases import MODELS, data_folder
from benchmarks.fuzz.kinds import NAMES
from benchmarks.small import FAMILIES
from edgec.cli import options


@click.group(invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """Compare edgec with its peers on this machine. Without a command: everything, on the demo."""
    if context.invoked_subcommand is None:
        context.invoke(build, checkpoint="demo", calibration="demo", size="224")
        context.invoke(latency, checkpoint="demo", calibration="demo", evaluation=None, size="224", rounds=10, threads=None)
        context.invoke(int8, models=("plain", "outlier"), checkpoint="demo", calibration="demo", sizes=("224",), rounds=10)


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


@main.command()
@click.argument("artefact", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--checkpoint", required=True, help="That the artefact was built from.")
@click.option("--alike", required=True, metavar="SET", help="Frames of the calibration's scene that the build never saw.")
@click.option("--unlike", multiple=True, metavar="SET", help="Other frames; repeatable.")
@options.threads
def drift(artefact: Path, checkpoint: str, alike: str, unlike: tuple[str, ...], threads: int | None) -> None:
    """How often the drift score alarms: on frames like the calibration's, on others, and on disturbed ones."""
    from benchmarks.drift import run_drift

    run_drift(artefact, checkpoint, alike, unlike, threads)


@main.command()
@click.argument("pythons", nargs=2, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("words", nargs=-1)
def reproducible(pythons: tuple[Path, Path], words: tuple[str, ...]) -> None:
    """The same release from two fresh environments, one with each of PYTHONS? WORDS are those of `edgec build`, by default the
    demo for CPUs."""
    from benchmarks.reproducible import compare_environments

    compare_environments(pythons, words or ("demo", "--target", "cpu"))


@main.command("signed-flips")
@click.argument("bundle", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("key", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--count", default=1000, show_default=True, help="Bits to flip.")
def signed_flips(bundle: Path, key: Path, count: int) -> None:
    """Single bits of a BUNDLE that KEY signed, flipped: how many the workstation and the board's program refuse."""
    from benchmarks.signed_flips import measure_flips

    measure_flips(bundle, key, count)


@main.command("install-size")
@click.option("--machine", default="aarch64", show_default=True, help="The architecture of a Linux machine.")
@click.option("--python", default="3.11", show_default=True, metavar="X.Y", help="Its Python.")
@click.option("--list", "listed", is_flag=True, help="Also each package.")
def install_size(machine: str, python: str, listed: bool) -> None:
    """What pip downloads for an installation without the compiler, and its size on disk."""
    from benchmarks.install_size import measure_installs

    measure_installs(machine, python, listed=listed)


def _shared(*parts: str) -> Any:
    """The default for an option of `int8`: what lies in the shared data folder, where there is one."""

    def default() -> str | None:
        folder = data_folder()
        return str(folder.joinpath(*parts)) if folder else None

    return default


@main.command()
@click.option(
    "--model", "models", type=click.Choice(MODELS), multiple=True, default=MODELS, show_default=True, help="Repeatable."
)
@click.option("--checkpoint", default=_shared("checkpoints", "vits16-standin"), help="For plain and outlier.")
@click.option("--calibration", default=_shared("calibration"), metavar="SET", help="Frames to calibrate on.")
@click.option("--evaluation", default=_shared("evaluation"), metavar="SET", help="Frames to judge by.")
@click.option("--labelled", default=_shared("labelled"), metavar="DIR", help="Pictures in DIR/CLASS/ for kNN accuracy.")
@click.option("--input-size", "sizes", type=options.SizeType(), multiple=True, metavar="N|HxW", help="Repeatable.")
@click.option("--effort", type=click.Choice(["quick", "full"]), default="full", show_default=True, help="Of edgec's builds.")
@click.option("--builds/--no-builds", default=True, show_default=True, help="Whether to measure cold builds too.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Also write all figures to a file.")
@rounds
@options.threads
def int8(
    models: tuple[str, ...],
    checkpoint: str | None,
    calibration: str | None,
    evaluation: str | None = None,
    labelled: str | None = None,
    sizes: tuple[Any, ...] = (),
    effort: Any = "full",
    builds: bool = True,
    json_file: Path | None = None,
    rounds: int = 12,
    threads: int | None = None,
) -> None:
    """int8 against its goals: all candidates and the peers, on models with and without outliers.

    Checkpoint and frames are by default those of the shared data folder (`$EDGEC_DATA`), or, where there is none, the demo's.
    """
    from benchmarks.int8 import Settings, run_int8
    from edgec.host.facts import available_cores
    from edgec.model.spec import Size

    settings = Settings(
        checkpoint=checkpoint or "demo",
        calibration=calibration or "demo",
        evaluation=evaluation,
        labelled=labelled,
        rounds=rounds,
        threads=threads or available_cores(),
        effort=effort,
        builds=builds,
    )
    run_int8(models, [Size.parse(str(size)) for size in sizes], settings, json_file)


@main.command()
@click.option("--arch", "architectures", multiple=True, default=("vits16", "vits16plus", "convnext_tiny"), show_default=True)
@click.option(
    "--input-size", "sizes", type=options.SizeType(), multiple=True, metavar="N|HxW", help="Repeatable.  [default: 224]"
)
@click.option("--sm", "sms", default="86", show_default=True, metavar="SM,…", help="GPUs to compile for.")
@click.option("--shipped", is_flag=True, help="Only the graphs that are shipped, not those without a rewrite.")
@click.option("--heads", is_flag=True, help="With a linear segmentation of 21 classes and a DPT depth head of 256 bins.")
def kernels(architectures: tuple[str, ...], sizes: tuple[Any, ...], sms: str, shipped: bool, heads: bool) -> None:
    """What NVIDIA's compiler makes of the family's graphs, with and without each rewrite. Needs the extra `nvidia`."""
    from benchmarks.kernels import run_kernels
    from edgec.lowering.tensorrt.compiler.machines import parse_sms
    from edgec.model.spec import Size

    parsed = [Size.parse(str(size)) for size in sizes or ("224",)]
    run_kernels(architectures, parsed, parse_sms(sms), shipped_only=shipped, heads=heads)


@main.command()
@click.option("--checkpoint", default="demo", show_default=True)
@click.option("--calibration", help="Frames.  [default: the demo set]")
@click.option("--input-size", "size", type=options.SizeType(), metavar="N|HxW", help="[default: 224]")
@click.option("--target", "targets", multiple=True, default=("cpu-arm64-dotprod", "cpu-arm64-i8mm"), show_default=True)
@click.option("--toml", type=click.Path(path_type=Path, dir_okay=False), help="Also write lines for the targets' profiles.")
def counts(checkpoint: str, calibration: str | None, size: Any, targets: tuple[str, ...], toml: Path | None) -> None:
    """Instructions that each candidate for Arm takes for a frame, counted under emulation. Builds a qemu first, in minutes."""
    from benchmarks.arm64.debian import Unavailable
    from benchmarks.counts import run_counts
    from edgec.model.spec import Size

    try:
        run_counts(checkpoint, calibration, Size.parse(str(size or "224")), targets, toml)
    except Unavailable as problem:
        raise click.ClickException(f"Nothing can be counted here: {problem}.") from problem


@main.command()
@click.option(
    "--folder", type=click.Path(path_type=Path, file_okay=False), required=True, metavar="DIR",
    help="Where artefacts and reports are kept; what is there is not measured again.",
)  # fmt: skip
@click.option("--runs", type=click.IntRange(min=12), default=24, show_default=True, help="Of `edgec bench`, of each artefact.")
@click.option("--iterations", type=click.IntRange(min=50), default=400, show_default=True, help="Recorded in each run.")
@click.option("--percent", type=float, default=5.0, show_default=True, help="What `--fail-on-regression` is given.")
def aa(folder: Path, runs: int, iterations: int, percent: float) -> None:
    """How often `edgec compare` raises a false alarm, and sees a true slowdown of a tenth: 200 pairs of real runs."""
    from benchmarks.alarms import run_alarms

    run_alarms(folder, runs, iterations, percent, several=(1, 3, 5))


@main.command()
@click.option("--artefact", type=click.Path(path_type=Path, exists=True), help="What to measure.  [default: the demo, built]")
@click.option("--rounds", type=click.IntRange(min=5), default=20, show_default=True, help="Pairs of blocks.")
@click.option("--seconds", type=click.FloatRange(min=0.05), default=2.0, show_default=True, help="Of each block.")
@options.threads
def overhead(artefact: Path | None, rounds: int, seconds: float, threads: int | None) -> None:
    """What `edgec bench` itself adds to what it measures: under 1 %."""
    from benchmarks.overhead import run_overhead

    run_overhead(artefact, rounds, seconds, threads)


@main.command("robot-code")
@click.option("--artefact", type=click.Path(path_type=Path, exists=True), help="Of a CPU.  [default: the demo, built]")
@click.option("--rounds", type=click.IntRange(min=5), default=20, show_default=True, help="Pairs of blocks.")
@click.option("--iterations", type=click.IntRange(min=5), default=50, show_default=True, help="Recorded in each block.")
@options.threads
def robot_code(artefact: Path | None, rounds: int, iterations: int, threads: int | None) -> None:
    """What the C++ program of `edgec code` measures against what `edgec bench` does. Builds the program first."""
    from benchmarks.arm64.debian import Unavailable
    from benchmarks.robot_code import run_robot_code

    try:
        run_robot_code(artefact, rounds, iterations, threads)
    except Unavailable as problem:
        raise click.ClickException(f"No program can be built here: {problem}.") from problem


@main.command()
@click.option("--kind", "kinds", type=click.Choice(NAMES), multiple=True, help="Repeatable.  [default: all]")
@click.option("--count", type=click.IntRange(min=1), help="Inputs of each kind.  [default: 200]")
@click.option("--hours", type=click.FloatRange(min=0, min_open=True), help="So long instead, all kinds together.")
@click.option("--seed", type=click.IntRange(min=0), help="The first. Alone: only this one, and all that it led to is printed.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes that try inputs.  [default: one a usable core]")
@click.option(
    "--keep", type=click.Path(path_type=Path, file_okay=False), default=Path("build/fuzz"), show_default=True, metavar="DIR",
    help="Where inputs that failed are kept.",
)  # fmt: skip
def fuzz(kinds: tuple[str, ...], count: int | None, hours: float | None, seed: int | None, jobs: int | None, keep: Path) -> None:
    """Hostile inputs of every kind: none may end edgec with exit code 70, by a signal, above 4 GB or after 20 s."""
    from benchmarks.fuzz.figures import run_fuzz, show_one
    from edgec.host.facts import available_cores

    if seed is not None and count is None and hours is None:
        raise SystemExit(show_one(kinds, seed, keep))
    raise SystemExit(run_fuzz(kinds or NAMES, seed or 0, count, hours, jobs or available_cores(), keep))


campaign_seed = click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of all that is drawn.")


@main.command()
@click.option("--count", type=click.IntRange(min=1), default=200, show_default=True, help="Builds that are killed.")
@campaign_seed
def kills(count: int, seed: int) -> None:
    """Builds killed, ended and interrupted at any moment: nothing is half, and the same build again is as if undisturbed."""
    from benchmarks.campaigns import show
    from benchmarks.kills import run

    raise SystemExit(show("kills", run, count, seed))


@main.command()
@click.option("--count", type=click.IntRange(min=1), default=100, show_default=True, help="Builds on disks that are too small.")
@campaign_seed
def disk_full(count: int, seed: int) -> None:
    """Builds whose cache, output or temporary files have too little room: a documented code, nothing half, and it goes on."""
    from benchmarks.campaigns import show
    from benchmarks.disk_full import in_own_mounts, run

    try:
        code = in_own_mounts()
    except RuntimeError as error:
        raise click.ClickException(str(error)) from error
    raise SystemExit(show("small disks", run, count, seed) if code is None else code)


@main.command()
@click.option("--count", type=click.IntRange(min=1), default=1000, show_default=True, help="Bits, of each artefact.")
@click.option("--family", "families", type=click.Choice(FAMILIES), multiple=True, default=FAMILIES, show_default=True)
@campaign_seed
def flips(count: int, families: tuple[str, ...], seed: int) -> None:
    """One bit flipped anywhere in an artefact, again and again: `edgec verify` notices each."""
    from benchmarks.campaigns import run_flips

    raise SystemExit(run_flips(families, count, seed))


@main.command()
@click.option("--tool", type=click.Choice(["rauc", "swupdate", "mender"]), required=True, help="Which installs the updates.")
@click.option("--count", type=click.IntRange(min=1), default=100, show_default=True, help="Updates that are disturbed.")
@campaign_seed
def ota(tool: str, count: int, seed: int) -> None:
    """Updates by an OTA tool that lose their power or their disk's room: the old or the new release is active, never none."""
    from functools import partial

    from benchmarks.arm64.debian import Unavailable
    from benchmarks.campaigns import show
    from benchmarks.ota.interruptions import run

    try:
        code = show(f"updates by {tool}", partial(run, tool), count, seed)
    except Unavailable as problem:
        raise click.ClickException(f"There can be no robots here: {problem}.") from problem
    raise SystemExit(code)


if __name__ == "__main__":
    main()
