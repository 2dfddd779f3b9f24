"""How much of the features a compute unit reproduces, in the figures of edgec/fidelity/metrics.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgec_mac.artefact import GATES, Artefact

Features = Mapping[str, NDArray[np.float32]]
_LEAST_DIFFERENT = 1e-3
_SHOWN = 5


@dataclass(frozen=True)
class Parity:
    """`figures` are cosines to the float32 PyTorch model's features; `to_shipped` is the worst cosine of any feature vector to
    what edgec's evaluator computed of the same package. Both are absent where outputs are missing or of another shape."""

    problems: tuple[str, ...]
    figures: Mapping[str, float] | None = None
    to_shipped: float | None = None


def judge(artefact: Artefact, expected: Features, shipped: Features, actual: Features) -> Parity:
    """Of all golden frames, M along the first axis of every array."""
    wrong = list(_mismatches(artefact, actual))
    if wrong:
        return Parity(tuple(wrong[:_SHOWN]))
    found = figures(cosines(expected["cls"], actual["cls"]), cosines(expected["patches"], actual["patches"]))
    problems = [text for output in artefact.outputs for text in oddities(output.name, actual[output.name])]
    problems += _blind(expected, actual)
    problems += [
        f"{name} is {found[name]:.6f}, and must be at least {artefact.gate[name]:g}"
        for name in GATES
        if found[name] < artefact.gate[name]
    ]
    to_shipped = min(float(cosines(shipped[name], actual[name]).min()) for name in shipped)
    return Parity(tuple(problems[:_SHOWN]), found, to_shipped)


def cosines(expected: NDArray[np.float32], actual: NDArray[np.float32]) -> NDArray[np.float64]:
    """The cosine of every feature vector (last axis) to its expected one, in float64.

    A vector that is not finite, or zero where the expected one is not, has cosine -1: garbage must not average away.
    """
    a, b = expected.astype(np.float64), actual.astype(np.float64)
    with np.errstate(all="ignore"):
        dot = (a * b).sum(axis=-1)
        norms = np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))
        cosine = np.where(norms > 0, dot / norms, np.where((a == b).all(axis=-1), 1.0, -1.0))
    sound: NDArray[np.float64] = np.where(np.isfinite(cosine) & np.isfinite(b).all(axis=-1), np.clip(cosine, -1, 1), -1.0)
    return sound


def figures(cls: NDArray[np.float64], patches: NDArray[np.float64]) -> dict[str, float]:
    return {
        "cls_cosine_mean": round(float(cls.mean()), 6),
        "patch_cosine_mean": round(float(patches.mean()), 6),
        "patch_cosine_p01": round(float(np.percentile(patches, 1)), 6),
    }


def oddities(name: str, values: NDArray[np.float32]) -> list[str]:
    """What no sound feature map looks like."""
    finite = np.isfinite(values)
    if not finite.all():
        return [f"{name} holds {int((~finite).sum())} values that are NaN or infinite, of {values.size}"]
    if values.min() == values.max():
        return [f"{name} is dead: all of its {values.size} values are {float(values.flat[0]):g}"]
    return []


def _mismatches(artefact: Artefact, actual: Features) -> list[str]:
    found = []
    for output in artefact.outputs:
        shape = (artefact.golden_count, *output.shape[1:])
        if output.name not in actual:
            found.append(f"there is no output {output.name}; there are {', '.join(sorted(actual)) or 'none'}")
        elif actual[output.name].shape != shape:
            found.append(f"{output.name} has shape {actual[output.name].shape}, not {shape}")
    return found


def _blind(expected: Features, actual: Features) -> list[str]:
    """Whether frames whose features should differ give the very same ones: then the package does not look at its input."""
    for name in ("cls", "patches"):
        for one in range(len(actual[name]) - 1):
            apart = cosines(expected[name][one].reshape(1, -1), expected[name][one + 1].reshape(1, -1))[0] < 1 - _LEAST_DIFFERENT
            if apart and np.array_equal(actual[name][one], actual[name][one + 1]):
                return [f"{name} is the same for golden frames {one} and {one + 1}: it does not look at them"]
    return []
