"""sweep.json: what became of every cell, and what each artefact means for a camera. Times are milliseconds, sizes are bytes.

It is written again whenever a cell has ended, so that a sweep that was interrupted has a report of what it had done; `unfinished`
are the other cells. The artefacts have reports of their own, with every candidate and sample; here is what is compared between
them. It is sealed (`edgec.onboard.seal`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from pydantic import Field

from edgec.onboard import seal
from edgec.records.base import Record, only_version
from edgec.records.evidence import Evidence
from edgec.records.reading import read_record
from edgec.records.report import DIALECT
from edgec.records.report import SWEEP as SWEEP

SCHEMA_VERSION: Final = 3

Verdict = Literal["yes", "no", "cannot tell", "failed"]


class LatencyFacts(Record):
    """As the cell's report has it."""

    p50_ms: float = Field(ge=0)
    p99_ms: float = Field(ge=0)
    iterations: int = Field(ge=1)
    other_cores: float | None = Field(default=None, ge=0)
    """As in a report: how many cores other work kept busy meanwhile."""
    evidence: Evidence


class BoundFacts(Record):
    """The least time that the board could take in its fastest mode."""

    bound_ms: float = Field(ge=0)
    power_mode: str
    evidence: Evidence


class FidelityFacts(Record):
    """`worst_cosine` is the smallest of the three that the budget bounds."""

    worst_cosine: float = Field(ge=-1.0001, le=1.0001)
    patch_cosine_mean: float = Field(ge=-1.0001, le=1.0001)
    frames: int = Field(ge=1)
    evidence: Evidence


class MemoryFacts(Record):
    """Of a process with the runtime and the model."""

    peak_rss_bytes: int = Field(ge=0)
    evidence: Evidence


class Cell(Record):
    """One artefact of the matrix, and what became of it in this sweep."""

    name: str
    checkpoint: str
    target: str
    size: tuple[int, int]
    """Height and width."""
    precision: str
    """As asked for."""
    state: Literal["done", "failed"]
    reused: bool = False
    """The artefact was there already, so nothing was done."""
    measured_alone: bool = False
    """No other cell of a sweep worked on that machine while this one measured, in this sweep."""
    exit_code: int
    error: str = ""
    detail: tuple[str, ...] = ()
    log: str
    """Of the last attempt, relative to sweep.json; so is `artefact`. Empty if no attempt came that far."""
    artefact: str | None = None
    build_key: str | None = None
    artefact_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    machine: str = ""
    seconds: float = Field(ge=0)
    """What the cell took in this sweep."""


class Answer(Record):
    """Whether one candidate on one board does what is asked. `board` is the target itself where that is one machine."""

    cell: str
    board: str
    verdict: Verdict
    why: str
    candidate: str = ""
    precision: str = ""
    latency: LatencyFacts | None = None
    bound: BoundFacts | None = None
    fidelity: FidelityFacts | None = None
    memory: MemoryFacts | None = None
    size_bytes: int | None = Field(default=None, ge=0)
    """Of the model's files."""
    doubts: tuple[str, ...] = ()


class SweepReport(Record):
    """The contents of sweep.json."""

    sealed_since: ClassVar[int | None] = 3

    schema_version: Literal[3] = SCHEMA_VERSION
    edgec_version: str
    created: str
    """UTC, ISO 8601."""
    fps: float = Field(gt=0)
    min_fidelity: float = Field(gt=0, le=1)
    cells: tuple[Cell, ...]
    """Those that have ended, in the matrix's order."""
    unfinished: tuple[str, ...] = ()
    """Names of the cells that had not ended when this was written: the sweep was at work, or was interrupted."""
    answers: tuple[Answer, ...]
    """Sorted by verdict: yes, cannot tell, no, failed; within each the largest input first, then the fastest."""

    def to_json(self) -> str:
        """As the file has it: sealed."""
        return seal.sealed(self.model_dump_json(indent=1))


UPGRADES: Final[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    version: only_version(version + 1) for version in range(1, SCHEMA_VERSION)
}
"""By version: from what it wrote, not yet checked, to the next version. The second has `unfinished`, the third a seal."""


def read_sweep(path: Path) -> SweepReport:
    """Raises `ArtefactError` as `read_record` does."""
    return read_record(path, SweepReport, "sweep's report", UPGRADES)


def json_schema() -> dict[str, Any]:
    """The newest version, for readers in other languages."""
    return {"$schema": DIALECT, "$id": f"urn:edgec:sweep:{SCHEMA_VERSION}", **seal.described(SweepReport.model_json_schema())}
