"""`edgec run`: frames through an artefact on this machine.

The module is not called `run` as the command is: `edgec.cli.run` is the function that runs every command, and importing a module
of that name would replace it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from edgec.cli import options
from edgec.cli.console import err, out
from edgec.model.spec import Size
from edgec.onboard.ring import FRAMES, MEGABYTES, Bounds

if TYPE_CHECKING:
    from edgec.frames.raw import RawFormat
    from edgec.running import Summary
    from edgec.running.figures import DriftTally
    from edgec.running.unlike import Kept

INTERRUPTED = 130
SIGNALLED = 128
"""To which the signal's number is added, as shells do."""


@click.command()
@options.artefact
@click.argument("source", type=options.ReferenceType())
@click.option(
    "--input-size",
    "size",
    type=options.SizeType(),
    metavar="N|HxW",
    help="Of an artefact that takes several.  [default: its first]",
)
@click.option(
    "--crop", type=click.Choice(["centre", "resize", "pad"]), default="centre", show_default=True,
    help="How frames are brought to that size: cut, stretched or letterboxed.",
)  # fmt: skip
@click.option(
    "--features", type=options.PathType(written=True), metavar="FILE.npz|DIR", help="Write all outputs: one file, or one a frame."
)
@click.option(
    "--output",
    type=options.PathType(written=True),
    metavar="FILE.mp4|DIR",
    help="Draw masks, depth and features: a video, or a PNG a frame.",
)
@click.option(
    "--show", multiple=True, metavar="NAME", help="Draw this output, or `frame`; may be given more than once.  [default: all]"
)
@click.option("--fps", type=float, metavar="N", help="Play a file on a camera's clock, and drop what comes too late.")
@click.option("--every", type=click.IntRange(1, options.MOST_FRAMES), default=1, metavar="N", help="Take each N-th frame.")
@click.option("--limit", type=click.IntRange(1, options.MOST_FRAMES), metavar="N", help="End after N frames.")
@click.option(
    "--drift-frames",
    type=options.PathType(written=True),
    metavar="DIR",
    help="Keep the newest frames there that are unlike the calibration frames.  [default: none are kept]",
)
@click.option(
    "--drift-frames-most",
    type=click.IntRange(1, options.MOST_FRAMES),
    default=FRAMES,
    show_default=True,
    metavar="N",
    help="So many of them at most.",
)
@click.option(
    "--drift-frames-mb",
    type=click.FloatRange(0.1, 1e6),
    default=MEGABYTES,
    show_default=True,
    metavar="MB",
    help="So many megabytes at most.",
)
@options.topic
@options.raw_format
@options.threads
@click.option("--force", is_flag=True, help="Replace files that are there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines: a frame each, and a summary.")
@click.pass_context
def run(
    context: click.Context,
    artefact: Path,
    source: str,
    size: Size | None,
    crop: Literal["centre", "resize", "pad"],
    features: Path | None,
    output: Path | None,
    show: tuple[str, ...],
    fps: float | None,
    every: int,
    limit: int | None,
    drift_frames: Path | None,
    drift_frames_most: int,
    drift_frames_mb: float,
    topic: str,
    raw: RawFormat | None,
    threads: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Run the frames of SOURCE through ARTEFACT on this machine.

    SOURCE is a folder of pictures, a picture, a video, a ROS bag, a raw dump, an array of frames (.npy, uint8 [N, H, W, 3]), or a
    camera: camera:0, /dev/video0. Checks the hash of every file of the artefact first. Ctrl-C ends the run: what was done until
    then is written whole. Needs the artefact's runtime, for pictures Pillow, for videos and cameras PyAV, for bags rosbags, and
    no PyTorch. Timings are those of this run; `edgec bench` measures.
    """
    from edgec.cli.running_lines import Lines
    from edgec.frames import Reading
    from edgec.running import RunRequest
    from edgec.running import run as run_all
    from edgec.running.stopping import Stopping

    request = RunRequest(
        artefact, source, size, crop, threads, every, limit, fps, features, output, show, force, Reading(topic, raw),
        drift_frames, Bounds(drift_frames_most, drift_frames_mb),
    )  # fmt: skip
    try:
        with Stopping() as stopping, Lines(request, stopping, as_json=as_json) as lines:
            summary = run_all(request, lines, stopping.asked)
    except KeyboardInterrupt:
        err.print("edgec: interrupted twice: what was not yet whole is gone")
        context.exit(INTERRUPTED)
    if as_json:
        lines.say(json.dumps(_summary_json(summary, stopping.number), allow_nan=False))
    else:
        lines.say_all(lambda: _print(summary))
    if stopping.number is not None:
        context.exit(SIGNALLED + stopping.number)


def _print(summary: Summary) -> None:
    from edgec.cli.tables import facts_table, spread_table, suitability
    from edgec.host.facts import describe
    from edgec.records.reading import printable

    if summary.frames:
        out.print(spread_table([(("latency",), summary.latency, ()), (("model",), summary.model, ())], before=("",), behind=()))
        out.print()
    evidence = (
        f"{summary.evidence.value}: timings of this one run, with all else that the machine did; "
        f"{suitability(summary.lacks, 'its target')}"
    )
    facts = [(printable(name), value) for name, value in _facts(summary)]
    out.print(facts_table([*facts, ("host", describe(summary.host)), ("evidence", evidence)]))


def _facts(summary: Summary) -> list[tuple[str, str]]:
    from edgec.records.reading import printable

    ended = {
        "source": "to the source's end",
        "limit": "as many as --limit asks for",
        "stopped": "stopped before the source's end",
    }
    rest = [f"{summary.skipped} damaged and left out"] if summary.skipped else []
    if summary.live:
        rest.append(f"{summary.dropped} dropped: they came while an earlier frame was still at work")
    if summary.late:
        rest.append(f"{summary.late} late from the source itself, which is slower than {summary.fps:g} a second here")
    facts = [("frames", f"{summary.frames} done, {'; '.join([ended[summary.ended], *rest])}")]
    if summary.frames and summary.seconds:
        facts.append(("rate", f"{summary.frames / summary.seconds:.1f} frames a second over {summary.seconds:.1f} s in all"))
        facts.append(("latency is", _latency(summary)))
        facts.append(("after that", f"{summary.after_ms:.1f} ms a frame for drawing, writing and printing"))
    threads = f"{summary.threads} thread{'s' if summary.threads > 1 else ''}"
    facts.append(("computes in", f"{printable(summary.execution_precision) or 'the runtime does not say'}, {threads}"))
    facts += [(output, _head_words(tallied)) for output, tallied in summary.tally.to_json().items()]
    if summary.drift is not None and summary.drift.frames:
        facts.append(("drift", _drift_words(summary.drift)))
    if summary.kept is not None:
        facts.append(("kept", _kept_words(summary.kept)))
    for file in summary.written:
        count = f"{file.frames} frame{'s' if file.frames != 1 else ''}, {file.size_bytes / 1e6:.1f} MB"
        facts.append(("written", f"{printable(str(file.path))}: {', '.join(filter(None, (count, file.note)))}"))
    return facts


def _drift_words(drift: DriftTally) -> str:
    from edgec.records.reading import printable

    one = drift.beyond == 1
    beyond = f"{drift.beyond} of {drift.frames} frames {'is' if one else 'are'} unlike the calibration frames (above 1)"
    return f"{beyond}; the largest is {drift.largest:.2f}, of {printable(drift.largest_frame)}"


def _kept_words(kept: Kept) -> str:
    from edgec.records.reading import printable

    words = [f"{printable(str(kept.folder))}: {kept.frames} of these frames"]
    if kept.passed_over:
        words.append(f"{kept.passed_over} came within a second of another, or while one was written")
    if kept.failed:
        words.append(f"{kept.failed} could not be written: {printable(kept.problem)}")
    return "; ".join(words)


def _latency(summary: Summary) -> str:
    batch = f"; the model runs {summary.batch} frames at once" if summary.batch > 1 else ""
    if summary.live:
        return f"from a frame's arrival to its outputs, waiting and fitting to the model's size included{batch}"
    return f"fitting to the model's size and running it; reading and decoding come before{batch}"


def _head_words(tallied: dict[str, Any]) -> str:
    from edgec.records.reading import printable

    if "top_class_frames" in tallied:
        counts = list(tallied["top_class_frames"].items())
        return "; ".join(f"{printable(name)} in {count}" for name, count in counts[:8]) + (" …" if len(counts) > 8 else "")
    if "mean_shares" in tallied:
        shares = sorted(tallied["mean_shares"].items(), key=lambda item: -item[1])
        listed = "; ".join(f"{printable(name)} {100 * share:.1f} %" for name, share in shares[:8])
        return f"{listed}{' …' if len(shares) > 8 else ''}, of the pixels on average"
    return f"{tallied['min']:.3g} to {tallied['max']:.3g}, median {tallied['median_of_medians']:.3g}"


def _summary_json(summary: Summary, signal: int | None) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "event": "summary",
        "frames": summary.frames,
        "skipped": summary.skipped,
        "dropped": summary.dropped if summary.live else None,
        "late": summary.late if summary.live else None,
        "seconds": summary.seconds,
        "rate_fps": summary.frames / summary.seconds if summary.seconds else None,
        "latency": asdict(summary.latency) if summary.frames else None,
        "model": asdict(summary.model) if summary.frames else None,
        "after_ms_per_frame": summary.after_ms if summary.frames else None,
        "batch": summary.batch,
        "threads": summary.threads,
        "execution_precision": summary.execution_precision,
        "evidence": summary.evidence.value,
        "target_lacks": summary.lacks,
        "heads": summary.tally.to_json(),
        "drift": summary.drift.to_json() if summary.drift else None,
        "drift_frames": summary.kept.to_json() if summary.kept else None,
        "written": [{"path": str(each.path), "frames": each.frames, "size_bytes": each.size_bytes} for each in summary.written],
        "ended": summary.ended,
        "signal": signal,
    }
