"""Weights rounded for their outputs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgec.graph.numbers import quantise_weight, weight_scales
from edgec.precision.rounding import compensation, round_weight

Floats = NDArray[np.float32]


def rows_and_weight(channels: int = 96, outputs: int = 40, rows: int = 4000) -> tuple[Floats, Floats]:
    """Activations whose channels vary together, as real ones do."""
    random = np.random.default_rng(0)
    causes = random.normal(size=(rows, 12))
    values = causes @ random.normal(size=(12, channels)) + 0.2 * random.normal(size=(rows, channels))
    return values.astype(np.float32), random.normal(size=(channels, outputs)).astype(np.float32)


def blocks(values: Floats, count: int) -> Floats:
    parts = values.reshape(len(values), count, -1).transpose(1, 2, 0)
    moments: Floats = parts @ parts.transpose(0, 2, 1) / len(values)
    return moments


@pytest.mark.parametrize("paired", [False, True], ids=["alone", "paired"])
@pytest.mark.parametrize(("count", "share"), [(1, 0.35), (3, 0.6)])
def test_outputs_are_kept_better_than_by_rounding_to_the_nearest(count: int, share: float, paired: bool) -> None:
    values, weight = rows_and_weight()
    known, unknown = values[:2000], values[2000:]
    integers, scales = round_weight(weight, compensation(blocks(known, count)), paired=paired)
    nearest = quantise_weight(weight, paired=paired)
    exact = unknown @ weight

    def error(rounded: Floats) -> float:
        return float(np.square(unknown @ rounded - exact).mean())

    assert integers.dtype == np.int8
    np.testing.assert_array_equal(scales, weight_scales(weight, 1, paired=paired))
    assert error(integers * scales) < share * error(nearest)


def test_independent_channels_are_rounded_to_the_nearest() -> None:
    _, weight = rows_and_weight()
    integers, scales = round_weight(weight, compensation(np.eye(96, dtype=np.float32)[None]))
    np.testing.assert_array_equal(integers, np.rint(weight / scales))


def test_no_pair_can_saturate_also_after_compensation() -> None:
    values, weight = rows_and_weight()
    weight[0::2, :3] = weight[1::2, :3] = 1.0  # every pair at the limit
    integers, _ = round_weight(weight, compensation(blocks(values, 1)), paired=True)
    wide = integers.astype(int)
    for sign in (1, -1):
        sums = np.maximum(sign * wide[0::2], 0) + np.maximum(sign * wide[1::2], 0)
        assert 255 * sums.max() < 2**15


@pytest.mark.parametrize("value", [0.0, 1e-30, np.inf, np.nan])
def test_moments_without_information_do_no_harm(value: float) -> None:
    _, weight = rows_and_weight()
    weight[:, 1] = 0
    integers, scales = round_weight(weight, compensation(np.full((1, 96, 96), value, np.float32)))
    assert np.isfinite(scales).all()
    assert not integers[:, 1].any()
    assert np.abs(integers * scales - weight).max() <= scales.max() * 0.51


def test_invalid_moments_are_damped_until_they_can_be_used() -> None:
    """Sums in float32 can leave a matrix that no activation could have."""
    values, weight = rows_and_weight()
    moments = blocks(values, 1)
    moments[0, 0, 0] -= 3 * np.abs(np.linalg.eigvalsh(moments[0])).max()
    integers, scales = round_weight(weight, compensation(moments))
    assert np.abs(integers * scales - weight).max() < 3 * scales.max()


def test_the_same_inputs_give_the_same_bytes() -> None:
    values, weight = rows_and_weight()
    first, second = (round_weight(weight, compensation(blocks(values, 2)))[0].tobytes() for _ in range(2))
    assert first == second
