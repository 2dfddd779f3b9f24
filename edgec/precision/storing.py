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
    """Write `plan.json` and `weights.npz` into the directory."""
    stored = asdict(replace(plan, weights={}))
    (directory / PLAN).write_text(json.dumps(stored, indent=1, sort_keys=True), encoding="utf-8")
    arrays: dict[str, Any] = {}
    for name, weight in plan.weights.items():
        arrays |= {f"{name}|integers": weight.integers, f"{name}|scales": weight.scales}
    np.savez(directory / WEIGHTS, **arrays)


def load_plan(directory: Path, *, weights: bool = True) -> PrecisionPlan:
    """What `save_plan` wrote. Without its `weights` a plan is small, and all else is there. Raises `EdgecError` for a file that
    `save_plan` does not write."""
    try:
        stored = parse_json_object(read_bytes(directory / PLAN, _LIMIT_BYTES), most_values=_MOST_VALUES)
    except (Refused, FileNotFoundError) as error:
        raise EdgecError(
            "A cached plan cannot be used.",
            evidence=f"{directory / PLAN}: it {error}",
            remedy="delete the cache, or set EDGEC_CACHE_DIR to another",
        ) from error
    stored["ranges"] = {name: Range(**seen) for name, seen in stored["ranges"].items()}
    for field in ("smoothing", "corrections"):
        stored[field] = {name: tuple(values) for name, values in stored[field].items()}
    plan = PrecisionPlan(**stored)
    if not weights:
        return plan
    with np.load(directory / WEIGHTS, allow_pickle=False) as file:
        names = dict.fromkeys(key.rsplit("|", 1)[0] for key in file.files)
        weights_by_name = {name: QuantisedWeight(file[f"{name}|integers"], file[f"{name}|scales"]) for name in names}
    return replace(plan, weights=weights_by_name)
