"""A statement: one property of the model or of its preprocessing, its value, and where that stands."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from edgec.errors import AmbiguousCheckpoint, MismatchedWeights, UnreadableCheckpoint
from edgec.text import listed, shown

_TITLES: Final = {
    "heads": "the number of attention heads",
    "norm_eps": "the norms' epsilon",
    "rope_theta": "the base of the rotary periods",
    "normalisation": "how pixels are normalised",
    "pooling": "what the classifier reads",
    "activation": "the activation",
}

Value = float | int | bool | str | tuple[float, ...]


@dataclass(frozen=True)
class Statement:
    """`where` names the file or the place in the container, and the key: "config.json: num_attention_heads".

    `default` says that the key is absent and the author's code then takes this value: any written statement overrides it.
    `component` is the part of a training file that it is about, such as "student"; empty: the weights that are used.
    """

    property: str
    value: Value
    where: str
    default: bool = False
    component: str = ""

    def __str__(self) -> str:
        value = " ".join(f"{each:g}" for each in self.value) if isinstance(self.value, tuple) else shown(self.value, 60)
        return f"{self.where} says {value}" if not self.default else f"{self.where}: {value}"


class Conflict(AmbiguousCheckpoint):
    """Two statements about one property differ."""

    def __init__(self, name: str, statements: Iterable[Statement]) -> None:
        super().__init__(
            f"This checkpoint contradicts itself about {_TITLES.get(name, name.replace('_', ' '))}.",
            evidence=[str(statement) for statement in statements][:8],
            remedy="correct the one that is wrong, or give --config FILE, a JSON file that alone is believed "
            '(such as {"num_attention_heads": 6, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]})',
        )


@dataclass
class Statements:
    """All statements about one checkpoint. `unread` are keys that its author's code does not read either; they are reported."""

    entries: list[Statement] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    """Files that may state something and could not be read."""

    def add(self, name: str, value: Value | None, where: str, *, default: bool = False, component: str = "") -> None:
        """A statement that the property `name` is `value`; nothing if it is None. The rest is as in `Statement`."""
        if value is not None:
            self.entries.append(Statement(name, value, where, default, component))

    def about(self, name: str) -> list[Statement]:
        """The statements about a property: written ones, or else the defaults of the author's code."""
        every = [statement for statement in self.entries if statement.property == name]
        return [statement for statement in every if not statement.default] or every

    def one(self, name: str) -> Statement | None:
        """The statement about `name`; None if there is none. Raises `Conflict` if two differ."""
        every = self.about(name)
        if any(not same(every[0].value, other.value) for other in every[1:]):
            raise Conflict(name, every)
        return every[0] if every else None

    def number(self, name: str, default: float) -> float:
        """The stated number, or `default`. Raises `Conflict`, or `UnreadableCheckpoint` unless it is positive and finite."""
        statement = self.one(name)
        if statement is None:
            return default
        value = statement.value
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
            raise UnreadableCheckpoint(
                f"{statement.where} is not usable.", evidence=f"it is {shown(value)}; needed a positive number"
            )
        return float(value)

    def whole(self, name: str) -> int | None:
        """The stated positive whole number; None if there is no statement. Raises as `number`."""
        statement = self.one(name)
        if statement is None:
            return None
        value = self.number(name, 1)
        if value != int(value):
            raise UnreadableCheckpoint(f"{statement.where} is not usable.", evidence=f"it is {value:g}; needed a whole number")
        return int(value)

    def check(self, name: str, actual: Value) -> None:
        """Raises `MismatchedWeights` if a statement differs from what the weights have, `actual`."""
        for statement in self.about(name):
            if not same(statement.value, actual):
                raise MismatchedWeights(
                    f"{statement.where} and the weights disagree.",
                    evidence=f"{statement}, the weights have {_text(actual)}",
                    remedy="take both from the same checkpoint, or give --config FILE (--config none: believe the weights alone)",
                )

    def only(self, components: Sequence[str], others: Sequence[str]) -> Statements:
        """Without the statements about a component of `others`, the backbones that are not used, unless the one that is used has
        that component too."""
        entries = [
            each for each in self.entries if not each.component or each.component in components or each.component not in others
        ]
        return Statements(entries, self.unread, self.unreadable)

    def rows(self) -> list[str]:
        """A line a statement, for `inspect`."""
        lines = [f"{statement.property.replace('_', ' ')}: {statement}" for statement in self.entries if not statement.default]
        if self.unread:
            lines.append(f"not read by the author's code either: {listed(self.unread)}")
        return lines


def same(first: Value, second: Value) -> bool:
    """Whether two values are equal; numbers may differ by rounding (1e-5 of their size)."""
    if isinstance(first, tuple) and isinstance(second, tuple):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, (int, float)) and isinstance(second, (int, float)):
        return math.isclose(first, second, rel_tol=1e-5, abs_tol=1e-12)
    return first == second


def _text(value: Value) -> str:
    return " ".join(f"{each:g}" for each in value) if isinstance(value, tuple) else str(value)
