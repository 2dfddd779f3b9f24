"""Reports of every schema version, and sweeps' reports: `compare` in all its forms, `report`, and reading."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.fuzz.kinds import Try, command
from benchmarks.fuzz.mutations import bytes_changed, json_text, value_changed

KEPT = Path(__file__).resolve().parents[2] / "tests" / "report" / "kept"
_SWEEP: dict[str, Any] = {
    "schema_version": 2,
    "edgec_version": "0.1.0",
    "created": "2026-01-01T00:00:00Z",
    "fps": 30.0,
    "min_fidelity": 0.99,
    "cells": [
        {
            "name": "demo-cpu-224x224-auto", "checkpoint": "demo", "target": "cpu", "size": [224, 224], "precision": "auto",
            "state": "done", "exit_code": 0, "log": "logs/a.log", "artefact": "a.edgec", "build_key": "0" * 64,
            "artefact_sha256": "0" * 64, "machine": "here", "seconds": 3.5,
        }
    ],
    "unfinished": ["second"],
    "answers": [],
}  # fmt: skip


def prepare(corpus: Path) -> None:
    """Those that are kept of every version."""
    for path in sorted(KEPT.glob("*.json")):
        shutil.copy(path, corpus)


def draw(random: Random, corpus: Path, place: Path) -> Try:
    """Two reports, of which at least one was changed, or a sweep's report."""
    if random.random() < 0.1:
        return _sweep(random, place)
    sources = sorted(corpus.glob("*.json"))
    source, other = random.choice(sources), random.choice(sources)
    bad, good = place / "bad.json", place / "good.json"
    shutil.copy(source if random.random() < 0.6 else other, good)
    data = source.read_bytes()
    if random.random() < 0.15:
        bad.write_bytes(bytes_changed(random, data))
        what = f"bytes of {source.stem}"
    else:
        bad.write_bytes(json_text(random, _changed(random, json.loads(data)), indent=True))
        what = f"values of {source.stem}"
    reports = random.choice(((bad, good), (good, bad), (bad, bad)))
    page = place / "page.html"
    gate = ("--fail-on-regression", "5%") * (random.random() < 0.3)
    choice = random.choice((
        command("compare", *reports, "--anyway", *gate), command("compare", *reports, *gate),
        command("compare", *reports, "--anyway", "--format", "md"), command("compare", *reports, "--anyway", "--format", "json"),
        command("report", bad, "-o", page),
        command("compare", *reports, "--anyway", "--format", "html", "-o", page) if random.random() < 0.3 else lambda: _read(bad),
    ))  # fmt: skip
    return Try(what, choice, lambda: _wrong(page))


def _changed(random: Random, report: Any) -> Any:
    """Most values of a report are samples: those of the rest are drawn as often."""
    if random.random() < 0.6:
        name = random.choice(sorted(report))
        part = value_changed(random, {name: report[name]})
        if isinstance(part, dict):
            del report[name]
            return {**report, **part}
    return value_changed(random, report)


def _read(path: Path) -> int:
    """And rendered as Markdown, as a build does."""
    from edgec.records.consistency import read_report
    from edgec.report.markdown import to_markdown

    print(to_markdown(read_report(path)))
    return 0


def _sweep(random: Random, place: Path) -> Try:
    path = place / "sweep.json"
    path.write_bytes(json_text(random, value_changed(random, _SWEEP)))

    def read() -> int:
        from edgec.sweep.schema import read_sweep

        read_sweep(path)
        return 0

    return Try("sweep.json", read)


def _wrong(page: Path) -> str:
    """A page is inert, whatever reports say."""
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    return "the page holds a script that a report brought" if "<script>alert" in text else ""
