"""How much of the features and of the heads' decisions a compute unit reproduces, in the figures of edgec/fidelity/metrics.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgec_mac import tasks
from edgec_mac.artefact import FEATURES, GATES, LABELS, Artefact, Tensor
from edgec_mac.cosines import cosines

Features = Mapping[str, NDArray[Any]]
"""By output: float32, or int32 where a head gives labels."""
_LEAST_DIFFERENT = 1e-3
_SHOWN = 5


@dataclass(frozen=True)
class Parity:
    """`figures` are cosines to the float32 PyTorch model's features, None of a package that gives none; `tasks` are what its
    heads keep of float32's decisions. `to_shipped` is, beside what edgec's evaluator computed of the same package, the worst
    cosine of any feature vector and of any frame's output of a head, `labels_as_shipped` the smallest share of a frame's labels.
    All are absent where outputs are missing or of another shape."""

    problems: tuple[str, ...]
    figures: Mapping[str, float] | None = None
    tasks: Sequence[dict[str, Any]] = ()
    to_shipped: float | None = None
    labels_as_shipped: float | None = None

    @property
    def compared(self) -> bool:
        return self.figures is not None or bool(self.tasks)


def judge(artefact: Artefact, expected: Features, shipped: Features, actual: Features) -> Parity:
    """Of all golden frames, M along the first axis of every array."""
    wrong = list(_mismatches(artefact, actual))
    if wrong:
        return Parity(tuple(wrong[:_SHOWN]))
    found = figures(*(cosines(expected[name], actual[name]) for name in ("cls", "patches"))) if artefact.gives_features else None
    problems = [text for output in artefact.outputs for text in oddities(output.name, actual[output.name], expected[output.name])]
    problems += _blind(artefact.outputs, expected, actual)
    problems += [
        f"{name} is {found[name]:.6f}, and must be at least {artefact.gate[name]:g}"
        for name in (GATES if found else ())
        if found and found[name] < artefact.gate[name]
    ]
    for output in artefact.outputs:
        problems += tasks.beyond(artefact, output, shipped[output.name], actual[output.name])
    shares = {output.name: _alike(output, shipped[output.name], actual[output.name]) for output in artefact.outputs}
    labels = {output.name for output in artefact.outputs if output.role == LABELS}
    return Parity(
        tuple(problems[:_SHOWN]),
        found,
        [
            tasks.summary(output, expected[output.name], actual[output.name])
            for output in artefact.outputs
            if output.role != FEATURES
        ],
        min((share for name, share in shares.items() if name not in labels), default=None),
        min((share for name, share in shares.items() if name in labels), default=None),
    )


def figures(cls: NDArray[np.float64], patches: NDArray[np.float64]) -> dict[str, float]:
    return {
        "cls_cosine_mean": round(float(cls.mean()), 6),
        "patch_cosine_mean": round(float(patches.mean()), 6),
        "patch_cosine_p01": round(float(np.percentile(patches, 1)), 6),
    }


def oddities(name: str, values: NDArray[Any], expected: NDArray[Any]) -> list[str]:
    """What no sound output looks like."""
    finite = np.isfinite(values)
    if not finite.all():
        return [f"{name} holds {int((~finite).sum())} values that are NaN or infinite, of {values.size}"]
    if values.min() == values.max() and expected.min() != expected.max():
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
        elif actual[output.name].dtype != output.dtype:
            found.append(f"{output.name} is {actual[output.name].dtype}, not {output.dtype}")
    return found


def _blind(outputs: Sequence[Tensor], expected: Features, actual: Features) -> list[str]:
    """Whether frames whose outputs should differ give the very same ones: then the package does not look at its input."""
    for output in outputs:
        wanted, found = expected[output.name], actual[output.name]
        for one in range(len(found) - 1):
            pair = (wanted[one : one + 1], wanted[one + 1 : one + 2])
            if np.array_equal(found[one], found[one + 1]) and _alike(output, *pair, whole=True) < 1 - _LEAST_DIFFERENT:
                return [f"{output.name} is the same for golden frames {one} and {one + 1}: it does not look at them"]
    return []


def _alike(output: Tensor, expected: NDArray[Any], actual: NDArray[Any], *, whole: bool = False) -> float:
    """The smallest cosine of a feature vector, or of a frame's output where a head made it or the `whole` is asked for; the
    smallest share of a frame's labels that are the same."""
    if output.role != FEATURES or whole:
        expected, actual = (each.reshape(len(each), -1) for each in (expected, actual))
    if output.role == LABELS:
        return float((expected == actual).mean(axis=1).min())
    return float(cosines(expected, actual).min())
