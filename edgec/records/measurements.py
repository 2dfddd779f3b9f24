"""What a board measured, and the report that is made of it: here, for every family, and nowhere on a board.

`measurements.json` is written by the program on the board (edgec/onboard/measurements.py), also when somebody runs that by hand.
It is sealed. `read_report` reads it where it reads reports.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from edgec.errors import ArtefactError
from edgec.onboard.measurements import KIND
from edgec.records.base import Record
from edgec.records.evidence import Evidence
from edgec.records.fidelity import HeadFacts
from edgec.records.reading import read_record
from edgec.records.report import CandidateFigures, Conditions, Host, Latency, ModelFacts, Report
from edgec.untrusted import is_file

_HEAD = 64
"""Bytes at the beginning, in which `kind` stands: a sealed file is as it was written."""
_LONG = 200
"""Characters of a flag from which on a note leaves its value out: a list of layers fills pages."""


class Budget(Record):
    """What the user asked for, of features and of heads: as a report has it."""

    min_fidelity: float
    min_agreement: float | None = Field(default=None, gt=0, le=1)
    min_iou: float | None = Field(default=None, gt=0, le=1)
    max_depth_error: float | None = Field(default=None, gt=0)


class Timings(Conditions):
    """Every sample of one candidate, in milliseconds, and the board meanwhile; members as in `Latency`."""

    samples_ms: tuple[float, ...] = Field(min_length=1)
    threads: int = Field(default=1, ge=1)
    other_cores: float | None = Field(default=None, ge=0)
    cpu_mhz: dict[Literal["before", "meanwhile", "after", "most"], float] = Field(default={})
    """The mean of the CPU's cores before, while and after it measured, and the most that one can. Reports have it in words."""


class Measured(CandidateFigures):
    """One candidate, as far as it came. Its `latency` is made of the `timings`, whatever it says itself; `remarks` are sentences
    about its figures."""

    timings: Timings | None = None
    remarks: tuple[str, ...] = ()


class Measurements(Record):
    """Of one artefact on one board. `artefact_sha256` is of the manifest, where the board has it."""

    sealed_since: ClassVar[int | None] = 1

    kind: Literal["measurements"]
    schema_version: Literal[1] = 1
    created: str
    edgec_version: str
    artefact_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    model: ModelFacts
    target: str
    host_is_target: bool
    input_shape: tuple[int, int, int, int]
    precision_asked: str
    budget: Budget
    heads: tuple[HeadFacts, ...] = ()
    calibration: str
    validation_frames: int
    """Golden frames: a board has no others."""
    host: Host
    tool: str = ""
    """What built and measured, where that is a program with flags."""
    doubts: tuple[str, ...] = ()
    """Why nothing in it is measured on a target, as ends of a sentence."""
    remarks: tuple[str, ...] = ()
    candidates: tuple[Measured, ...]
    chosen: str | None
    """None: no candidate reproduces the features and could be measured, so that there is no report."""
    reason: str = ""
    details: dict[str, Any] = Field(default={})
    """What a family's program wrote down beside that, for people."""


def is_measurements(path: Path) -> bool:
    """Whether a file begins as measurements do; what cannot be read does not, and no pipe is waited for."""
    if not is_file(path):
        return False
    try:
        with path.open("rb") as file:
            return f'"kind": "{KIND}"'.encode() in file.read(_HEAD)
    except OSError:
        return False


def report_of(path: Path) -> Report:
    """The report of a board's measurements. Raises `ArtefactError` for what `read_record` refuses, and if nothing was chosen."""
    measurements = read_record(path, Measurements, "measurement file")
    if measurements.chosen is None:
        raise ArtefactError(
            f"There is no report of the measurements at {path}: nothing was chosen.",
            evidence=[f"{each.name}: {each.problem}" for each in measurements.candidates if each.problem],
        )
    return compose(measurements, measurements.chosen)


def compose(measurements: Measurements, chosen: str) -> Report:
    """The report of these measurements: everything as it was measured, latencies summarised, and `chosen` marked."""
    same = {name: getattr(measurements, name) for name in Report.model_fields if name in _SAME}
    return Report(
        **same,
        **measurements.budget.model_dump(),
        candidates=tuple(_candidate(each, each.name == chosen) for each in measurements.candidates),
        chosen=chosen,
        notes=tuple(_notes(measurements)),
    )


_SAME = Measurements.model_fields.keys() - {"schema_version", "candidates", "chosen"}
"""What a report has as it was measured."""


def _candidate(measured: Measured, chosen: bool) -> CandidateFigures:
    figures = {name: getattr(measured, name) for name in CandidateFigures.model_fields}
    return CandidateFigures(**figures | {"latency": measured.timings and _latency(measured.timings), "chosen": chosen})


def _latency(timings: Timings) -> Latency:
    return Latency.of(**{name: getattr(timings, name) for name in Timings.model_fields if name != "cpu_mhz"})


def _notes(measurements: Measurements) -> Iterator[str]:
    """What a reader of the figures must know and the schema has no place for."""
    yield from (f"Not {Evidence.TARGET.value}: {doubt}." for doubt in measurements.doubts)
    yield from measurements.remarks
    for each in measurements.candidates:
        if each.build_flags:
            yield f"{each.name} was built with {measurements.tool} {_shown(each.build_flags)}."
        if each.timings is not None:
            if each.timings.flags:
                yield f"{each.name} was measured with {measurements.tool} {_shown(each.timings.flags)}."
            yield from (f"{each.name}: {condition}." for condition in _conditions(each.timings))
        yield from (f"{each.name}: {remark}" for remark in each.remarks)


def _shown(flags: Sequence[str]) -> str:
    return " ".join(flag if len(flag) <= _LONG else f"{flag.partition('=')[0]}=…" for flag in flags)


def _conditions(timings: Timings) -> Iterator[str]:
    if timings.cpu_mhz:
        words = {"before": "before", "meanwhile": "while measuring", "after": "after", "most": "at most"}
        yield "CPU clock in MHz: " + ", ".join(
            f"{timings.cpu_mhz[name]:g} {text}" for name, text in words.items() if name in timings.cpu_mhz
        )
    if timings.temperatures_c:
        yield ", ".join(f"{zone} {first:g} to {last:g} °C" for zone, (first, last) in sorted(timings.temperatures_c.items()))
    if timings.power_mw:
        rails = (
            f"{rail} {mean / 1e3:.1f} W (at most {most / 1e3:.1f})" for rail, (mean, most) in sorted(timings.power_mw.items())
        )
        yield f"power while measuring: {', '.join(rails)}"
