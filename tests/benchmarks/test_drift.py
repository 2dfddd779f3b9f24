"""How far figures about false alarms can be trusted, and faults that change a frame and nothing else about it."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.camera_faults import camera_faults
from benchmarks.drift import independent, most_likely


def test_no_alarm_in_300_frames_allows_one_in_a_hundred() -> None:
    """The rule of three: none in n leaves rates up to 3 / n."""
    assert most_likely(0, 300) == pytest.approx(1 - 0.05 ** (1 / 300))
    assert most_likely(0, 300) == pytest.approx(3 / 300, rel=0.01)
    assert most_likely(1, 300) > most_likely(0, 300)


def test_scores_that_follow_each_other_weigh_less() -> None:
    random = np.random.default_rng(0)
    alone = np.exp(random.normal(size=400))
    assert 200 < independent(alone.tolist()) <= 400
    assert independent(np.repeat(alone[:40], 10).tolist()) < 80


def test_every_fault_gives_a_frame_of_the_same_form() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    before = frame.copy()
    for name, fault in camera_faults().items():
        faulty = fault(frame)
        assert (faulty.shape, faulty.dtype) == (frame.shape, frame.dtype), name
        assert (faulty != before).any(), name
    assert (frame == before).all()
