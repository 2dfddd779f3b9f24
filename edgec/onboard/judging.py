"""Whether an engine reproduces what float32 computes: the verdict that boards activate by, in one place.

Frames come one after the other, golden ones, whose features and heads' outputs were recorded when the artefact was built.
"""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Optional, Sequence, Tuple

from .arithmetic import Arithmetic
from .documents import Tensor
from .tasks import FEATURES, LABELS, Meter, shortfalls
from .text import shorten

GATES = ("cls_cosine_mean", "patch_cosine_mean", "patch_cosine_p01")
"""What of the features is bounded: the mean cosine of CLS, of patches, and the first percentile of these, so that no corner of
the image is averaged away."""
BUDGET = ("min_fidelity", "min_agreement", "min_iou", "max_depth_error")
"""What a user may bound (edgec/fidelity/budget.py), by the names that artefacts and reports have for it."""
_LEAST_DIFFERENT = 1e-3

Bound = Mapping[str, float]
"""How far one frame's output of a head may be from what it is held against: of labels the least `agreement`, of others the least
`cosine` of the whole output and the largest `difference` as a share of the output's largest value."""


class Verdict(NamedTuple):
    """`figures` are by `GATES`, None where there are no features; `tasks` as reports have them. It passed if there are no
    problems."""

    problems: list[str]
    figures: dict[str, float] | None
    tasks: list[dict[str, Any]]
    frames: int


def figures(cls: Any, patches: Any, arithmetic: Arithmetic) -> dict[str, float]:
    """Of all cosines of CLS tokens and of patches."""
    found = (arithmetic.mean(cls), arithmetic.mean(patches), arithmetic.percentile(patches, 1))
    return dict(zip(GATES, (round(value, 6) for value in found)))


def below_gate(found: Mapping[str, float], gate: Mapping[str, float]) -> list[str]:
    """What is too low, a sentence each."""
    return [f"{name} is {found[name]:.6f}, and must be at least {gate[name]:g}" for name in GATES if found[name] < gate[name]]


def batches(count: int, size: int) -> list[list[int]]:
    """Which golden frames go through an engine together; a last batch that is not full repeats its last frame."""
    return [[min(index, count - 1) for index in range(start, start + size)] for start in range(0, count, size)]


Form = Tuple[Tuple[int, ...], Optional[str]]
"""Shape and type of an array; the type may be unknown."""


def misfits(expected: Mapping[str, Form], actual: Mapping[str, Form]) -> list[str]:
    """Outputs that are missing, or of another shape or type, a sentence each."""
    found = []
    for name, (shape, dtype) in expected.items():
        if name not in actual:
            found.append(f"there is no output {name}; there are {shorten(', '.join(sorted(actual)), 300) or 'none'}")
            continue
        there, kind = actual[name]
        if there != shape:
            found.append(f"{name} has shape {shorten(str(there))}, not {shape}")
        elif dtype is not None and kind is not None and kind != dtype:
            found.append(f"{name} is {kind}, not {dtype}")
    return found


def unfit(tensor: Tensor, values: Any, arithmetic: Arithmetic) -> str:
    """What is wrong with what was recorded of an output, which is to be finite and, of labels, a class each; empty if nothing
    is."""
    count, low, high = arithmetic.finite(values)
    if count < _size(values):
        return f"{tensor.name} holds NaN or Inf"
    if tensor.role == LABELS and (low < 0 or (tensor.classes and high >= tensor.classes)):
        return f"{tensor.name} holds labels from {low:g} to {high:g}"
    return ""


