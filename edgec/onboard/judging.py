"""Whether an engine reproduces what float32 computes: the one verdict that decides what boards activate.

It is given the golden frames one after the other, whose features and heads' outputs were recorded when the artefact was built.
"""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Optional, Sequence, Tuple

from .arithmetic import Arithmetic
from .documents import Tensor
from .tasks import FEATURES, LABELS, Meter, shortfalls
from .text import shorten

GATES = ("cls_cosine_mean", "patch_cosine_mean", "patch_cosine_p01")
"""The figures of the features that are bounded: the mean cosine of CLS, the mean cosine of patches, and the patches' first
percentile, in which a bad corner of the image shows."""
BUDGET = ("min_fidelity", "min_agreement", "min_iou", "max_depth_error")
"""What a user may bound (edgec/fidelity/budget.py), by its names in artefacts and reports."""
_LEAST_DIFFERENT = 1e-3

HeadBound = Mapping[str, float]
"""How far a head's output of one frame may be from the recorded one: for labels the least `agreement`, for others the least
`cosine` of the whole output and the largest `difference` as a share of the output's largest value."""


class Verdict(NamedTuple):
    """The engine passed if there are no `problems`. `figures` are by name in `GATES`, None without features; `tasks` are as in
    reports."""

    problems: list[str]
    figures: dict[str, float] | None
    tasks: list[dict[str, Any]]
    frames: int


def figures(cls: Any, patches: Any, arithmetic: Arithmetic) -> dict[str, float]:
    """The figures in `GATES`, from the cosines of all CLS tokens and of all patches."""
    values = (arithmetic.mean(cls), arithmetic.mean(patches), arithmetic.percentile(patches, 1))
    return dict(zip(GATES, (round(value, 6) for value in values)))


def below_gate(actual: Mapping[str, float], gate: Mapping[str, float]) -> list[str]:
    """Which figures are too low, a sentence each."""
    return [f"{name} is {actual[name]:.6f}, and must be at least {gate[name]:g}" for name in GATES if actual[name] < gate[name]]


def batches(count: int, size: int) -> list[list[int]]:
    """Indices of the golden frames in each batch. If the last batch is not full it repeats its last frame."""
    return [[min(index, count - 1) for index in range(start, start + size)] for start in range(0, count, size)]


Form = Tuple[Tuple[int, ...], Optional[str]]
"""An array's shape and type; the type is None if it is not known."""


def shape_problems(expected: Mapping[str, Form], actual: Mapping[str, Form]) -> list[str]:
    """Which outputs are missing, or have another shape or type, a sentence each."""
    problems = []
    for name, (shape, dtype) in expected.items():
        if name not in actual:
            problems.append(f"there is no output {name}; there are {shorten(', '.join(sorted(actual)), 300) or 'none'}")
            continue
        actual_shape, actual_dtype = actual[name]
        if actual_shape != shape:
            problems.append(f"{name} has shape {shorten(str(actual_shape))}, not {shape}")
        elif dtype is not None and actual_dtype is not None and actual_dtype != dtype:
            problems.append(f"{name} is {actual_dtype}, not {dtype}")
    return problems


def golden_problem(tensor: Tensor, values: Any, arithmetic: Arithmetic) -> str:
    """What is wrong with the recorded values of an output: they must be finite and, if they are labels, be classes. Empty if
    nothing is."""
    count, low, high = arithmetic.finite(values)
    if count < _size(values):
        return f"{tensor.name} holds NaN or Inf"
    if tensor.role == LABELS and (low < 0 or (tensor.classes and high >= tensor.classes)):
        return f"{tensor.name} holds labels from {low:g} to {high:g}"
    return ""


