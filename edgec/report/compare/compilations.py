"""What a vendor's compiler made of both sides' graphs: counts, which are the same at each run, so that any growth is real."""

from __future__ import annotations

from dataclasses import dataclass

from edgec.records.compilation import Compilation
from edgec.records.reading import printable
from edgec.report.compare.sides import Side

COUNTS = {
    "kernels": ("kernels", 1.0, ""),
    "moved_bytes": ("bytes moved", 1e6, " MB"),
    "constant_bytes": ("bytes of constants read", 1e6, " MB"),
    "activation_bytes": ("activation memory", 1e6, " MB"),
    "weights_bytes": ("weight memory", 1e6, " MB"),
}
"""By field of `Compilation`: what it is called, what it is divided by for people, and its unit."""


@dataclass(frozen=True)
class CountChange:
    """One count for one kind of GPU."""

    sm: str
    field: str
    first: int
    second: int

    def grew_by(self, percent: float) -> bool:
        """Whether the second side's count is higher by more than `percent` of the first's."""
        return self.second > self.first * (1 + percent / 100)

    @property
    def words(self) -> str:
        """For people, as "kernels for SM 86 rose from 112 to 148"."""
        title, unit, name = COUNTS[self.field]
        digits = 0 if unit == 1.0 else 2
        ends = (f"{value / unit:.{digits}f}{name}" for value in (self.first, self.second))
        return f"{title} for SM {self.sm} {'rose' if self.second > self.first else 'fell'} from {' to '.join(ends)}"


@dataclass(frozen=True)
class Compilations:
    """`changes` of counts that differ; `apart` is why something is not compared, in words; `refused`: what the second side's
    compiler refuses and the first one's took."""

    changes: tuple[CountChange, ...] = ()
    apart: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


def compare_compilations(first: Side, second: Side) -> Compilations:
    """Empty where neither side was compiled."""
    ones, twos = ({each.sm: each for each in side.candidate.compilations} for side in (first, second))
    changes: list[CountChange] = []
    apart, refused = [], []
    for sm in dict.fromkeys((*ones, *twos)):
        one, two = ones.get(sm), twos.get(sm)
        if one is None or two is None:
            apart.append(f"only {printable((second if one is None else first).name)} was compiled for SM {sm}")
        elif one.compiler != two.compiler:
            apart.append(f"compiled for SM {sm} by {printable(one.compiler)} and by {printable(two.compiler)}")
        elif one.accepted and not two.accepted:
            refused.append(f"{printable(two.compiler)} refuses it for SM {sm}: {printable(two.refusal)}")
        elif one.accepted and two.accepted:
            changes += _changes(sm, one, two)
    return Compilations(tuple(changes), tuple(apart), tuple(refused))


def _changes(sm: str, one: Compilation, two: Compilation) -> list[CountChange]:
    pairs = [CountChange(sm, field, getattr(one, field), getattr(two, field)) for field in COUNTS]
    return [change for change in pairs if change.first != change.second]
