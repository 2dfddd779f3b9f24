"""`edgec calibration`: whether a set of frames is fit to calibrate on, and what is in it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from edgec.cli import options
from edgec.cli.console import err, out, plain

if TYPE_CHECKING:
    from edgec.frames import FrameSet, Origin, Split
    from edgec.frames.decoding import Count
    from edgec.frames.extending import Extension
    from edgec.frames.lint import Level, Lint
    from edgec.frames.raw import RawFormat
    from edgec.model.spec import Size

_HAS_ERRORS = 4
_MOST_ROWS = 30

frame_set = click.argument("frame_set", metavar="SET", type=options.ReferenceType())


@click.group()
def calibration() -> None:
    """Look at calibration sets. SET is a folder, video, ROS bag, list (.txt), manifest (.toml) or a shipped set's name."""


@calibration.command()
@frame_set
@options.topic
@options.raw_format
@options.input_size
@click.option(
    "--checkpoint",
    type=options.ReferenceType(),
    metavar="CHECKPOINT",
    help="Also look at the features of this float32 model: whether the frames to judge by show what calibration has not seen.",
)
@options.weights
@options.config
@options.as_json
@click.pass_context
def lint(
    context: click.Context,
    frame_set: str,
    topic: str,
    raw: RawFormat | None,
    size: Size,
    checkpoint: str | None,
    weights: str | None,
    config: str | None,
    as_json: bool,
) -> None:
    """Say what is wrong with a set: errors, warnings and notes. The exit code is 4 if there is an error.

    Of more than 2,000 frames a sample is looked at, spread evenly.
    """
    from edgec.extras import require
    from edgec.frames import Reading, load, require_use
    from edgec.frames.lint import MOST_FRAMES
    from edgec.frames.lint import lint as check

    require("pictures" if checkpoint is None else "build", "Looking at frames")
    with err.status("looking for frames"):
        frames = load(frame_set, most=MOST_FRAMES, reading=Reading(topic, raw))
    require_use(Reading(topic, raw), frames)
    with err.status(f"looking at {len(frames.frames)} frames") as status:
        result = check(
            frames, size=size, progress=lambda count: status.update(f"looked at {count} of {len(frames.frames)} frames")
        )
    if checkpoint is not None and not frames.random:
        from edgec.coverage import check_coverage

        with err.status("computing features") as status:
            coverage = check_coverage(
                checkpoint,
                frames,
                size,
                weights=weights,
                config=config,
                progress=lambda count: status.update(f"computed the features of {count} frames"),
            )
        result = result.adding(coverage)
    if as_json:
        click.echo(json.dumps({"set": frames.name, "sha256": frames.sha256, "input_size": str(size), **asdict(result)}, indent=2))
    else:
        _print_lint(frames, result)
    if result.has_errors:
        context.exit(_HAS_ERRORS)


@calibration.command()
@frame_set
@options.topic
@options.raw_format
@click.option(
    "-o", "--output", type=options.PathType(written=True), metavar="FILE", help="Write a contact sheet there, as .png or .jpg."
)
def show(frame_set: str, topic: str, raw: RawFormat | None, output: Path | None) -> None:
    """Summarise a set, and draw its contact sheet."""
    from edgec.errors import CalibrationError
    from edgec.extras import require
    from edgec.frames import Reading, load, require_use, split
    from edgec.frames.decoding import Decoder
    from edgec.frames.lint import MOST_FRAMES
    from edgec.frames.sheet import write_sheet
    from edgec.frames.splitting import MIN_FRAMES, too_few

    require("pictures", "Looking at frames")
    frames = load(frame_set, reading=Reading(topic, raw))
    require_use(Reading(topic, raw), frames)
    decoder = Decoder()
    with err.status(f"looking at {len(frames.frames)} frames"):
        # Of a larger set only what a build draws is decoded.
        count = decoder.count(frames) if len(frames.frames) <= MOST_FRAMES else None
    parts, problem = None, ""
    try:
        parts = split(frames, decoder=decoder)
    except CalibrationError as error:
        few = count is not None and len(count.usable) < MIN_FRAMES
        problem = too_few(len(count.usable)) if few and count else f"{error.what} {error.evidence[0]}"
    _print_summary(frames, count, parts, problem)
    if output is not None:
        shown = write_sheet(frames, parts, output)
        out.print(f"\n{shown} frames drawn on {output}", soft_wrap=True)


