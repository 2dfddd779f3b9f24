"""The files that trtexec exports, to the space as samples/common/sampleReporting.cpp writes them."""

from __future__ import annotations

import math

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from standin.inference import Output

Phases = tuple[float, float, float, float]
"""Beginning of a run, and milliseconds of copying in, computing and copying out."""


def number(value: float) -> str:
    """As a C++ stream prints a float: six digits, and words for what is no number."""
    if math.isnan(value):
        return "-nan" if math.copysign(1, value) < 0 else "nan"
    if math.isinf(value):
        return "-inf" if value < 0 else "inf"
    return f"{value:.6g}"


def write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def write_outputs(path: str, outputs: list[Output], *, torn: bool) -> None:
    parts, separator = ["[\n"], "  "
    for output in outputs:
        parts.append(f'{separator}{{ "name" : "{output.name}"\n')
        separator = ", "
        parts.append(f'  {separator}"dimensions" : "{"x".join(map(str, output.shape))}"\n')
        parts.append(f'  {separator}"values" : [ {separator.join(map(number, output.values))} ]\n  }}\n')
    text = "".join([*parts, "]\n"])
    write(path, text[: len(text) // 2] if torn else text)


class Trace:
    """Runs one after the other on a clock of their own, so that a told latency takes no time."""

    def __init__(self, run: Callable[[], float], transfers: bool) -> None:
        self._run = run
        self._copy = 0.05 if transfers else 0.0

    def take(self, warm_up: float, duration: float, iterations: int) -> tuple[int, list[Phases]]:
        """How many runs warmed up, and the others: as long and as many as asked for, whichever is more."""
        clock, skipped, kept = 0.0, 0, []
        while clock < warm_up + duration or len(kept) < iterations:
            phases = (clock, self._copy, self._run(), self._copy)
            if clock < warm_up:
                skipped += 1
            else:
                kept.append(phases)
            clock += sum(phases[1:])
        return skipped, kept


def write_times(path: str, times: list[Phases]) -> None:
    parts, separator = ["[\n"], "  "
    for start, copy_in, compute, copy_out in times:
        points = [start, start + copy_in, start + copy_in + compute, start + copy_in + compute + copy_out]
        fields = [
            ("startEnqMs", start),
            ("endEnqMs", start + 0.01),
            ("startH2dMs", points[0]),
            ("endH2dMs", points[1]),
            ("startComputeMs", points[1]),
            ("endComputeMs", points[2]),
            ("startD2hMs", points[2]),
            ("endD2hMs", points[3]),
            ("h2dMs", copy_in),
            ("computeMs", compute),
            ("d2hMs", copy_out),
            ("latencyMs", copy_in + compute + copy_out),
        ]
        parts.append(separator + "{ " + ", ".join(f'"{name}" : {number(value)}' for name, value in fields) + " }\n")
        separator = ", "
    write(path, "".join([*parts, "]\n"]))


def write_profile(path: str) -> None:
    step = '{ "name" : "all of it", "timeMs" : 1, "averageMs" : 1, "medianMs" : 1, "percentage" : 100 }'
    write(path, f'[\n  {{ "count" : 1 }}\n, {step}\n]\n')
