"""Reports of one model, target and size in the order of their making, as rows of plain text and as what JSON holds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgec.onboard.figures import p99
from edgec.records.consistency import read_report
from edgec.records.reading import printable
from edgec.records.report import CandidateFigures, Report
from edgec.report.cells import ABSENT, cosine_cell, megabytes, ms_cell
from edgec.report.compare.opening import report_files
from edgec.report.facts import size_of
from edgec.report.sheets import Sheet, numbers, sheet, texts

_HEADINGS = (
    texts("made", "ships")
    + numbers("p50 ms", "p99 ms", "runs", "patches", "worst 1 %", "size MB")
    + texts("evidence", "host", "checkpoint", "report")
)


@dataclass(frozen=True)
class History:
    """`reports` with the file of each, the oldest first."""

    model: str
    target: str
    size: str
    batch: int
    reports: tuple[tuple[Path, Report], ...]

    @property
    def title(self) -> str:
        """What all have in common."""
        frames = f", {self.batch} frames a batch" if self.batch > 1 else ""
        return printable(f"{self.model} at {self.size}{frames}, for {self.target}")

    def sheet(self) -> Sheet:
        """A row a report."""
        return sheet(_HEADINGS, [_row(path, report) for path, report in self.reports])

    def to_json(self) -> dict[str, Any]:
        """Figures as numbers, and null where there are none."""
        return {
            "model": self.model,
            "target": self.target,
            "size": self.size,
            "batch": self.batch,
            "reports": [_json(path, report) for path, report in self.reports],
        }


def histories(folders: Sequence[Path]) -> list[History]:
    """Of every report and artefact in the folders, by name of the model, target and size. Raises as `report_files` and
    `read_report`."""
    groups: dict[tuple[str, str, str, int], list[tuple[Path, Report]]] = defaultdict(list)
    for file in dict.fromkeys(file for folder in folders for file in report_files(folder, artefacts=True)):
        report = read_report(file)
        groups[report.model.name, report.target, size_of(report), report.input_shape[0]].append((file, report))
    return [
        History(*group, tuple(sorted(reports, key=lambda each: (each[1].created, each[0]))))
        for group, reports in sorted(groups.items())
    ]


def _chosen(report: Report) -> CandidateFigures:
    return next(candidate for candidate in report.candidates if candidate.name == report.chosen)


def _row(path: Path, report: Report) -> tuple[str, ...]:
    chosen = _chosen(report)
    latency, fidelity = chosen.latency, chosen.fidelity
    cells = (
        report.created,
        chosen.name,
        ms_cell(latency.p50_ms if latency else None),
        p99(latency.p99_ms, latency.iterations) if latency else ABSENT,
        str(latency.iterations) if latency else "",
        cosine_cell(fidelity.patch_cosine_mean if fidelity else None),
        cosine_cell(fidelity.patch_cosine_p01 if fidelity else None),
        megabytes(chosen.size_bytes),
        latency.evidence.value if latency else "not measured",
        report.host.cpu,
        report.model.checkpoint_sha256[:8],
        str(path),
    )
    return tuple(map(printable, cells))


def _json(path: Path, report: Report) -> dict[str, Any]:
    chosen = _chosen(report)
    latency, fidelity = chosen.latency, chosen.fidelity
    return {
        "report": str(path),
        "created": report.created,
        "edgec_version": report.edgec_version,
        "artefact_sha256": report.artefact_sha256,
        "checkpoint_sha256": report.model.checkpoint_sha256,
        "candidate": chosen.name,
        "p50_ms": latency and latency.p50_ms,
        "p99_ms": latency and latency.p99_ms,
        "iterations": latency and latency.iterations,
        "evidence": latency and latency.evidence.value,
        "cls_cosine_mean": fidelity and fidelity.cls_cosine_mean,
        "patch_cosine_mean": fidelity and fidelity.patch_cosine_mean,
        "patch_cosine_p01": fidelity and fidelity.patch_cosine_p01,
        "size_bytes": chosen.size_bytes,
        "host": report.host.cpu,
    }
