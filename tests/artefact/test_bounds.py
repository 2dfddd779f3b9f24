"""How far a board's engine may be from float32 in what heads give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgec.artefact.bounds import MOST, HeadBound, head_bounds
from edgec.artefact.recording import TOLERANCES
from edgec.records.manifest import Tensor

OUTPUTS = (
    Tensor(name="cls", dtype="float32", shape=(1, 4)),
    Tensor(name="floor", dtype="int32", shape=(1, 10, 10), role="labels"),
    Tensor(name="far", dtype="float32", shape=(1, 10, 10), role="depth"),
)


def made(share: float, noise: float) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Two frames: expected, and with this share of the second's labels and this much of the depth changed."""
    random = np.random.default_rng(0)
    expected = {
        "cls": np.ones((2, 4), np.float32),
        "floor": random.integers(0, 3, (2, 10, 10), dtype=np.int32),
        "far": random.uniform(1, 10, (2, 10, 10)).astype(np.float32),
    }
    found = {name: value.copy() for name, value in expected.items()}
    found["floor"][1].flat[: round(100 * share)] += 1
    found["far"][1] *= 1 + noise * random.choice([-1, 1], (10, 10))
    return expected, found


@pytest.mark.parametrize(("precision", "agreement"), [("fp32", 0.999), ("fp16", 0.99), ("int8", 0.99)])
def test_an_exact_imitation_leaves_room_for_rounding(precision: str, agreement: float) -> None:
    bounds = head_bounds(OUTPUTS, precision, *made(0, 0))
    assert set(bounds) == {"floor", "far"}
    assert bounds["floor"].as_document() == {"agreement": pytest.approx(agreement)}
    difference, cosine = TOLERANCES[precision]
    assert bounds["far"].as_document() == {"cosine": pytest.approx(cosine), "difference": pytest.approx(difference)}


def test_twice_the_imitation_s_loss_is_allowed() -> None:
    bounds = head_bounds(OUTPUTS, "int8", *made(0.05, 0.02))
    assert bounds["floor"].agreement == pytest.approx(1 - 2 * 0.05 - 0.01)
    assert bounds["far"].difference == pytest.approx(2 * 0.02 + 0.1, abs=0.004)
    cosine = bounds["far"].cosine
    assert cosine is not None
    assert 0.99 < cosine < 0.995


def test_garbage_gives_bounds_that_a_file_can_hold() -> None:
    expected, found = made(1, 0)
    found["far"][0] = np.nan
    bounds = head_bounds(OUTPUTS, "fp16", expected, found)
    assert bounds["floor"] == HeadBound(agreement=0.0)
    assert bounds["far"].as_document() == {"cosine": -1.0, "difference": MOST}
    expected["far"][:] = 0
    assert np.isfinite(list(head_bounds(OUTPUTS, "fp16", expected, expected)["far"].as_document().values())).all()
