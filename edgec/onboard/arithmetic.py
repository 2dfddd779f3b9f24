"""What judging computes of arrays, twice: in `vectorised` with numpy, in `plain` for boards that have none. Everything that is
made of these numbers is written once, in `tasks` and `judging`; a test holds the two against each other.

Arrays are of one or several frames, in rows; `plain`'s are flat. Whoever calls has compared their sizes.
"""

from __future__ import annotations

from typing import Any, Counter, NamedTuple, Protocol, Sequence, Tuple

MOST_CLASSES = 4096
"""Labels from here on are garbage, where nobody says how many classes there are."""
GARBAGE = 1e6
"""The relative error of a depth that is not finite: it must not average away, and JSON has no infinity."""

Pairs = Counter[Tuple[int, int]]
"""How many pixels have this expected and this actual label; -1 for what is no class."""


class Scores(NamedTuple):
    """Of frames' class scores: how often the top class is the expected one, and margins, which are the score of the class that
    was expected less the best of the others: two sums and the smallest actual one. A frame that is not finite agrees with
    nothing."""

    agreed: int
    margins_expected: float
    margins_actual: float
    smallest: float


class Depths(NamedTuple):
    """Sums over so many `pixels` of the error relative to the expected depth, at most `GARBAGE`, and of its square."""

    relative: float
    squared: float
    pixels: int


class Arithmetic(Protocol):
    """Both modules are one."""

    def vectors(self, expected: Any, actual: Any, width: int) -> Any:
        """The cosine of every vector of `width` values to its expected one. A vector that is not finite, or zero where the
        expected one is not, has cosine -1: garbage must not average away."""

    def joined(self, parts: Sequence[Any]) -> Any:
        """Several of what `vectors` gives as one."""

    def total(self, values: Any) -> float: ...

    def mean(self, values: Any) -> float: ...

    def percentile(self, values: Any, percent: float) -> float:
        """Interpolated linearly between the two nearest ranks."""

    def finite(self, values: Any) -> tuple[int, float, float]:
        """How many values are finite, and the smallest and the largest of these."""

    def largest(self, values: Any) -> float:
        """The largest absolute value, and never zero."""

    def difference(self, expected: Any, actual: Any) -> float:
        """The largest absolute one; infinity for what is not finite."""

    def agreement(self, expected: Any, actual: Any) -> float:
        """The share of values that are the same."""

    def scores(self, expected: Any, actual: Any, classes: int) -> Scores: ...

    def labels(self, expected: Any, actual: Any, classes: int = 0) -> Pairs:
        """`classes` is how many there are, where that is known."""

    def logits(self, expected: Any, actual: Any, classes: int, pixels: int) -> Pairs:
        """Of [frames, classes, pixels], by what they choose."""

    def depths(self, expected: Any, actual: Any) -> Depths: ...