class Judge:
    """Gathers frames of an engine whose outputs are `tensors`.

    `gate` is the least that each of `GATES` may be, `budget` what the user asks of heads (as `tasks.shortfalls` takes it),
    `bounds` how far each head's output of one frame may be from what it is held against: what another machine's rounding
    explains. `largest` are the largest absolute values of heads' outputs in all frames.
    """

    def __init__(
        self,
        tensors: Sequence[Tensor],
        arithmetic: Arithmetic,
        *,
        gate: Mapping[str, float],
        budget: Mapping[str, float],
        bounds: Mapping[str, Bound],
        largest: Mapping[str, float],
    ) -> None:
        self._tensors, self._arithmetic = tensors, arithmetic
        self._gate, self._budget, self._bounds, self._largest = gate, budget, bounds, largest
        self._cosines: dict[str, list[Any]] = {"cls": [], "patches": []}
        self._meters = {
            each.name: Meter(each.name, each.role, arithmetic, classes=each.classes) for each in tensors if each.role != FEATURES
        }
        self._problems: list[str] = []
        self._frames = 0
        self._before: tuple[int, Mapping[str, Any], Mapping[str, Any]] | None = None
        self._blind = False

    def add(self, index: int, expected: Mapping[str, Any], actual: Mapping[str, Any], held: Mapping[str, Any]) -> None:
        """One frame's outputs: float32's, the engine's, and those that heads' bounds are about."""
        self._frames += 1
        for tensor in self._tensors:
            name, one, other = tensor.name, expected[tensor.name], actual[tensor.name]
            problems = self._oddities(name, one, other)
            if name in self._cosines:
                self._cosines[name].append(self._arithmetic.vectors(one, other, tensor.shape[-1]))
            elif name in self._meters:
                self._meters[name].add(one, other, 1, tensor.shape[1:])
                problems += self._beyond(tensor, held[name], other)
            self._problems += [f"frame {index}: {problem}" for problem in problems]
        self._look_for_blindness(index, expected, actual)
        self._before = (index, expected, actual)

    def verdict(self, misfits: Sequence[str] = ()) -> Verdict:
        """Of what was added. `misfits` are problems of outputs that could not be."""
        problems = [*misfits, *self._problems]
        cls, patches = self._cosines["cls"], self._cosines["patches"]
        found = None
        if cls and patches:
            joined = self._arithmetic.joined
            found = figures(joined(cls), joined(patches), self._arithmetic)
            problems += below_gate(found, self._gate)
        tasks = [meter.summary() for meter in self._meters.values()] if self._frames else []
        return Verdict([*problems, *shortfalls(tasks, self._budget)], found, tasks, self._frames)

    def _oddities(self, name: str, expected: Any, actual: Any) -> list[str]:
        """What no sound output looks like."""
        size, (count, low, high) = _size(actual), self._arithmetic.finite(actual)
        if count < size:
            return [f"{name} holds {size - count} values that are NaN or infinite, of {size}"]
        _, least, most = self._arithmetic.finite(expected)
        return [f"{name} is dead: all of its {size} values are {low:g}"] if low == high and least != most else []

    def _beyond(self, tensor: Tensor, held: Any, actual: Any) -> list[str]:
        name, bound, arithmetic = tensor.name, self._bounds[tensor.name], self._arithmetic
        if tensor.role == LABELS:
            same, least = arithmetic.agreement(held, actual), bound["agreement"]
            return [f"{name} has {same:.2%} of the labels expected, and must have at least {least:.2%}"] if same < least else []
        found = []
        cosine = float(arithmetic.vectors(held, actual, _size(held))[0])
        if cosine < bound["cosine"]:
            found.append(f"{name} has a cosine of {cosine:.6f} to what is expected, and must have at least {bound['cosine']:g}")
        share = arithmetic.difference(held, actual) / self._largest[name]
        if not share <= bound["difference"]:
            found.append(f"{name} differs by {share:.3g} of its largest value, and may by {bound['difference']:g}")
        return found

    def _look_for_blindness(self, index: int, expected: Mapping[str, Any], actual: Mapping[str, Any]) -> None:
        """Whether frames whose outputs should differ give the very same ones: then the engine does not look at its input."""
        if self._before is None or self._blind:
            return
        before, wanted, found = self._before
        arithmetic = self._arithmetic
        for tensor in self._tensors:
            name = tensor.name
            if arithmetic.agreement(found[name], actual[name]) < 1:
                continue
            pair = wanted[name], expected[name]
            alike = arithmetic.agreement(*pair) if tensor.role == LABELS else float(arithmetic.vectors(*pair, _size(pair[0]))[0])
            if alike < 1 - _LEAST_DIFFERENT:
                self._blind = True
                self._problems.append(f"{name} is the same for frames {before} and {index}: the engine does not look at them")
                return


def _size(values: Any) -> int:
    size: int = getattr(values, "size", None) or len(values)
    return size
