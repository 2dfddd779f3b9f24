"""Latency and fidelity of an edgec artefact and of what a user would otherwise deploy, in one process and one run."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rich.console import Console

from benchmarks.contender import judge
from benchmarks.own import shipped_contender
from benchmarks.peers import peer_contenders
from benchmarks.race import race
from benchmarks.tables import Result, contest_table, host_line
from edgec import frames as framing
from edgec.host import facts as host
from edgec.model.spec import Size
from edgec.request import BuildRequest


def run_contest(
    checkpoint: str, calibration: str, evaluation: str | None, size: Size, *, rounds: int, threads: int | None
) -> None:
    """Prints a table: what edgec ships, and the peers."""
    threads = threads or host.available_cores()
    calibrate, judges = contest_frames(calibration, evaluation, size)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "auto.edgec"
        request = BuildRequest(checkpoint, calibration=calibration, size=size, threads=threads, output=output)
        contenders = [shipped_contender(request), *peer_contenders(checkpoint, calibrate, size, threads, Path(folder))]
        expected = [contenders[1].run(frame) for frame in judges]
        judgements = [judge(contender.run, judges, expected) for contender in contenders]
        blocks = race(contenders, judges, rounds)
    results = [Result(*parts) for parts in zip(contenders, judgements, blocks, strict=True)]
    console = Console(width=max(120, Console().width))
    console.print(host_line(threads, size, len(calibrate), len(judges)), soft_wrap=True)
    console.print(contest_table(results, results[0]))


def contest_frames(calibration: str, evaluation: str | None, size: Size) -> tuple[list[framing.Pixels], list[framing.Pixels]]:
    """For the peers to calibrate on, and for all to be judged by.

    With an evaluation set the peers calibrate on the whole calibration set, of which edgec holds a share out to choose by;
    otherwise all are judged by that share.
    """
    frame_set = framing.load(calibration)
    split = framing.split(frame_set)
    judges = framing.load(evaluation).frames if evaluation else split.validation
    calibrate = frame_set.frames if evaluation else split.calibration
    return [pixels for _, pixels in framing.batches(calibrate, size)], [pixels for _, pixels in framing.batches(judges, size)]
