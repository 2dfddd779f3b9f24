"""Where a frame's time goes, step by step of the runtime's program: measured on request, in a process of its own."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgec.artefact.reading import OpenArtefact
from edgec.bounded import communicate
from edgec.errors import RuntimeFailure, TargetError
from edgec.host.facts import available_cores
from edgec.latency.answers import read_answer
from edgec.latency.process import ANSWER_SECONDS, save_frames
from edgec.latency.profile_mapping import KnownOperation, mapped
from edgec.lowering.base import LoweredModel, Step
from edgec.onboard.worker import MOST_LOG_BYTES, describe_exit
from edgec.records.evidence import Evidence
from edgec.records.explanation import EXPLANATION, Explanation
from edgec.records.manifest import Manifest
from edgec.records.reading import read_record
from edgec.records.report import Profile
from edgec.untrusted import Refused

DEFAULT_ITERATIONS = 50
DEFAULT_SECONDS = 20.0
_LINES = 8


def profile(
    artefact: OpenArtefact,
    frames: NDArray[np.uint8],
    *,
    threads: int | None = None,
    iterations: int = DEFAULT_ITERATIONS,
    seconds: float = DEFAULT_SECONDS,
    evidence: Evidence = Evidence.HOST,
) -> Profile:
    """Profiles an artefact on `frames`, uint8 [M, N, H, W, 3]: M batches, taken in turn.

    `iterations` runs with the runtime's profiling and as many without, in turns, or fewer if they take over `seconds`. `threads`:
    by default the usable cores, quota included. Times of steps are means over the profiled runs, those of whole runs are medians.

    Raises `TargetError` if the runtime does not time its steps, `RuntimeFailure` if it fails or its process dies.
    """
    return profile_model(
        artefact.lowered,
        frames,
        known_operations(artefact),
        threads=threads,
        iterations=iterations,
        seconds=seconds,
        evidence=evidence,
    )


def profile_model(
    model: LoweredModel,
    frames: NDArray[np.uint8],
    known: tuple[KnownOperation, ...],
    *,
    threads: int | None = None,
    iterations: int = DEFAULT_ITERATIONS,
    seconds: float = DEFAULT_SECONDS,
    evidence: Evidence = Evidence.HOST,
) -> Profile:
    """As `profile`, for a runtime's files; `known` are the operations in them."""
    with tempfile.TemporaryDirectory(prefix="edgec-profile-") as folder:
        scratch = Path(folder)
        request = {
            "model": model.to_json(),
            "frames": str(save_frames(scratch, frames)),
            "threads": threads or available_cores(),
            "iterations": iterations,
            "seconds": seconds,
        }
        answer = _ask(request, scratch, ANSWER_SECONDS + 2 * seconds)
    if answer.get("untold"):
        raise TargetError(
            f"{model.runtime} does not time the steps of its program here: there is no profile of this artefact.",
            remedy="leave out the profile, or build for a runtime that does: OpenVINO, ONNX Runtime",
        )
    steps = [_step(values) for values in answer["steps"]]
    names = {each.name for each in known}
    types = {step.computes_in for step in steps if not names.isdisjoint(step.operations)}
    rates = {kind: round(rate, 1) for kind, rate in answer["rates_gflops"].items() if kind in types}
    return Profile(
        source=answer["source"],
        iterations=answer["iterations"],
        whole_ms=statistics.median(answer["whole_ms"]),
        plain_ms=statistics.median(answer["plain_ms"]),
        rates_gflops=rates,
        steps=mapped(steps, known, rates),
        evidence=evidence,
    )


def known_operations(artefact: OpenArtefact) -> tuple[KnownOperation, ...]:
    """The artefact's operations, with kinds and work if it has an explanation: its manifest has the names alone.

    Raises `ArtefactError` if the explanation is damaged.
    """
    manifest: Manifest = artefact.manifest
    if EXPLANATION not in {file.path for file in manifest.files}:
        return tuple(KnownOperation(name) for name in manifest.operations)
    explanation = read_record(artefact.directory / EXPLANATION, Explanation, "explanation")
    return tuple(KnownOperation(entry.name, entry.kind, entry.macs) for entry in explanation.operations)


def _step(values: dict[str, Any]) -> Step:
    return Step(**{**values, "layers": tuple(values["layers"]), "operations": tuple(values["operations"])})


def _ask(request: dict[str, Any], scratch: Path, seconds: float) -> dict[str, Any]:
    try:
        # `-m` puts the working directory on the module path: start where there are no modules, not where the user stands.
        process = subprocess.Popen(
            [sys.executable, "-m", "edgec.latency.profile_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=scratch,
            # A runtime's trace goes with the rest, however the process ends.
            env={**os.environ, "TMPDIR": str(scratch)},
        )
        with process:
            try:
                message = json.dumps(request).encode()
                out, err = communicate(process, message, most_bytes=MOST_LOG_BYTES, seconds=seconds)
            except BaseException:
                process.kill()
                raise
    except Refused as error:
        raise RuntimeFailure("The profile was stopped.", evidence=f"the process {error}") from None
    words = err.decode("utf-8", "replace").strip().splitlines()[-_LINES:]
    if not out.strip():
        raise RuntimeFailure("The profiled process died.", evidence=[describe_exit(process.returncode), *words])
    try:
        answer = read_answer(out, "profile")
    except Refused as error:
        raise RuntimeFailure("The profiled process gave no valid answer.", evidence=[f"it {error}", *words]) from None
    if "error" in answer:
        raise RuntimeFailure("The artefact could not be profiled.", evidence=answer["error"].splitlines()[:_LINES])
    return answer
