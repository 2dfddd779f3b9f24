"""Running an artefact's golden frames again: does it still compute what was recorded when it was built?

Needs numpy and the artefact's runtime, nothing else: it runs on the robot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgec.artefact.manifest import Golden
from edgec.artefact.operations import first_changed_operation
from edgec.artefact.reading import OpenArtefact, OpenSize, open_artefact
from edgec.errors import TargetError, VerificationError
from edgec.fidelity.metrics import cosines
from edgec.fidelity.trace import Difference
from edgec.lowering import registry
from edgec.lowering.base import Features, Runner
from edgec.report.records import printable

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class OutputCheck:
    """One output against what was recorded: the largest absolute `difference` to the shipped features and the smallest `cosine`.

    `frame`, counted from 0, is where the difference is largest or, if that is tolerated, where the cosine is smallest. The
    last two are cosines to the features of the float32 PyTorch model, over all feature vectors.
    """

    name: str
    size: str
    """Of the frames, where the artefact takes several."""
    difference: float
    tolerance: float
    frame: int
    cosine: float
    min_cosine: float
    finite: bool
    float32_cosine_mean: float
    float32_cosine_min: float

    @property
    def passed(self) -> bool:
        return self.finite and self.difference <= self.tolerance and self.cosine >= self.min_cosine


@dataclass(frozen=True)
class VerifyResult:
    """What was verified, and how it ran. `execution_precision` is what the runtime says here, `recorded_precision` what it said
    on the machine that built the artefact."""

    directory: Path
    build_key: str
    runtime: str
    execution_precision: str
    recorded_precision: str
    threads: int
    files: int
    frames: int
    outputs: tuple[OutputCheck, ...]


def verify(path: Path, *, threads: int | None = None) -> VerifyResult:
    """Check every hash, run the golden frames, and compare every output with the shipped features that the artefact records.

    `threads`: the usable cores by default. Raises `ArtefactError` if the artefact is damaged, `TargetError` if its runtime is
    not installed, `RuntimeFailure` if that refuses the files, and `VerificationError`, naming output, frame, difference and
    cosine, if an output is missing, of another shape, not finite, or further away than `manifest.golden` allows; naming the first
    operation that computes something else, where operations were recorded.
    """
    artefact = open_artefact(path)
    manifest = artefact.manifest
    runner = load_runner(artefact, threads)
    outputs: list[OutputCheck] = []
    changed: dict[str, Difference] = {}
    for size in artefact.sizes:
        name = _name(size, artefact)
        outputs += _checks(size, name, _run(runner, size))
        if found := first_changed_operation(artefact, size, runner):
            changed[name] = found
    result = VerifyResult(
        directory=artefact.directory,
        build_key=manifest.build_key,
        runtime=manifest.runtime,
        execution_precision=runner.execution_precision,
        recorded_precision=manifest.execution_precision,
        threads=runner.threads,
        files=len(manifest.files),
        frames=sum(len(size.golden.frames) for size in artefact.sizes),
        outputs=tuple(outputs),
    )
    failed = [output for output in outputs if not output.passed]
    if failed or changed:
        raise _failure(result, failed, changed)
    return result


def load_runner(artefact: OpenArtefact, threads: int | None = None) -> Runner:
    """The artefact's model in its runtime. Raises `TargetError` if that is not installed here."""
    lowering = registry.get(artefact.manifest.runtime)
    availability = lowering.runnable()
    if not availability.available:
        raise TargetError(
            f"This artefact runs in {lowering.title}, which is not available here.",
            evidence=availability.problem,
            remedy=availability.install,
        )
    return lowering.load(artefact.lowered, threads=threads)


def _name(size: OpenSize, artefact: OpenArtefact) -> str:
    """Empty where there is one."""
    height, width = size.facts.input.shape[1:3]
    return f"{height}x{width}" if len(artefact.sizes) > 1 else ""


def _run(runner: Runner, size: OpenSize) -> Features:
    """All golden frames of a size, in batches of the artefact's own; a last one that is not full repeats its last frame."""
    frames, wanted = size.golden.frames, size.facts.outputs
    whole = size.facts.input.shape[0]
    parts: dict[str, list[NDArray[np.float32]]] = {output.name: [] for output in wanted}
    for start in range(0, len(frames), whole):
        batch = frames[start : start + whole]
        count = len(batch)
        if count < whole:
            batch = np.concatenate([batch, np.repeat(batch[-1:], whole - count, axis=0)])
        features = runner(np.ascontiguousarray(batch))
        for output in wanted:
            found = features.get(output.name)
            if found is None or found.shape != output.shape:
                raise VerificationError(
                    f"Output {printable(output.name)} is {'missing' if found is None else 'of another shape'}.",
                    evidence=(
                        f"recorded: {output.shape}; here: {None if found is None else found.shape}",
                        f"the model's outputs: {', '.join(features)}",
                    ),
                    remedy="build the artefact again",
                )
            parts[output.name].append(found[:count])
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def _checks(size: OpenSize, at: str, actual: Features) -> list[OutputCheck]:
    expected, golden = size.golden, size.facts.golden
    return [
        _check(name, at, actual[name], expected.expected_shipped[name], expected.expected_float32[name], golden)
        for name in (output.name for output in size.facts.outputs)
    ]


def _check(name: str, size: str, actual: Floats, shipped: Floats, float32: Floats, golden: Golden) -> OutputCheck:
    with np.errstate(invalid="ignore", over="ignore"):
        by_frame = np.abs(actual.astype(np.float64) - shipped).reshape(len(shipped), -1).max(axis=1)
    by_frame = np.where(np.isfinite(by_frame), by_frame, np.inf)
    to_shipped, to_float32 = cosines(shipped, actual), cosines(float32, actual)
    by_frame_cosine = to_shipped.reshape(len(shipped), -1).min(axis=1)
    tolerance = golden.relative_tolerance * float(np.abs(shipped).max())
    return OutputCheck(
        name=name,
        size=size,
        difference=float(by_frame.max()),
        tolerance=tolerance,
        frame=int(by_frame.argmax() if by_frame.max() > tolerance else by_frame_cosine.argmin()),
        cosine=float(to_shipped.min()),
        min_cosine=golden.min_cosine,
        finite=bool(np.isfinite(actual).all()),
        float32_cosine_mean=float(to_float32.mean()),
        float32_cosine_min=float(to_float32.min()),
    )


def _failure(result: VerifyResult, failed: list[OutputCheck], changed: Mapping[str, Difference]) -> VerificationError:
    """`changed` by size, whose name is empty where there is one."""

    def at(size: str) -> str:
        return f"at {size} " if size else ""

    def say(output: OutputCheck) -> str:
        what = "" if output.finite else "holds NaN or Inf; "
        return (
            f"{at(output.size)}output {printable(output.name)}, golden frame {output.frame}: {what}largest difference "
            f"{output.difference:.4g} (tolerance {output.tolerance:.4g}), worst cosine {output.cosine:.6f} (at least "
            f"{output.min_cosine:g})"
        )

    said = [*map(say, failed)]
    said[:0] = [f"{at(size)}the first operation that differs is {printable(str(found))}" for size, found in changed.items()]
    here, recorded = printable(result.execution_precision), printable(result.recorded_precision)
    return VerificationError(
        f"The artefact at {result.directory} does not compute what was recorded: {said[0]}.",
        evidence=(
            *said[1:],
            f"{printable(result.runtime)} computes here in: {here or 'unknown'}; when it was built, in: {recorded or 'unknown'}",
        ),
        remedy="do not deploy it on this machine: build it here, or for a target with the same instructions and runtime version",
    )
