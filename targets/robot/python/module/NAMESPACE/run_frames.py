"""Raw frames from a file or from standard input through the model. An example to begin with: it is yours to change."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .contract import DRIFT, GOLDEN, INPUT, OUTPUTS, TITLE, Outputs
from .drift import alarms, open_keeper
from .errors import Error, ExitCode
from .facts import Role
from .files import artefact_folder
from .fit import fit
from .frame import Pixels, view
from .model import Model
from .onboard.keeping import Keeper
from .onboard.ring import FRAMES, MEGABYTES
from .runtime import Runtime


def parser() -> argparse.ArgumentParser:
    """The options."""
    words = argparse.ArgumentParser(
        prog="run_frames",
        description="Runs the frames in the file FRAMES (- is standard input): three bytes a pixel, one frame after the other, "
        "without headers. Without FRAMES only the golden frames are run.",
    )
    words.add_argument("frames", nargs="?", help="raw frames")
    words.add_argument("--artefact", type=Path, default=artefact_folder(), help="the folder with the model and the golden frames")
    size = (INPUT.height, INPUT.width)
    words.add_argument("--frame", type=_size, default=size, metavar="HxW", help="the frames' size, if it is not the model's")
    words.add_argument("--stride", type=int, default=0, metavar="BYTES", help="from one row to the next, if more than 3 * W")
    words.add_argument("--bgr", action="store_true", help="the frames' channels are blue, green, red")
    crops = ("centre", "resize", "pad")
    words.add_argument("--crop", choices=crops, default=crops[0], help="how another size is brought to the model's")
    words.add_argument("--threads", type=int, default=0, help="by default as many as this process may use")
    words.add_argument("--output", type=Path, help="write every output of every frame, in the model's order, without headers")
    words.add_argument("--drift", type=Path, metavar="FILE", help="write the drift score of every frame, as JSON")
    words.add_argument("--drift-frames", type=Path, metavar="DIR", help="keep frames there that alarm, the newest ones")
    words.add_argument("--drift-frames-most", type=int, default=FRAMES, metavar="N", help="so many of them (%(default)s)")
    words.add_argument("--drift-frames-mb", type=float, default=MEGABYTES, metavar="MB", help="so large (%(default)s)")
    words.add_argument("--json", action="store_true", help="print the figures as one line of JSON")
    words.add_argument("--self-test", action="store_true", help="only check this machine")
    return words


def main(arguments: Sequence[str] | None = None) -> int:
    """An exit code."""
    try:
        return _run(parser().parse_args(arguments))
    except Error as error:
        print(f"run_frames: {error}", file=sys.stderr)
        return int(error.code)


def _run(options: argparse.Namespace) -> int:
    model = Model(options.artefact, threads=options.threads)
    if not options.json:
        print(*model.checks, sep="\n")
        print(f"ready: {TITLE} (here {Runtime.version()}), {GOLDEN.count} golden frames as recorded", flush=True)
    if options.frames is None or options.self_test:
        return 0
    if options.drift and DRIFT is None:
        raise Error(ExitCode.REQUEST, "The artefact has recorded nothing that tells drift.", remedy="leave --drift out")
    milliseconds: list[float] = []
    scores: list[float] = []
    count = 0
    with contextlib.ExitStack() as files:
        source = sys.stdin.buffer if options.frames == "-" else files.enter_context(_opened(Path(options.frames)))
        output = files.enter_context(options.output.open("wb")) if options.output else None
        keeper = None
        if options.drift_frames:
            live = options.frames == "-"
            keeper = open_keeper(options.drift_frames, options.drift_frames_most, options.drift_frames_mb, wait=not live)
            files.callback(_close, keeper)
        for batch in _batches(source, options):
            started = time.perf_counter()
            outputs = model.run(batch)
            milliseconds.append(1000 * (time.perf_counter() - started))
            for index in range(len(batch)):
                score = model.drift(outputs, index)
                if score is not None:
                    scores.append(score)
                    if keeper is not None and alarms(score):
                        keeper.offer(batch[index], score, f"frame {count + index}", time.monotonic() if live else None)
                if output is not None:
                    for facts in OUTPUTS:
                        output.write(getattr(outputs, facts.member)[index].tobytes())
                if not options.json:
                    print(f"frame {count + index}: {milliseconds[-1]:.2f} ms{said(outputs, index)}{unlike(score)}")
            count += len(batch)
    if not count:
        raise Error(ExitCode.FRAMES, "There is no frame.", f"{options.frames} is empty")
    if options.drift:
        options.drift.write_text(json.dumps(scores))
    drift = {"alarms": sum(map(alarms, scores)), "largest": max(scores)} if scores else None
    ordered = sorted(milliseconds)
    p50, p99 = (ordered[math.ceil(share * len(ordered) - 1e-9) - 1] for share in (0.5, 0.99))
    if options.json:
        print(json.dumps({"frames": count, "p50_ms": p50, "p99_ms": p99, "threads": model.runtime.threads, "drift": drift}))
    else:
        slowest = f"p99 {p99:.2f}" if len(ordered) >= 100 else f"longest {ordered[-1]:.2f}"
        print(f"{count} frames, {model.runtime.threads} threads: p50 {p50:.2f} ms, {slowest} ms")
        if drift:
            print(f"{drift['alarms']} unlike the calibration frames; the largest drift is {drift['largest']:.2f}")
    return 0


def said(outputs: Outputs, index: int) -> str:
    """What the heads say of one frame of a batch."""
    parts = []
    for facts in OUTPUTS:
        values = getattr(outputs, facts.member)[index]
        if facts.role is Role.SCORES and facts.classes:
            parts.append(f"{facts.name}: {facts.classes[int(values.argmax())]}")
        elif facts.role is Role.LABELS:
            labels, counts = np.unique(values, return_counts=True)
            label = int(labels[counts.argmax()])
            name = facts.classes[label] if 0 <= label < len(facts.classes) else f"label {label}"
            parts.append(f"{facts.name}: {100 * counts.max() / values.size:.0f} % {name}")
    return "".join(f", {part}" for part in parts)


def unlike(score: float | None) -> str:
    """Says it of a frame that alarms."""
    return f", unlike the calibration frames: drift {score:.2f}" if alarms(score) else ""


def _close(keeper: Keeper) -> None:
    keeper.close()
    if news := keeper.news():
        print(f"run_frames: {news}", file=sys.stderr)


def _batches(source: BinaryIO, options: argparse.Namespace) -> Iterator[list[Pixels]]:
    """As many frames as the model takes; the last batch may be shorter."""
    frames = _frames(source, options)
    while batch := list(itertools.islice(frames, INPUT.batch)):
        yield batch


def _frames(source: BinaryIO, options: argparse.Namespace) -> Iterator[Pixels]:
    height, width = options.frame
    step = options.stride or 3 * width
    while data := source.read(step * height):
        if len(data) < step * height:
            raise Error(
                ExitCode.FRAMES, "The last frame is not whole.", f"{len(data)} bytes of {step * height}",
                "say the frames' size: --frame HxW, and --stride BYTES if rows have gaps",
            )  # fmt: skip
        yield fit(view(data, height, width, stride=step, bgr=options.bgr), options.crop)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise Error(ExitCode.FRAMES, "The frames cannot be read.", f"{path}: {error.strerror}") from error


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise argparse.ArgumentTypeError("a height and a width, as 480x640")
    return int(height), int(width)


if __name__ == "__main__":
    sys.exit(main())
