from __future__ import annotations

import math
from typing import Any

import pytest

from edgec.errors import RequestError
from edgec.latency.workload import Workload, check_idle, parse_seconds, workload


@pytest.mark.parametrize(
    ("text", "seconds"), [("60s", 60), ("10m", 600), ("1.5h", 5400), ("90", 90), (" 250 ms ", 0.25), (".5s", 0.5), ("2min", 120)]
)
def test_lengths_of_time(text: str, seconds: float) -> None:
    assert parse_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "-1s", "1d", "nan", "inf", "1e9", "1m30s", "60 s s", "\x1b[2J"])
def test_invalid_lengths_of_time(text: str) -> None:
    with pytest.raises(RequestError, match="no length of time"):
        parse_seconds(text)


@pytest.mark.parametrize(
    "settings",
    [
        {"fps": 0.0},
        {"fps": -30.0},
        {"fps": math.nan},
        {"fps": math.inf},
        {"fps": 1e9},
        {"seconds": 0.0},
        {"seconds": 1e9},
        {"streams": 0},
        {"streams": 10**6},
        {"fps": 30.0, "deadline_ms": 0.0},
        {"queue": "all"},
        {"deadline_ms": 10.0, "seconds": 5.0},
    ],
)
def test_what_makes_no_sense(settings: dict[str, Any]) -> None:
    with pytest.raises(RequestError):
        workload(**settings)


def test_defaults() -> None:
    assert workload() is None
    assert workload(fps=50.0) == Workload(seconds=15, streams=1, fps=50, queue="latest", deadline_ms=20)
    assert workload(fps=50.0, queue="all", deadline_ms=5.0, seconds=2.0) == Workload(2, 1, 50, "all", 5)
    assert workload(streams=2) == Workload(seconds=15, streams=2)


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf])
def test_invalid_sleep(seconds: float) -> None:
    with pytest.raises(RequestError, match="--idle"):
        check_idle(seconds)
