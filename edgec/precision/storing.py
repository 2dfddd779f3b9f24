"""A plan on disk: `plan.json`, and its weights beside it in `weights.npz`."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgec.errors import EdgecError
from edgec.graph.plan import PrecisionPlan, QuantisedWeight, Range
from edgec.untrusted import Refused, parse_json_object, read_bytes

PLAN, WEIGHTS = "plan.json", "weights.npz"
_LIMIT_BYTES = 256 << 20
_MOST_VALUES = 10_000_000
"""A number a channel of every operation that is smoothed or corrected."""


def save_plan(directory: Path, plan: PrecisionPlan) -> None:
    said = asdict(replace(plan, weights={}))
    (directory / PLAN).write_text(json.dumps(said, indent=1, sort_keys=True), encoding="utf-8")
    arrays: dict[str, Any] = {}
    for name, weight in plan.weights.items():
        arrays |= {f"{name}|integers": weight.integers, f"{name}|scales": weight.scales}
    np.savez(directory / WEIGHTS, **arrays)


def load_plan(directory: Path, *, weights: bool = True) -> PrecisionPlan:
    """Without its `weights` it is small, and says as much of everything else. Raises `EdgecError` for what `save_plan` does not
    write."""
    try:
        said = parse_json_object(read_bytes(directory / PLAN, _LIMIT_BYTES), most_values=_MOST_VALUES)
    except (Refused, FileNotFoundError) as error:
        raise EdgecError(
            "A cached plan cannot be used.",
            evidence=f"{directory / PLAN}: it {error}",
            remedy="delete the cache, or set EDGEC_CACHE_DIR to another",
        ) from error
    said["ranges"] = {name: Range(**seen) for name, seen in said["ranges"].items()}
    for field in ("smoothing", "corrections"):
        said[field] = {name: tuple(values) for name, values in said[field].items()}
    plan = PrecisionPlan(**said)
    if not weights:
        return plan
    with np.load(directory / WEIGHTS, allow_pickle=False) as file:
        names = dict.fromkeys(key.rsplit("|", 1)[0] for key in file.files)
        held = {name: QuantisedWeight(file[f"{name}|integers"], file[f"{name}|scales"]) for name in names}
    return replace(plan, weights=held)