class Judge:
    """Collects frames of an engine whose outputs are `tensors`.

    `gate` is the least value of each of `GATES`, `budget` the user's bounds on heads (as `tasks.shortfalls` takes them), `bounds`
    how far each head's output of one frame may be from the recorded one: what another machine's rounding explains. `largest` are
    the largest absolute values of heads' outputs over all frames.
    """

    def __init__(
        self,
        tensors: Sequence[Tensor],
        arithmetic: Arithmetic,
        *,
        gate: Mapping[str, float],
        budget: Mapping[str, float],
        bounds: Mapping[str, HeadBound],
        largest: Mapping[str, float],
    ) -> None:
        self._tensors, self._arithmetic = tensors, arithmetic
        self._gate, self._budget, self._bounds, self._largest = gate, budget, bounds, largest
        self._cosines: dict[str, list[Any]] = {"cls": [], "patches": []}
        self._meters = {
            tensor.name: Meter(tensor.name, tensor.role, arithmetic, classes=tensor.classes)
            for tensor in tensors
            if tensor.role != FEATURES
        }
        self._problems: list[str] = []
        self._frames = 0
        self._previous: tuple[int, Mapping[str, Any], Mapping[str, Any]] | None = None
        self._ignores_input = False

    def add(self, index: int, expected: Mapping[str, Any], actual: Mapping[str, Any], recorded: Mapping[str, Any]) -> None:
        """Add one frame's outputs: float32's, the engine's, and the recorded ones that heads' bounds refer to."""
        self._frames += 1
        for tensor in self._tensors:
            name, one, other = tensor.name, expected[tensor.name], actual[tensor.name]
            problems = self._implausible(name, one, other)
            if name in self._cosines:
                self._cosines[name].append(self._arithmetic.vector_cosines(one, other, tensor.shape[-1]))
            elif name in self._meters:
                self._meters[name].add(one, other, 1, tensor.shape[1:])
                problems += self._out_of_bounds(tensor, recorded[name], other)
            self._problems += [f"frame {index}: {problem}" for problem in problems]
        self._check_input_matters(index, expected, actual)
        self._previous = (index, expected, actual)

    def verdict(self, shape_problems: Sequence[str] = ()) -> Verdict:
        """The verdict on the frames that were added. `shape_problems` are those of outputs that could not be added."""
        problems = [*shape_problems, *self._problems]
        cls, patches = self._cosines["cls"], self._cosines["patches"]
        actual = None
        if cls and patches:
            joined = self._arithmetic.joined
            actual = figures(joined(cls), joined(patches), self._arithmetic)
            problems += below_gate(actual, self._gate)
        tasks = [meter.summary() for meter in self._meters.values()] if self._frames else []
        return Verdict([*problems, *shortfalls(tasks, self._budget)], actual, tasks, self._frames)

    def _implausible(self, name: str, expected: Any, actual: Any) -> list[str]:
        """Values that a working engine never computes."""
        size, (count, low, high) = _size(actual), self._arithmetic.finite(actual)
        if count < size:
            return [f"{name} holds {size - count} values that are NaN or infinite, of {size}"]
        _, least, most = self._arithmetic.finite(expected)
        return [f"{name} is constant: all of its {size} values are {low:g}"] if low == high and least != most else []

    def _out_of_bounds(self, tensor: Tensor, recorded: Any, actual: Any) -> list[str]:
        name, bound, arithmetic = tensor.name, self._bounds[tensor.name], self._arithmetic
        if tensor.role == LABELS:
            share, least = arithmetic.agreement(recorded, actual), bound["agreement"]
            return [f"{name} has {share:.2%} of the expected labels, and must have at least {least:.2%}"] if share < least else []
        problems = []
        cosine = float(arithmetic.vector_cosines(recorded, actual, _size(recorded))[0])
        if cosine < bound["cosine"]:
            problems.append(
                f"{name} has a cosine of {cosine:.6f} with what is expected, and must have at least {bound['cosine']:g}"
            )
        share = arithmetic.difference(recorded, actual) / self._largest[name]
        if not share <= bound["difference"]:
            problems.append(f"{name} differs by {share:.3g} of its largest value; at most {bound['difference']:g} is allowed")
        return problems

    def _check_input_matters(self, index: int, expected: Mapping[str, Any], actual: Mapping[str, Any]) -> None:
        """Notes a problem if two frames in a row have equal outputs that should differ: the engine ignores its input."""
        if self._previous is None or self._ignores_input:
            return
        previous, previous_expected, previous_actual = self._previous
        arithmetic = self._arithmetic
        for tensor in self._tensors:
            name = tensor.name
            if arithmetic.agreement(previous_actual[name], actual[name]) < 1:
                continue
            one, other = previous_expected[name], expected[name]
            if tensor.role == LABELS:
                alike = arithmetic.agreement(one, other)
            else:
                alike = float(arithmetic.vector_cosines(one, other, _size(one))[0])
            if alike < 1 - _LEAST_DIFFERENT:
                self._ignores_input = True
                # First: it explains all others.
                self._problems.insert(0, f"{name} is the same for frames {previous} and {index}: the engine ignores its input")
                return


def _size(values: Any) -> int:
    size: int = getattr(values, "size", None) or len(values)
    return size