@calibration.command()
@frame_set
@click.argument("folder", metavar="DIR", type=options.PathType())
@options.topic
@options.raw_format
@click.option(
    "-o", "--output", type=options.PathType(written=True), required=True, metavar="NEWSET.toml", help="The manifest to write."
)
@click.option(
    "--repeats",
    type=click.Choice(["near", "exact"]),
    default="near",
    show_default=True,
    help="Leave out what nearly repeats another frame, or only the same file.",
)
@options.as_json
def extend(
    frame_set: str,
    folder: Path,
    topic: str,
    raw: RawFormat | None,
    output: Path,
    repeats: Literal["near", "exact"],
    as_json: bool,
) -> None:
    """Add the pictures in DIR to a set, such as those that `edgec fleet fetch-frames` brought home.

    Frames that nearly repeat one of the set, or each other, are left out, by the rule of `lint`. That rule sees neither light nor
    colours: where these are new, give --repeats exact. Nothing is copied: the new set names the files where they are.
    """
    from edgec.extras import require
    from edgec.frames import Reading
    from edgec.frames.extending import extend as extend_set

    require("pictures", "Looking at frames")
    with err.status("looking for frames") as status:
        done = extend_set(frame_set, folder, output, repeats=repeats, reading=Reading(topic, raw), progress=status.update)
    if as_json:
        click.echo(json.dumps(_extension_json(done), indent=2))
    else:
        _print_extension(done)


def _extension_json(done: Extension) -> dict[str, Any]:
    return {
        "set": str(done.output),
        "frames_before": done.before,
        "frames_compared": done.compared,
        "frames": done.frames,
        "added": [
            {"frame": each.name, "source": each.source, "kept": each.line.model_dump() if each.line else None}
            for each in done.added
        ],
        "left_out": [{"frame": name, "reason": reason} for name, reason in done.left_out],
    }


def _print_extension(done: Extension) -> None:
    sampled = f" (compared with a sample of {done.compared})" if done.compared < done.before else ""
    out.print(
        f"{plain(str(done.output))}: {_counted(done.frames, 'frame')}, {len(done.added)} of them new{sampled}", soft_wrap=True
    )
    for source in dict.fromkeys(each.source for each in done.added):
        members = [each for each in done.added if each.source == source]
        scores = [each.line.score for each in members if each.line is not None]
        drift = f", drift {min(scores):.2f} to {max(scores):.2f}" if scores else ""
        out.print(f"  {plain(source)}: {_counted(len(members), 'frame')}{drift}", soft_wrap=True)
    if done.left_out:
        out.print(f"{len(done.left_out)} left out")
        for name, reason in done.left_out[:_MOST_ROWS]:
            out.print(f"  {plain(name)}: {plain(reason)}", soft_wrap=True)
        if len(done.left_out) > _MOST_ROWS:
            out.print(f"  and {len(done.left_out) - _MOST_ROWS} more")


def _print_lint(frames: FrameSet, result: Lint) -> None:
    from rich.table import Table
    from rich.text import Text

    drawn = f"a build draws {result.calibration} to calibrate on and {result.validation} to judge by"
    if not result.calibration:
        drawn = "no build can use them"
    out.print(
        f"{plain(frames.name)}: {result.usable} usable frames from {_counted(result.sources, 'source')}; {drawn}",
        soft_wrap=True,
    )
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    styles: dict[Level, str] = {"error": "bold red", "warning": "yellow", "note": ""}
    for finding in result.findings:
        table.add_row(Text(finding.level, styles[finding.level]), finding.check, Text(plain(finding.text)))
    if result.findings:
        out.print(table)
    counts = Counter(finding.level for finding in result.findings)
    out.print(", ".join(_counted(counts[level], level) for level in styles))


