"""Waves: how many boards have a release before the others get it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from edgec.errors import RequestError

ALL = "100%"
_PART = re.compile(r"(\d{1,6})(%?)")


@dataclass(frozen=True)
class Waves:
    """`text` as it was given: "1,10%,100%"."""

    text: str
    parts: tuple[tuple[int, bool], ...]
    """Numbers, and whether each is a percentage of all boards."""

    @classmethod
    def parse(cls, text: str) -> Waves:
        """Raises `RequestError` for what is not a list of growing numbers and percentages."""
        found = [_PART.fullmatch(part.strip()) for part in text.split(",")]
        parts = tuple((int(match[1]), bool(match[2])) for match in found if match)
        wrong = len(parts) < len(found) or any(number < 1 or (share and number > 100) for number, share in parts)
        for kind in (False, True):
            numbers = [number for number, share in parts if share is kind]
            wrong = wrong or numbers != sorted(set(numbers))
        if wrong:
            raise RequestError(
                f"{text[:60]!r} are not waves.",
                evidence="they are numbers of boards, and percentages of all of them, that grow",
                remedy="give them as --wave 1,10%,100%",
            )
        return cls(text, parts)

    def targets(self, boards: int) -> list[int]:
        """How many of so many boards have the release at the end of each wave: more each time. A percentage is rounded up."""
        counts = [min(boards, math.ceil(number * boards / 100) if share else number) for number, share in self.parts]
        growing: list[int] = []
        for count in counts:
            if not growing or count > growing[-1]:
                growing.append(count)
        return growing
