"""Running an artefact's golden frames again: does it still compute what was recorded when it was built?

Needs numpy and the artefact's runtime, nothing else: it runs on the robot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgec.artefact.manifest import Golden, Tensor
from edgec.artefact.operations import first_changed_operation
from edgec.artefact.reading import OpenArtefact, OpenSize, open_artefact
from edgec.errors import TargetError, VerificationError
from edgec.fidelity.cosines import cosines
from edgec.fidelity.trace import Difference
from edgec.lowering import registry
from edgec.lowering.base import Features, Runner
from edgec.report.records import printable

Array = NDArray[Any]
MIN_AGREEMENT = {"fp32": 0.999}
MIN_AGREEMENT_ROUNDED = 0.99
"""Share of a frame's labels that must be those recorded, in precisions that machines round in ways of their own: along a mask's
edge two classes are nearly equal."""


@dataclass(frozen=True)
class OutputCheck:
    """One output against what was recorded: the largest absolute `difference` to the shipped features and the smallest `cosine`.

    `frame`, counted from 0, is where the difference is largest or, if that is tolerated, where the cosine is smallest. The
    last two are cosines to the features of the float32 PyTorch model, over all feature vectors. What a head gives is one vector a
    frame. Of labels, `difference` is the share of a frame's pixels that are others, and `cosine` and the last two are shares
    of pixels that are the same.
    """

    name: str
    role: str
    """As `edgec.artefact.manifest.Tensor.role`."""
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
        try:
            outputs += _checks(size, name, _run(runner, size), manifest.precision)
        except VerificationError as error:
            raise _naming(error, first_changed_operation(artefact, size, runner)) from None
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


def _naming(error: VerificationError, changed: Difference | None) -> VerificationError:
    """The same refusal, which says where the model begins to compute something else, if that is known."""
    if changed is None:
        return error
    said = f"the first operation that differs is {printable(str(changed))}"
    return VerificationError(error.what, evidence=(said, *error.evidence), remedy=error.remedy)


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
    parts: dict[str, list[Array]] = {output.name: [] for output in wanted}
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


def _checks(size: OpenSize, at: str, actual: Features, precision: str) -> list[OutputCheck]:
    found = []
    for output in size.facts.outputs:
        shipped, float32 = size.golden.expected_shipped[output.name], size.golden.expected_float32[output.name]
        if output.role == "labels":
            found.append(_check_labels(output.name, at, actual[output.name], shipped, float32, precision))
        else:
            found.append(_check(output, at, actual[output.name], shipped, float32, size.facts.golden))
    return found


def _check_labels(name: str, size: str, actual: Array, shipped: Array, float32: Array, precision: str) -> OutputCheck:
    def same(expected: Array) -> NDArray[np.float64]:
        return np.asarray((actual == expected).reshape(len(actual), -1).mean(axis=1))

    to_shipped, to_float32 = same(shipped), same(float32)
    least = MIN_AGREEMENT.get(precision, MIN_AGREEMENT_ROUNDED)
    return OutputCheck(
        name=name,
        role="labels",
        size=size,
        difference=float(1 - to_shipped.min()),
        tolerance=1 - least,
        frame=int(to_shipped.argmin()),
        cosine=float(to_shipped.min()),
        min_cosine=least,
        finite=True,
        float32_cosine_mean=float(to_float32.mean()),
        float32_cosine_min=float(to_float32.min()),
    )


def _check(output: Tensor, size: str, actual: Array, shipped: Array, float32: Array, golden: Golden) -> OutputCheck:
    if output.role != "features":
        # A row of a depth map, or one pixel's logits, is no vector whose direction means something.
        actual, shipped, float32 = (each.reshape(len(each), -1) for each in (actual, shipped, float32))
    with np.errstate(invalid="ignore", over="ignore"):
        by_frame = np.abs(actual.astype(np.float64) - shipped).reshape(len(shipped), -1).max(axis=1)
    by_frame = np.where(np.isfinite(by_frame), by_frame, np.inf)
    to_shipped, to_float32 = cosines(shipped, actual), cosines(float32, actual)
    by_frame_cosine = to_shipped.reshape(len(shipped), -1).min(axis=1)
    tolerance = golden.relative_tolerance * float(np.abs(shipped).max())
    return OutputCheck(
        name=output.name,
        role=output.role,
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
        if output.role == "labels":
            return (
                f"{at(output.size)}output {printable(output.name)}, golden frame {output.frame}: {output.cosine:.2%} of its "
                f"labels are those recorded (at least {output.min_cosine:.2%})"
            )
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
