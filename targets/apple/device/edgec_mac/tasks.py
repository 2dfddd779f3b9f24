"""How much of what heads decide a compute unit reproduces: the figures of edgec/fidelity/tasks.py, and how far an output may be
from what was recorded, as edgec/verifying.py has it.

Arrays are of all golden frames: scores [M, C], labels [M, H, W], logits [M, C, H, W], depth [M, H, W], values [M, …].
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgec_mac.artefact import FEATURES, LABELS, Artefact, Tensor
from edgec_mac.cosines import cosines

Array = NDArray[Any]
MOST_CLASSES = 4096
GARBAGE = 1e6
MIN_AGREEMENT = {"fp32": 0.999}
MIN_AGREEMENT_ROUNDED = 0.99


def summary(tensor: Tensor, expected: Array, actual: Array) -> dict[str, Any]:
    """Beside float32's, as edgec's report has it (edgec/records/fidelity.py, TaskFidelity)."""
    found: dict[str, Any] = {"head": tensor.name, "output": tensor.role}
    if tensor.role == "scores":
        found["classes"] = _classes(expected.astype(np.float64), actual)
    elif tensor.role == LABELS:
        found["masks"] = _masks(_whole(expected), _whole(actual), tensor.classes)
    elif tensor.role == "logits":
        found["masks"] = _masks(_best(expected), _best(actual), 0)
    elif tensor.role == "depth":
        found["depths"] = _depths(expected.astype(np.float64), actual.astype(np.float64))
    else:
        each = cosines(expected, actual)
        found["values"] = {"cosine_mean": round(float(each.mean()), 6), "cosine_min": round(float(each.min()), 6)}
    return found


def told(said: dict[str, Any]) -> str:
    """The figure that counts, in a few characters."""
    name = said["head"]
    if "classes" in said:
        return f"{name} agrees {said['classes']['agreement']:.1%}"
    if "masks" in said:
        return f"{name} IoU {said['masks']['mean_iou']:.4f}"
    if "depths" in said:
        return f"{name} error {said['depths']['relative_error']:.4f}"
    return f"{name} cosine {said['values']['cosine_mean']:.5f}"


def beyond(artefact: Artefact, tensor: Tensor, shipped: Array, actual: Array) -> list[str]:
    """What is further from what was recorded than the artefact allows, in words; nothing of the backbone's features, which are
    held against float32's."""
    if tensor.role == FEATURES:
        return []
    wanted, found = (each.reshape(len(each), -1) for each in (shipped, actual))
    if tensor.role == LABELS:
        least = MIN_AGREEMENT.get(artefact.precision, MIN_AGREEMENT_ROUNDED)
        same = (wanted == found).mean(axis=1)
        frame = int(same.argmin())
        if same[frame] >= least:
            return []
        return [f"{tensor.name} has {same[frame]:.2%} of golden frame {frame}'s labels, and must have at least {least:.2%}"]
    problems = []
    each = cosines(wanted, found)
    frame = int(each.argmin())
    if each[frame] < artefact.min_cosine:
        problems.append(
            f"{tensor.name} of golden frame {frame} has a cosine of {each[frame]:.6f} to what was recorded, and must have at "
            f"least {artefact.min_cosine:g}"
        )
    largest = max(float(np.abs(wanted).max()), float(np.finfo(np.float32).tiny))
    with np.errstate(all="ignore"):
        share = float(np.abs(found.astype(np.float64) - wanted).max()) / largest
    if not share <= artefact.relative_tolerance:
        problems.append(
            f"{tensor.name} differs from what was recorded by {share:.3g} of its largest value, and may by "
            f"{artefact.relative_tolerance:g}"
        )
    return problems


def _classes(wanted: NDArray[np.float64], actual: Array) -> dict[str, float]:
    found = np.where(np.isfinite(actual), actual, -GARBAGE).astype(np.float64)
    whole = np.isfinite(actual).all(axis=1)
    best, rows = wanted.argmax(axis=1), np.arange(len(wanted))
    margins = []
    for scores in (wanted, found):
        others = scores.copy()
        others[rows, best] = -np.inf
        rival = others.max(axis=1) if scores.shape[1] > 1 else np.zeros(len(scores))
        margins.append(scores[rows, best] - rival)
    shipped = np.where(whole, margins[1], -GARBAGE)
    return {
        "agreement": round(float(((found.argmax(axis=1) == best) & whole).mean()), 6),
        "margin_float32": _rounded(margins[0].mean()),
        "margin_shipped": _rounded(shipped.mean()),
        "smallest_margin": _rounded(shipped.min()),
    }


def _masks(wanted: NDArray[np.int64], found: NDArray[np.int64], classes: int) -> dict[str, Any]:
    """What is no class was missed where it was, and is claimed nowhere."""
    size = classes or max(int(wanted.max()), min(int(found.max()), MOST_CLASSES - 1)) + 1
    claimed = np.where((found < 0) | (found >= size), size, found)
    confusion = np.bincount((wanted * (size + 1) + claimed).ravel(), minlength=size * (size + 1)).reshape(size, size + 1)
    both = np.diag(confusion).astype(float)
    union = confusion[:, :-1].sum(axis=0) + confusion.sum(axis=1) - both
    iou = [None if not whole else round(float(part / whole), 6) for part, whole in zip(both, union, strict=True)]
    return {
        "pixel_agreement": round(float(both.sum() / confusion.sum()), 6),
        "mean_iou": round(float(np.mean([value for value in iou if value is not None])), 6),
        "iou": iou,
    }


def _depths(wanted: NDArray[np.float64], found: NDArray[np.float64]) -> dict[str, float]:
    size = np.maximum(np.abs(wanted), np.finfo(np.float32).tiny)
    with np.errstate(all="ignore"):
        lost = np.abs(found - wanted)
    lost = np.where(np.isfinite(lost), lost, GARBAGE * size)
    relative = np.minimum(lost / size, GARBAGE).mean()
    return {"relative_error": _rounded(relative), "rmse": _rounded(np.sqrt(np.square(lost).mean()))}


def _best(logits: Array) -> NDArray[np.int64]:
    """To labels; -1 where a logit is not finite."""
    labels = np.where(np.isfinite(logits), logits, -np.inf).argmax(axis=1)
    return np.asarray(np.where(np.isfinite(logits).all(axis=1), labels, -1), np.int64)


def _whole(labels: Array) -> NDArray[np.int64]:
    return np.asarray(np.clip(labels, -1, 2**31), np.int64)


def _rounded(value: Any) -> float:
    return float(f"{float(value):.6g}")
