"""What a board measured: one sealed document with samples, cosines, heads' figures, facts about the board, and what it chose.

Boards write no reports: edgec on the workstation makes them from this document (edgec/records/measurements.py lists its fields).
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .emulation import emulated_on
from .figures import milliseconds
from .files import write_text
from .judging import GATES, Verdict
from .seal import sealed

NAME = "measurements.json"
KIND = "measurements"
SCHEMA_VERSION = 1
TARGET = "measured on target"
HOST = "measured on host"
SIMULATED = "simulated on host"
EMULATED = "emulated on host"


def grade(doubtful: object, *, is_target: bool) -> str:
    """The evidence of figures: `simulated on host` if anything about them is doubtful, `emulated on host` on a CPU that is, and
    `measured on target` only there."""
    if doubtful:
        return SIMULATED
    return EMULATED if emulated_on() is not None else TARGET if is_target else HOST


def now() -> str:
    """The time in UTC, as ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def write(path: Path, fields: Mapping[str, Any]) -> None:
    """Write the document, sealed, whole or not at all. Its first member `kind` tells readers that it is not a report."""
    document = {"kind": KIND, "schema_version": SCHEMA_VERSION, "created": now(), **fields}
    write_text(path, sealed(json.dumps(document, indent=1, allow_nan=False)))


def artefact_fields(artefact: Any) -> dict[str, Any]:
    """The fields about the artefact. `artefact` is the object that a family's program reads its document into."""
    return {
        "edgec_version": artefact.edgec_version,
        "model": dict(artefact.model),
        "target": artefact.target,
        "precision_asked": artefact.precision_asked,
        "budget": artefact.budget_asked,
        "heads": [dict(head) for head in artefact.heads],
        "calibration": artefact.calibration,
        "validation_frames": artefact.golden_count,
    }


def fidelity(name: str, verdict: Verdict, evidence: str) -> dict[str, Any]:
    """A verdict's figures as reports have them (edgec/records/fidelity.py, StageFidelity)."""
    cosines = {**dict.fromkeys(GATES), **(verdict.figures or {})}
    return {"stage": name, **cosines, "frames": verdict.frames, "evidence": evidence, "tasks": verdict.tasks}


def fastest(p50_ms: Mapping[str, float]) -> tuple[str, str] | None:
    """The name of the fastest, and the reason for choosing it. `p50_ms` are the medians, by name, of all that reproduce the
    features. The earlier of two that are equally fast; None if there are none."""
    if not p50_ms:
        return None
    best = min(p50_ms, key=p50_ms.__getitem__)
    others = [f"{name} {milliseconds(value)} ms" for name, value in p50_ms.items() if name != best]
    reason = f"{best} is the fastest that reproduces the features: p50 {milliseconds(p50_ms[best])} ms"
    return best, reason + ("; " + ", ".join(others) if others else "")
