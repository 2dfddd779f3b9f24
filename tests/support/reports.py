"""Samples as a measurement has them, and reports that hold them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgec.onboard.statistics import summary
from tests.support.forging import written


def samples(seed: int = 0, *, count: int = 400, ms: float = 20.0, noise: float = 0.01) -> list[float]:
    return list(np.round(ms * np.exp(np.random.default_rng(seed).normal(0, noise, count)), 4))


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The report at the path with this change, sealed again."""
    document = json.loads(path.read_text())
    change(document)
    path.write_text(written(document))
    return path


def retimed(path: Path, ms: float, *, count: int = 400, seed: int = 0) -> Path:
    """The report as it would be with these samples: real ones of tiny models are nobody's to foretell."""
    taken = samples(seed, count=count, ms=ms)

    def change(document: dict[str, Any]) -> None:
        for candidate in document["candidates"]:
            if candidate["name"] == document["chosen"]:
                candidate["latency"].update(vars(summary(taken)), samples_ms=taken, iterations=count, blocks=[], other_cores=None)

    return edit(path, change)
