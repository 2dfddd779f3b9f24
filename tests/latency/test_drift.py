from __future__ import annotations

import numpy as np
import pytest

from edgec.latency.drift import LEAST, drift
from tests.support.reports import samples


def test_a_run_that_gets_slower() -> None:
    slope = np.linspace(1, 1.2, 1000)
    actual = drift(list(np.array(samples(count=1000)) * slope))
    assert actual is not None
    assert actual.ratio == pytest.approx(1.18, abs=0.02)
    assert 1.1 < actual.ratio_low <= actual.ratio <= actual.ratio_high < 1.3
    assert actual.last_p50_ms / actual.first_p50_ms == actual.ratio


def test_steady_runs_rarely_seem_to_drift() -> None:
    seen = 0
    for seed in range(40):
        actual = drift(samples(seed, count=600))
        assert actual is not None
        seen += not actual.ratio_low <= 1 <= actual.ratio_high
    assert seen <= 8


def test_too_few_frames() -> None:
    assert drift(samples(count=LEAST - 1)) is None
    assert drift([5.0] * LEAST) is not None
    assert drift([0.0] * LEAST) is None
