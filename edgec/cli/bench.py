"""`edgec bench`: an artefact's latency, on this machine or on boards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from edgec.cli import options
from edgec.cli.console import err, out

if TYPE_CHECKING:
    from edgec.benchmarking import BenchResult
    from edgec.records.report import CandidateFigures


@click.command()
@options.artefact
@options.threads
@click.option(
    "--iterations",
    type=click.IntRange(1, options.MOST_ITERATIONS),
    help="Runs to record; by default 100, or fewer if they take over a minute.",
)
@options.patience
@click.option("--fps", type=float, metavar="N", help="Frames arrive on a camera's clock, N a second.")
@click.option(
    "--queue", type=click.Choice(["latest", "all"]), help="With --fps: what waits while the model works.  [default: latest]"
)
@click.option(
    "--deadline", type=float, metavar="MS", help="With --fps: from a frame's arrival to its features.  [default: 1000 / N]"
)
@click.option("--duration", metavar="TIME", help="A run of 60s, 10m or 1h, back to back or with --fps.  [default: 15s]")
@click.option(
    "--streams", type=int, metavar="N", help="N cameras at once, a process each; without --fps: how many frames a second."
)
@click.option("--idle", "idle_s", type=float, metavar="S", help="Also five inferences, each after S seconds of sleep.")
@click.option("--profile", is_flag=True, help="Also the time of each of the runtime's steps, by kind and by block.")
@click.option(
    "--output",
    type=options.PathType(written=True, dir_okay=False),
    metavar="FILE",
    help="Write a report there; nothing otherwise.",
)
@click.option("--on", "boards", multiple=True, metavar="BOARD", help="Measure there, where it is deployed; several side by side.")
@options.connection
@options.trust_if_given
@options.measurers
@options.as_json
@click.pass_context
def bench(
    context: click.Context,
    /,
    artefact: Path,
    threads: int | None,
    iterations: int | None,
    patience: float,
    fps: float | None,
    queue: Literal["latest", "all"] | None,
    deadline: float | None,
    duration: str | None,
    streams: int | None,
    idle_s: float | None,
    profile: bool,
    output: Path | None,
    boards: tuple[str, ...],
    trust: tuple[Path, ...],
    measurers: tuple[Path, ...],
    as_json: bool,
    **connection: Any,
) -> None:
    """Measure ARTEFACT on its golden frames, camera frame in, features out.

    Checks the hash of every file first. Needs the artefact's runtime and numpy only; with --on, ssh. BOARD is user@host,
    ssh://user@host:port, or a name from ~/.ssh/config; with --trust, ARTEFACT may be a bundle there. --threads are of each
    stream.
    """
    if boards:
        rates = {"fps": fps, "queue": queue, "deadline": deadline, "duration": duration, "streams": streams, "idle": idle_s}
        _refuse(threads=threads, **rates, profile=profile or None, patience=patience or None)
        _on_boards(context, artefact, boards, iterations, output, as_json, trust, measurers, **connection)
        return
    _refuse(**{"dir" if name == "directory" else name: value or None for name, value in connection.items()})
    _refuse(trust=trust or None, trust_report=measurers or None)
    from edgec.benchmarking import as_report
    from edgec.benchmarking import bench as run
    from edgec.latency.workload import check_idle, parse_seconds, workload

    seconds = None if duration is None else parse_seconds(duration)
    load = workload(fps=fps, seconds=seconds, streams=streams, queue=queue, deadline_ms=deadline)
    check_idle(idle_s)
    if output is not None:
        _require_folder(output)
    settings = {"threads": threads, "iterations": iterations, "sustained": load, "idle_s": idle_s, "profile": profile}
    result = _with_progress(run, artefact, patience_s=patience, **settings)
    if output is not None:
        _write(output, as_report(result).to_json())
    if as_json:
        click.echo(_json(result))
    else:
        _print(result)


_BOARD_OPTIONS = ("port", "identity", "dir", "ssh_option", "trust", "trust_report")


def _refuse(**settings: Any) -> None:
    """Raises `RequestError` for options that would be ignored: some are about boards only, some about this machine."""
    from edgec.errors import RequestError

    ignored = [name for name, value in settings.items() if value is not None]
    if not ignored:
        return
    options = ", ".join("--" + name.replace("_", "-") for name in ignored)
    are, them = ("is", "it") if len(ignored) == 1 else ("are", "them")
    if ignored[0] in _BOARD_OPTIONS:
        raise RequestError(f"{options} {are} for boards, which --on names.", remedy=f"add --on BOARD, or leave {them} out")
    raise RequestError(
        f"{options} {are} for this machine, not with --on.",
        evidence="on a board its own program measures, back to back and with settings of its own",
        remedy=f"leave {them} out, or measure on this machine without --on",
    )


def _on_boards(
    context: click.Context,
    artefact: Path,
    boards: tuple[str, ...],
    iterations: int | None,
    output: Path | None,
    as_json: bool,
    trust: tuple[Path, ...],
    measurers: tuple[Path, ...],
    *,
    port: int | None,
    **connection: Any,
) -> None:
    from edgec.boards import commands
    from edgec.boards.address import parse_all
    from edgec.boards.artefact import opened_for_boards
    from edgec.cli.boards import on_boards, print_comparison, raise_or_print_failures, results_json
    from edgec.errors import EdgecError

    addresses = parse_all(boards, port)
    if output is not None:
        _require_folder(output)
    with opened_for_boards(artefact, trust, measurers) as opened:
        results = on_boards(addresses, work=lambda board: commands.bench(board, opened, iterations), **connection)
    reports = [None if isinstance(result, EdgecError) else result for result in results]
    for address, report in zip(addresses, reports, strict=True):
        if output is not None and report is not None:
            name = output if len(addresses) == 1 else output.with_name(f"{output.stem}.{address.label}{output.suffix}")
            _write(name, report.to_json())
    if as_json:
        click.echo(results_json(addresses, results, lambda report: {"exit_code": 0, "report": report.model_dump(mode="json")}))
    else:
        print_comparison(addresses, reports)
    raise_or_print_failures(context, addresses, results)


def _with_progress(run: Any, artefact: Path, **settings: Any) -> BenchResult:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from edgec.cli.live import remaining

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), remaining())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("opening", total=None)
        result: BenchResult = run(
            artefact,
            **settings,
            progress=lambda doing, done, total: bar.update(task, description=doing, completed=done, total=total),
        )
    return result


def _require_folder(path: Path) -> None:
    """Before minutes of measuring: raises `EdgecError` if no file could be written there."""
    import os

    from edgec.errors import EdgecError

    folder = path.parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise EdgecError(
            f"The report could not be written to {path}.",
            evidence=f"{folder} is not a folder that may be written to",
            remedy="choose a file that you may write",
        )


def _write(path: Path, text: str) -> None:
    from edgec.durable import write_whole
    from edgec.errors import EdgecError

    try:
        write_whole(path, text.encode("utf-8"))
    except OSError as error:
        raise EdgecError(
            f"The report could not be written to {path}.", evidence=str(error), remedy="choose a file that you may write"
        ) from error


def _print(result: BenchResult) -> None:
    from rich.text import Text

    from edgec.cli.runs import print_idle, print_run
    from edgec.cli.tables import facts_table, spread_table, suitability
    from edgec.host.facts import describe
    from edgec.onboard.figures import per_second, rate
    from edgec.records.reading import printable

    manifest, latency, cold = result.artefact.manifest, result.latency, result.cold_start
    batch, height, width, _ = manifest.input.shape
    frames = f"{batch} frame{'s' if batch > 1 else ''} of {height}x{width}"
    facts = [
        ("model", f"{printable(manifest.checkpoint.name)}, {printable(manifest.checkpoint.arch)}, {frames}"),
        ("runs in", f"{printable(manifest.runtime)}, {printable(manifest.precision)}, {latency.threads} threads"),
        ("executes as", printable(result.measurement.execution_precision) or "the runtime does not say"),
        ("warm-up", f"{latency.warmup} runs"),
        ("processes", _processes(result)),
        ("CPU time", f"{result.measurement.cpu_ms_per_frame:.2f} ms a frame, all threads"),
        (
            "cold start",
            f"import {result.measurement.import_ms:.0f}, load {cold.load_ms:.0f}, first {cold.first_inference_ms:.1f} ms"
            + ("" if cold.process_ms is None else f"; {cold.process_ms:.0f} ms from the start of the process to features"),
        ),
        *([("reference work", _yardstick(result.yardstick))] if result.yardstick else []),
        ("peak memory", f"{cold.peak_rss_bytes / 1e6:.0f} MB resident, interpreter and runtime included"),
        ("host", describe(result.host)),
        ("evidence", f"{latency.evidence.value}: {suitability(result.lacks, printable(manifest.target))}"),
    ]
    frames_a_second = per_second(rate(latency.p50_ms, batch))
    out.print(spread_table([((), latency, (str(latency.iterations), frames_a_second))], before=(), behind=("runs", "frames/s")))
    out.print()
    out.print(facts_table(facts))
    for run in result.runs:
        print_run(run, batch)
    if result.after_idle is not None:
        print_idle(result.after_idle, latency.p50_ms)
    if result.profile is not None:
        from edgec.report.breakdown import breakdown_table

        out.print()
        out.print(breakdown_table(result.profile))
    for caveat in result.caveats:
        err.print(Text(f"Warning: {caveat}", style="yellow"))


def _processes(result: BenchResult) -> str:
    from edgec.latency.series import by_process

    medians = by_process(result.measurement)
    listed = ", ".join(f"{median:.2f}" for median in medians)
    return f"1, p50 {listed} ms" if len(medians) == 1 else f"{len(medians)} one after another, p50 of each {listed} ms"


def _yardstick(candidate: CandidateFigures) -> str:
    from edgec.onboard.figures import milliseconds

    latency = candidate.latency
    assert latency is not None
    p50, p90 = map(milliseconds, (latency.p50_ms, latency.p90_ms))
    return f"p50 {p50}, p90 {p90} ms: always the same products of matrices, for how fast the machine was"


def _json(result: BenchResult) -> str:
    import json

    from edgec.latency.series import by_process

    manifest, measurement = result.artefact.manifest, result.measurement
    return json.dumps(
        {
            "artefact": str(result.artefact.directory),
            "build_key": manifest.build_key,
            "target": manifest.target,
            "target_lacks": result.lacks,
            "runtime": manifest.runtime,
            "precision": manifest.precision,
            "execution_precision": measurement.execution_precision,
            "input_shape": manifest.input.shape,
            "latency": result.latency.model_dump(mode="json"),
            "cold_start": {**result.cold_start.model_dump(mode="json"), "import_ms": measurement.import_ms},
            "cpu_ms_per_frame": measurement.cpu_ms_per_frame,
            "other_cores": measurement.other_cores,
            "processes_p50_ms": by_process(measurement),
            "yardstick": result.yardstick.latency.model_dump(mode="json")
            if result.yardstick and result.yardstick.latency
            else None,
            "runs": [run.model_dump(mode="json") for run in result.runs],
            "after_idle": result.after_idle.model_dump(mode="json") if result.after_idle else None,
            "profile": result.profile.model_dump(mode="json") if result.profile else None,
            "host": result.host.model_dump(mode="json"),
            "warnings": result.caveats,
        },
        indent=2,
    )
