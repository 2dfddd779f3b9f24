"""What judging computes of arrays. It is written twice: in `vectorised` with numpy, in `plain` for boards without it; a test
compares the two. Everything that is made of these numbers is written once, in `tasks` and `judging`.

Arrays hold one or several frames, in rows; `plain`'s are flat. Callers have checked that their sizes agree.
"""

from __future__ import annotations

from typing import Any, Counter, NamedTuple, Protocol, Sequence, Tuple

MOST_CLASSES = 4096
"""Labels from this one on are garbage, if the number of classes is not known."""
GARBAGE = 1e6
"""The relative error of a depth that is not finite: it must show in an average, and JSON has no infinity."""

Pairs = Counter[Tuple[int, int]]
"""How many pixels have each pair of an expected and an actual label; -1 is a label of no class."""


class Scores(NamedTuple):
    """Sums over frames' class scores: how often the top class is the expected one, and margins (the expected class's score minus
    the best of the others): the sums of the expected and of the actual ones, and the smallest actual one. A frame that is not
    finite does not agree."""

    agreed: int
    margins_expected: float
    margins_actual: float
    smallest: float


class Depths(NamedTuple):
    """Sums over all `pixels`: `relative` of the error divided by the expected depth, each at most `GARBAGE`; `squared` of the
    error's square."""

    relative: float
    squared: float
    pixels: int


class Arithmetic(Protocol):
    """The functions that both modules have. The arrays that one module takes and returns are its own kind."""

    def vector_cosines(self, expected: Any, actual: Any, width: int) -> Any:
        """The cosine of every vector of `width` values with its expected one. A vector that is not finite, or zero where the
        expected one is not, has cosine -1: garbage must show in an average."""

    def joined(self, parts: Sequence[Any]) -> Any:
        """Several results of `vector_cosines` as one."""

    def total(self, values: Any) -> float:
        """The sum, in float64."""

    def mean(self, values: Any) -> float:
        """The arithmetic mean, in float64."""

    def percentile(self, values: Any, percent: float) -> float:
        """Interpolated linearly between the two nearest ranks."""

    def finite(self, values: Any) -> tuple[int, float, float]:
        """How many values are finite, and the smallest and the largest of these; 0 and 0 if none is."""

    def largest(self, values: Any) -> float:
        """The largest absolute value, but never zero."""

    def difference(self, expected: Any, actual: Any) -> float:
        """The largest absolute difference; infinity if any value is not finite."""

    def agreement(self, expected: Any, actual: Any) -> float:
        """The share of values that are equal."""

    def scores(self, expected: Any, actual: Any, classes: int) -> Scores:
        """Sums over frames of [frames, classes]."""

    def labels(self, expected: Any, actual: Any, classes: int = 0) -> Pairs:
        """Pairs of labels, by pixel. `classes` is their number, 0 if it is not known."""

    def logits(self, expected: Any, actual: Any, classes: int, pixels: int) -> Pairs:
        """Pairs of the labels with the highest logits in [frames, classes, pixels]."""

    def depths(self, expected: Any, actual: Any) -> Depths:
        """Sums over all pixels."""

    def squared_distance(self, vector: Any, mean: Any, weights: Any, axes: Any) -> float:
        """The squared length of d = (vector - mean) * weights, less the squares of its products with each of `axes`, in float64.
        Not finite if the vector is not."""
