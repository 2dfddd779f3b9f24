"""Text of single cells: what tables in Markdown, on pages and in the terminal show alike."""

from __future__ import annotations

from edgec.onboard.figures import ABSENT as ABSENT
from edgec.onboard.figures import COSINE_DIGITS, kept, milliseconds, p99
from edgec.records.reading import printable
from edgec.records.report import YARDSTICK, CandidateFigures

REFERENCE_WORK = "reference work"
"""What people are told of the entry that reports call `YARDSTICK`."""


def number(value: float | None, style: str = ".2f") -> str:
    """`value` in that format; `ABSENT` for None."""
    return ABSENT if value is None else format(value, style)


def ms_cell(value: float | None) -> str:
    """Milliseconds without the unit; `ABSENT` for None."""
    return ABSENT if value is None else milliseconds(value)


def cosine_cell(value: float | None, digits: int = COSINE_DIGITS) -> str:
    """A model that gives no features has no cosines."""
    return ABSENT if value is None else kept(value, digits)


def p99_cell(candidate: CandidateFigures) -> str:
    """In milliseconds; `ABSENT` where too few runs were recorded to have one."""
    latency = candidate.latency
    return ABSENT if latency is None else p99(latency.p99_ms, latency.iterations)


def megabytes(size_bytes: float | None, digits: int = 1) -> str:
    """In 10^6 bytes, without the unit."""
    return number(None if size_bytes is None else size_bytes / 1e6, f".{digits}f")


def candidate_name(candidate: CandidateFigures) -> str:
    """Its name, with a remark if it is the one that ships."""
    return mark_chosen(candidate.name, chosen=candidate.chosen)


def mark_chosen(name: str, *, chosen: bool) -> str:
    """A candidate's or a stage's name on one line, with a remark if it is what ships."""
    return (REFERENCE_WORK if name == YARDSTICK else printable(name)) + " (chosen)" * chosen


def shortened(name: str, most: int, begin: int) -> str:
    """At most `most` characters: the first `begin` of them and the end, where names that resemble each other differ."""
    line = printable(name)
    return line if len(line) <= most else f"{line[:begin]}…{line[begin + 1 - most :]}"


def likely_cell(likely_ms: tuple[float, float] | None) -> str:
    """An estimated range in ms, in no more digits than it has."""
    return ABSENT if likely_ms is None else f"{likely_ms[0]:g}..{likely_ms[1]:g}"
