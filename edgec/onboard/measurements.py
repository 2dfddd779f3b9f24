"""What a board measured: one sealed document, which edgec on the workstation makes a report of (edgec/records/measurements.py
lists its members). A board writes no report: samples, cosines and heads' figures, the board around them, and what it chose are in
it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .files import write_text
from .judging import GATES, Verdict
from .seal import sealed

NAME = "measurements.json"
KIND = "measurements"
SCHEMA_VERSION = 1
TARGET = "measured on target"
HOST = "measured on host"
SIMULATED = "simulated on host"


def grade(doubtful: object, *, is_target: bool) -> str:
    """What figures may be called: nothing that somebody may doubt is called measured, and nothing elsewhere `measured on
    target`."""
    return SIMULATED if doubtful else TARGET if is_target else HOST


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def write(path: Path, said: Mapping[str, Any]) -> None:
    """Sealed, whole or not at all. `kind` is the first member: so readers tell it from a report."""
    document = {"kind": KIND, "schema_version": SCHEMA_VERSION, "created": now(), **said}
    write_text(path, sealed(json.dumps(document, indent=1, allow_nan=False)))


def about(artefact: Any) -> dict[str, Any]:
    """What a report says of the artefact, by what a family's program knows it by."""
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
    """As reports have it (edgec/records/fidelity.py, StageFidelity)."""
    cosines = {**dict.fromkeys(GATES), **(verdict.figures or {})}
    return {"stage": name, **cosines, "frames": verdict.frames, "evidence": evidence, "tasks": verdict.tasks}


def fastest(p50_ms: Mapping[str, float]) -> tuple[str, str] | None:
    """Of those that reproduce the features, by name: which is the fastest, and why it is chosen. The earlier if two are equally
    fast; None if there are none."""
    if not p50_ms:
        return None
    best = min(p50_ms, key=p50_ms.__getitem__)
    others = [f"{name} {value:.3f} ms" for name, value in p50_ms.items() if name != best]
    reason = f"{best} is the fastest that reproduces the features: p50 {p50_ms[best]:.3f} ms"
    return best, reason + ("; " + ", ".join(others) if others else "")
