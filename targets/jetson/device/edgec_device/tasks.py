"""How much of what heads decide an engine reproduces: the same figures as edgec's own (edgec/fidelity/tasks.py), without numpy.

What a head gives is an array of one frame, in rows: scores [C], labels [H, W], logits [C, H, W], depth [H, W], values [..., K].
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, Mapping, Sequence

from edgec_device import fidelity
from edgec_device.bundle import LABELS, Tensor

MOST_CLASSES = 4096
GARBAGE = 1e6
_TINY = 1.1754943508222875e-38
"""The smallest normal float32."""


class Meter:
    """Gathers one output, frame by frame."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor
        self._frames = 0
        self._agreed = 0
        self._margins = [0.0, 0.0]
        self._smallest = math.inf
        self._pairs: Counter[tuple[int, int]] = Counter()
        self._relative = self._squared = 0.0
        self._count = 0
        self._cosines: list[float] = []

    def add(self, expected: Sequence[float], actual: Sequence[float]) -> None:
        self._frames += 1
        add = {
            "scores": self._add_scores,
            "labels": self._add_labels,
            "logits": self._add_logits,
            "depth": self._add_depth,
            "values": self._add_values,
        }
        add[self._tensor.role](expected, actual)

    def summary(self) -> dict[str, Any]:
        """As edgec's report has it (edgec/records/fidelity.py, TaskFidelity)."""
        found: dict[str, Any] = {"head": self._tensor.name, "output": self._tensor.role}
        if self._tensor.role == "scores":
            found["classes"] = {
                "agreement": round(self._agreed / self._frames, 6),
                "margin_float32": _rounded(self._margins[0] / self._frames),
                "margin_shipped": _rounded(self._margins[1] / self._frames),
                "smallest_margin": _rounded(self._smallest),
            }
        elif self._tensor.role in (LABELS, "logits"):
            found["masks"] = self._masks()
        elif self._tensor.role == "depth":
            error, square = self._relative / self._count, self._squared / self._count
            found["depths"] = {"relative_error": _rounded(error), "rmse": _rounded(math.sqrt(square))}
        else:
            mean = math.fsum(self._cosines) / len(self._cosines)
            found["values"] = {"cosine_mean": round(mean, 6), "cosine_min": round(min(self._cosines), 6)}
        return found

    def _add_scores(self, expected: Sequence[float], actual: Sequence[float]) -> None:
        whole = all(map(math.isfinite, actual))
        found = [value if math.isfinite(value) else -GARBAGE for value in actual]
        best = _best(expected)
        self._agreed += whole and _best(found) == best
        shipped = _margin(found, best) if whole else -GARBAGE
        self._margins[0] += _margin(expected, best)
        self._margins[1] += shipped
        self._smallest = min(self._smallest, shipped)

    def _add_labels(self, expected: Sequence[float], actual: Sequence[float]) -> None:
        self._pairs.update(zip(map(int, expected), map(_label, actual)))

    def _add_logits(self, expected: Sequence[float], actual: Sequence[float]) -> None:
        classes = self._tensor.shape[1]
        self._pairs.update(zip(_choices(expected, classes), _choices(actual, classes)))

    def _masks(self) -> dict[str, Any]:
        """What is no class was missed where it was, and is claimed nowhere."""
        wanted_most = max(wanted for wanted, _ in self._pairs)
        found_most = max(found for _, found in self._pairs)
        fixed = self._tensor.classes if self._tensor.role == LABELS else 0
        size = max(wanted_most + 1, fixed or min(found_most, MOST_CLASSES - 1) + 1)
        both, wanted, claimed = [0] * size, [0] * size, [0] * size
        for (one, other), count in self._pairs.items():
            wanted[one] += count
            if 0 <= other < size:
                claimed[other] += count
                both[one] += count if one == other else 0
        unions = [wanted[index] + claimed[index] - both[index] for index in range(size)]
        iou = [round(part / union, 6) if union else None for part, union in zip(both, unions)]
        shares = [value for value in iou if value is not None]
        return {
            "pixel_agreement": round(sum(both) / sum(wanted), 6),
            "mean_iou": round(math.fsum(shares) / len(shares), 6),
            "iou": iou,
        }

    def _add_depth(self, expected: Sequence[float], actual: Sequence[float]) -> None:
        for wanted, found in zip(expected, actual):
            size = max(abs(wanted), _TINY)
            lost = abs(found - wanted)
            lost = lost if math.isfinite(lost) else GARBAGE * size
            self._relative += min(lost / size, GARBAGE)
            self._squared += lost * lost
        self._count += len(expected)

    def _add_values(self, expected: Sequence[float], actual: Sequence[float]) -> None:
        self._cosines += fidelity.cosines(expected, actual, self._tensor.shape[-1])


def beyond(
    tensor: Tensor, bounds: Mapping[str, float], expected: Sequence[float], actual: Sequence[float], largest: float
) -> list[str]:
    """What is further from float32 than these bounds, a sentence each, in one frame. `largest` is the output's largest absolute
    value in all frames."""
    if tensor.role == LABELS:
        same = agreement(expected, actual)
        if same < bounds["agreement"]:
            return [f"{tensor.name} has {same:.2%} of float32's labels, and must have at least {bounds['agreement']:.2%}"]
        return []
    found = []
    cosine = fidelity.cosines(expected, actual, len(expected))[0]
    if cosine < bounds["cosine"]:
        found.append(f"{tensor.name} has a cosine of {cosine:.6f}, and must have at least {bounds['cosine']:g}")
    lost = max(abs(other - one) for one, other in zip(expected, actual))
    if not lost <= bounds["difference"] * max(largest, _TINY):
        share = lost / max(largest, _TINY)
        found.append(f"{tensor.name} differs by {share:.3g} of its largest value, and may by {bounds['difference']:g}")
    return found


def agreement(expected: Sequence[float], actual: Sequence[float]) -> float:
    """The share of labels that are the same."""
    return sum(one == other for one, other in zip(expected, actual)) / len(expected)


def told(summary: Mapping[str, Any]) -> str:
    """The figure that counts, in a few characters."""
    name = summary["head"]
    if "classes" in summary:
        return "{} agrees {:.1%}".format(name, summary["classes"]["agreement"])
    if "masks" in summary:
        return "{} IoU {:.4f}".format(name, summary["masks"]["mean_iou"])
    if "depths" in summary:
        return "{} error {:.4f}".format(name, summary["depths"]["relative_error"])
    return "{} cosine {:.5f}".format(name, summary["values"]["cosine_mean"])


def _best(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)


def _margin(values: Sequence[float], best: int) -> float:
    others = [value for index, value in enumerate(values) if index != best]
    return values[best] - max(others, default=0.0)


def _label(value: float) -> int:
    return max(-1, min(round(value), 2**31)) if math.isfinite(value) else -1


def _choices(logits: Sequence[float], classes: int) -> list[int]:
    """[C, H, W] to labels; -1 where a logit is not finite."""
    size = len(logits) // classes
    pixels = zip(*(logits[start : start + size] for start in range(0, len(logits), size)))
    if math.isfinite(math.fsum(map(abs, logits))):
        return [pixel.index(max(pixel)) for pixel in pixels]
    return [pixel.index(max(pixel)) if all(map(math.isfinite, pixel)) else -1 for pixel in pixels]


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
