"""Figures as people read them: one way of rounding for every table, sentence and page, on boards and on workstations alike."""

from __future__ import annotations

import math

ABSENT = "-"
COSINE_DIGITS = 5
_RECORDED = 6
"""Decimals of cosines and shares in reports."""
RUNS_FOR_P99 = 100
"""By nearest rank, p99 of fewer runs is the longest of them (`edgec.onboard.statistics.Summary`)."""


def kept(value: float, digits: int = COSINE_DIGITS) -> str:
    """A cosine, an IoU or another share of 1 that is kept, rounded down: 1.00000 is said of nothing that has lost something, and
    no bound is kept by rounding alone."""
    if not math.isfinite(value):
        return str(value)
    scale = 10**digits
    return "{:.{}f}".format(math.floor(round(round(value, _RECORDED) * scale, 3)) / scale, digits)


def percentage(share: float, digits: int = 2) -> str:
    """A share of 1 that is kept, in percent, rounded down as `kept`."""
    if not math.isfinite(share):
        return str(share)
    scale = 10**digits
    return "{:.{}f}%".format(math.floor(round(round(share, _RECORDED) * 100 * scale, 3)) / scale, digits)


def milliseconds(value: float) -> str:
    """Without the unit: two decimals, three below one millisecond."""
    return f"{value:.2f}" if value >= 0.9995 or value <= 0 else f"{value:.3f}"


def p99(value: float, runs: int) -> str:
    """A p99 in milliseconds of so many runs; `ABSENT` where they are too few to have one that is not their longest."""
    return milliseconds(value) if runs >= RUNS_FOR_P99 else ABSENT


def rate(ms: float, batch: int = 1) -> float | None:
    """Frames a second, of batches that take `ms` each; None for no time at all."""
    return 1000 * batch / ms if ms > 0 else None


def per_second(value: float | None) -> str:
    """Frames a second, without the unit: a decimal below 100."""
    if value is None:
        return ABSENT
    return f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def factors(value: float, *others: float) -> tuple[str, ...]:
    """How many times as much: a decimal from 2 on, two below; `others` with as many, so that an interval can be read."""
    digits = 1 if value >= 2 else 2
    return tuple(f"{each:.{digits}f}" for each in (value, *others))
