"""The gate between two stages: run what was just made on the validation frames, and compare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgec.errors import CheckpointError, ExportError, FidelityError
from edgec.fidelity.metrics import Features, worst
from edgec.fidelity.reference import Reference
from edgec.records.evidence import Evidence
from edgec.records.fidelity import StageFidelity

EXPORT_TOLERANCE = 1e-3
"""Largest absolute difference of a feature between PyTorch and the hub graph, as a share of the output's largest value: float32
rounding over a deep model stays under 1e-4, a wrong constant or axis does not."""
LABELS_AGREE = 0.999

Run = Callable[[NDArray[np.uint8]], Features]


def measure_fidelity(
    reference: Reference, run: Run, batch: int, stage: str, step: Callable[[], None], evidence: Evidence = Evidence.HOST
) -> StageFidelity:
    """Run all validation frames, and compare the features and the outputs of heads."""
    fidelity = reference.fidelity()
    for frames, expected, real in reference.batches(batch):
        actual = run(frames)
        fidelity.add(expected, {name: value[:real] for name, value in actual.items()})
        step()
    return fidelity.summary(stage, evidence)


def check_export(reference: Reference, run: Run, batch: int, step: Callable[[], None]) -> StageFidelity:
    """Compares the hub graph with PyTorch on real frames. Raises `ExportError`, which names the first output that differs.

    Labels are integers: where two scores are nearly equal, rounding decides. A share of `LABELS_AGREE` must be the same.
    """
    fidelity = reference.fidelity()
    for number, (frames, expected, real) in enumerate(reference.batches(batch)):
        actual = {name: value[:real] for name, value in run(frames).items()}
        for name, value in expected.items():
            if value.dtype.kind == "i":
                _check_labels(name, number, value, actual[name])
                continue
            difference = float(np.abs(actual[name] - value).max())
            largest = float(np.abs(value).max())
            if not difference <= EXPORT_TOLERANCE * largest:
                raise ExportError(
                    f"The exported graph computes another {name!r} than PyTorch does.",
                    evidence=(
                        f"validation batch {number}: largest difference {difference:.3g}, largest value {largest:.3g}",
                        f"tolerated: {EXPORT_TOLERANCE * largest:.3g}",
                    ),
                    remedy="report this with the versions that `edgec doctor` prints; nothing was written",
                )
        fidelity.add(expected, actual)
        step()
    return fidelity.summary("hub", Evidence.HOST)


def check_author(reference: Reference, run: Run, author: str, step: Callable[[], None]) -> StageFidelity:
    """Compares edgec's PyTorch model of the checkpoint with that of its author's code, on real frames.

    Raises `CheckpointError`, which names the first feature that differs by more than rounding.
    """
    fidelity = reference.fidelity()
    for number, (frames, ours, _) in enumerate(reference.batches(1)):
        theirs = run(frames)
        for name, expected in theirs.items():
            difference = float(np.abs(ours[name] - expected).max()) if ours[name].shape == expected.shape else np.inf
            largest = float(np.abs(expected).max())
            if not difference <= EXPORT_TOLERANCE * largest:
                raise CheckpointError(
                    f"What edgec read computes another {name!r} than {author} does with the same folder.",
                    evidence=(
                        f"validation frame {number}: largest difference {difference:.3g}, largest value {largest:.3g}, "
                        f"tolerated {EXPORT_TOLERANCE * largest:.3g}",
                        f"shapes: {ours[name].shape} and {expected.shape}",
                    ),
                    remedy="`edgec inspect` lists all that was read; report this: nothing was written",
                )
        fidelity.add(theirs, {name: ours[name] for name in theirs})
        step()
    return fidelity.summary(f"against {author}", Evidence.HOST)


def _check_labels(name: str, number: int, expected: NDArray[Any], actual: NDArray[Any]) -> None:
    same = float((expected == actual).mean())
    if same < LABELS_AGREE:
        raise ExportError(
            f"The exported graph gives other labels in {name!r} than PyTorch does.",
            evidence=f"validation batch {number}: {same:.4%} of them are the same; tolerated: {LABELS_AGREE:.2%}",
            remedy="report this with the versions that `edgec doctor` prints; nothing was written",
        )


def require_kept(before: StageFidelity, after: StageFidelity, tolerance: float = 0.002) -> None:
    """Raises `FidelityError` if the written artefact keeps less of the features, or of a head's decisions, than its candidate
    did."""
    pairs = [("", worst(before), worst(after))]
    pairs += [(f" {was.head}", was.retained, now.retained) for was, now in zip(before.tasks, after.tasks, strict=True)]
    for what, earlier, later in pairs:
        if later < earlier - tolerance:
            raise FidelityError(
                "The artefact computes other features than the candidate that it was made from.",
                evidence=(f"{before.stage}{what}: {earlier:.6f}", f"{after.stage}{what}: {later:.6f}"),
                remedy="report this with the versions that `edgec doctor` prints; nothing was written",
            )
