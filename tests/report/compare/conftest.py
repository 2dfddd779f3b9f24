from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from edgec.onboard.statistics import summary
from edgec.records.report import Report
from tests.support.reports import samples

Made = Callable[..., Report]
Written = Callable[..., Path]


@pytest.fixture
def make(report: Report) -> Made:
    """A report whose chosen candidate has these samples. Other arguments change fields: `host__cpu="…"`, `latency__threads=4`,
    `candidate__precision="fp32"`, `fidelity__frames=3`, and those of the report itself."""

    def make(taken: Sequence[float] | None = None, **changes: Any) -> Report:
        taken = samples() if taken is None else taken
        parts: dict[str, dict[str, Any]] = {}
        for name, value in changes.items():
            part, _, field = name.rpartition("__")
            parts.setdefault(part, {})[field] = value
        (old,) = (candidate for candidate in report.candidates if candidate.chosen)
        assert old.latency is not None
        assert old.fidelity is not None
        figures = {**asdict(summary(taken)), "samples_ms": tuple(taken), "iterations": len(taken), **parts.get("latency", {})}
        inner = {
            "latency": old.latency.model_copy(update=figures),
            "fidelity": old.fidelity.model_copy(update=parts.get("fidelity", {})),
        }
        chosen = old.model_copy(update={**inner, **parts.get("candidate", {})})
        outer = {
            "candidates": tuple(chosen if candidate is old else candidate for candidate in report.candidates),
            "host": report.host.model_copy(update=parts.get("host", {})),
            "model": report.model.model_copy(update=parts.get("model", {})),
        }
        return report.model_copy(update={**outer, **parts.get("", {})})

    return make


@pytest.fixture
def write(make: Made, tmp_path: Path) -> Written:
    """The same, as a file of this name."""

    def write(name: str, taken: Sequence[float] | None = None, **changes: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(make(taken, **changes).to_json())
        return path

    return write
