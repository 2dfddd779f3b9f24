"""What can be said of a latency that nobody has measured."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgec.records.base import Record
from edgec.records.evidence import Evidence


class Bound(Record):
    """The least time that a board could take for a batch, from data sheets: a bound, not a latency to expect."""

    board: str
    power_mode: str
    bound_ms: float = Field(ge=0)
    limited_by: Literal["compute", "memory"]
    estimate_ms: float | None = Field(default=None, ge=0)
    """What a batch would take if nothing that passes between kernels stayed in a cache and each launch had its usual cost: where
    the graph was compiled, so that kernels and traffic are known. The truth may lie on either side of it."""
    likely_ms: tuple[float, float] | None = None
    """The range in which a batch's time is likely to lie, from published figures of like engines; None where there are none. The
    report's notes give the reasoning."""
    evidence: Evidence = Evidence.ESTIMATED
