"""The program of `edgec code` against `edgec bench`: the same model, the same frames, in turn."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.programs import RELEASED, Program, build_program
from benchmarks.race import Blocks, median, percentile, ratio
from edgec.artefact.reading import open_artefact
from edgec.batches import stacks
from edgec.building import build
from edgec.code.generating import CodeRequest, generate
from edgec.host import facts as host
from edgec.latency.process import Worker
from edgec.records.evidence import Evidence
from edgec.request import BuildRequest


def run_robot_code(artefact: Path | None, rounds: int, iterations: int, threads: int | None) -> None:
    """Prints both medians, and the ratio of the program's to the one that `edgec bench` measures.

    Raises `benchmarks.arm64.debian.Unavailable` where no C++ program can be built.
    """
    with tempfile.TemporaryDirectory(prefix="edgec-robot-code-") as folder:
        scratch = Path(folder)
        if artefact is None:
            artefact = build(BuildRequest("demo", output=scratch / "demo.edgec", threads=threads)).directory
        opened = open_artefact(artefact)
        batch = opened.manifest.input.shape[0]
        frames = stacks(opened.golden.frames, batch)
        np.save(scratch / "frames.npy", frames)
        (scratch / "frames.rgb").write_bytes(frames.tobytes())
        project = generate(CodeRequest(artefact, "cpp", scratch / "project"))
        program = build_program(project.directory, project.runtime, scratch / "build", flags=RELEASED)
        threads = threads or host.available_cores()
        with Worker(opened.lowered, "robot-code", scratch) as worker:
            worker.load(scratch / "frames.npy", threads)
            worker.ask({"do": "warm"})
            measured, own = _turns(worker, program, scratch, rounds, iterations, len(frames), threads)
    print(f"{rounds} pairs of {iterations} runs, in random order, {threads} threads; {Evidence.HOST.value}")
    for title, blocks in (("edgec bench", measured), ("the C++ program", own)):
        print(f"{title:16} p50 {median(blocks):.4f} ms, p99 {percentile(blocks, 99):.4f} ms")
    print(f"ratio            {ratio(own, measured)}, 95 %")


def _turns(
    worker: Worker, program: Program, scratch: Path, rounds: int, iterations: int, frames: int, threads: int
) -> tuple[Blocks, Blocks]:
    """Milliseconds by round, of both."""
    order = random.Random(0)
    measured: list[tuple[float, ...]] = []
    own: list[tuple[float, ...]] = []

    def by_bench() -> None:
        measured.append(tuple(worker.ask({"do": "run", "iterations": iterations})["samples_ms"]))

    def by_program() -> None:
        # The first runs of a process are slower: as many as are recorded go before.
        repeat = -(-2 * iterations // frames)
        done = program.run(
            "--json", "--threads", str(threads), "--repeat", str(repeat), "--samples", scratch / "samples", scratch / "frames.rgb"
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        samples = json.loads((scratch / "samples").read_text())
        own.append(tuple(samples[-iterations:]))

    for _ in range(rounds):
        turns = [by_bench, by_program]
        order.shuffle(turns)
        for turn in turns:
            turn()
    return tuple(measured), tuple(own)