def _print_summary(frames: FrameSet, total: Count | None, parts: Split | None, problem: str) -> None:
    from rich.table import Table
    from rich.text import Text

    from edgec.cli.tables import facts_table

    sides = {frame.name: "calibration" for frame in parts.calibration} if parts else {}
    sides |= {frame.name: "validation" for frame in parts.validation} if parts else {}
    counted = total.usable if total else frames.frames
    sources = Counter(frame.source for frame in counted)
    shapes = Counter(frame.read().shape[:2] for frame in (parts.calibration + parts.validation if parts else ()))
    facts = (
        ("set", frames.name),
        ("description", frames.description),
        ("sha256", frames.sha256),
        ("frames", _frames_words(frames, total) + (", random noise" if frames.random else "")),
        (
            "split",
            problem
            or f"{Counter(sides.values())['calibration']} calibration, {Counter(sides.values())['validation']} validation",
        ),
        *(_recorded(frames, origin) for origin in frames.origins),
        ("sizes", ", ".join(f"{height}x{width} ({count})" for (height, width), count in shapes.most_common(6))),
    )
    out.print(facts_table((name, plain(value)) for name, value in facts if value))

    table = Table(box=None, pad_edge=False)
    table.add_column("source", overflow="fold")
    for title in ("frames", "calibration", "validation"):
        table.add_column(title, justify="right")
    drawn = Counter((frame.source, sides.get(frame.name)) for frame in frames.frames if frame.name in sides)
    sequences = {source: count for source, count in sources.items() if count > 1}
    for source, count in list(sequences.items())[:_MOST_ROWS]:
        table.add_row(Text(plain(source)), str(count), str(drawn[source, "calibration"]), str(drawn[source, "validation"]))
    single = [source for source in sources if source not in sequences]
    if single:
        cells = (str(sum(drawn[source, side] for source in single)) for side in ("calibration", "validation"))
        table.add_row("single pictures", str(len(single)), *cells)
    out.print()
    out.print(table)
    if len(sequences) > _MOST_ROWS:
        out.print(f"and {_counted(len(sequences) - _MOST_ROWS, 'sequence')} more")

    for note in (*frames.notes, *(parts.notes if parts else ())):
        out.print(f"\nnote: {plain(note)}", soft_wrap=True)
    skipped = total.damaged if total else [*frames.skipped, *(parts.skipped if parts else ())]
    if skipped:
        out.print(f"\n{len(skipped)} damaged")
        for name, reason in skipped:
            out.print(f"  {plain(name)}: {plain(reason)}", soft_wrap=True)
    copies = total.copies if total else parts.copies if parts else ()
    if copies:
        out.print(f"\n{len(copies)} left out, the same picture as another: {', '.join(map(plain, copies))}", soft_wrap=True)


def _frames_words(frames: FrameSet, count: Count | None) -> str:
    """As `lint` counts them; of a set that is too large to decode whole, how many there are."""
    if count is None:
        return f"{len(frames.frames)} from {_counted(len({frame.source for frame in frames.frames}), 'source')}, not all decoded"
    sources = _counted(len({frame.source for frame in count.usable}), "source")
    others = ((count.damaged, "damaged"), (count.copies, "the same picture as another"))
    return ", ".join([f"{len(count.usable)} usable from {sources}", *(f"{len(each)} {what}" for each, what in others if each)])


def _recorded(frames: FrameSet, origin: Origin) -> tuple[str, str]:
    times = [frame.order for frame in frames.frames if frame.source == origin.source]
    began = datetime.fromtimestamp(min(times) / 1e9, timezone.utc)
    return (
        "bag",
        f"{origin.source}: {len(times)} of {_counted(origin.messages, 'message')}, {began:%Y-%m-%d %H:%M:%S} UTC and "
        f"{(max(times) - min(times)) / 1e9:.1f} s on, sha256 {origin.sha256[:12]}",
    )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
