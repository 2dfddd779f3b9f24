from __future__ import annotations

from dataclasses import replace

import pytest

from edgec.backends.jetson.profile import Rates
from edgec.backends.jetson.roofline import lower_bound, lower_bounds
from edgec.backends.profiles import list_profiles
from edgec.graph.work import Work
from edgec.records.evidence import Evidence

BOARDS = {profile.name: profile.jetson for profile in list_profiles() if profile.family == "jetson"}
RATES = Rates(int8_tops=20, fp16_tflops=10, fp32_tflops=5, bandwidth_gbs=100)


WORK = Work(macs={"int8": 10**9, "fp16": 5 * 10**8}, weight_bytes=20_000_000, frame_bytes=1_000_000, exchanged_bytes=4_000_000)


def test_the_larger_of_compute_and_memory_bounds() -> None:
    bound = lower_bound(WORK, "MAXN", RATES, 1)
    assert bound is not None
    assert bound.compute_ms == pytest.approx(2 * 1e9 / 20e12 * 1e3 + 2 * 5e8 / 10e12 * 1e3)
    assert bound.memory_ms == pytest.approx((20e6 - 2**20 + 1e6) / 100e9 * 1e3)
    assert bound.exchange_ms == pytest.approx(4e6 / 100e9 * 1e3)
    assert (bound.bound_ms, bound.limited_by) == (bound.memory_ms, "memory") if bound.memory_ms > bound.compute_ms else True
    heavy = lower_bound(replace(WORK, weight_bytes=10**9), "MAXN", RATES, 1)
    assert heavy is not None
    assert (heavy.bound_ms, heavy.limited_by) == (heavy.memory_ms, "memory")
    light = lower_bound(replace(WORK, weight_bytes=0), "MAXN", RATES, 1)
    assert light is not None
    assert (light.bound_ms, light.limited_by) == (light.compute_ms, "compute")
    assert {bound.evidence, heavy.evidence} == {Evidence.ESTIMATED}


def test_weights_that_fit_the_caches_bound_nothing() -> None:
    bound = lower_bound(WORK, "MAXN", RATES, 48)
    assert bound is not None
    assert bound.memory_ms == pytest.approx(1e6 / 100e9 * 1e3)


def test_a_precision_without_a_rate_has_no_bound() -> None:
    rates = Rates(fp16_tflops=10, fp32_tflops=5, bandwidth_gbs=100)
    assert lower_bound(WORK, "MAXN", rates, 1) is None
    assert lower_bound(replace(WORK, macs={"fp16": 5}), "MAXN", rates, 1) is not None


@pytest.mark.parametrize("name", list(BOARDS))
def test_one_bound_for_each_mode_with_rates_and_none_below_the_fastest(name: str) -> None:
    bounds = lower_bounds(WORK, BOARDS[name])
    assert [bound.mode for bound in bounds] == [mode.name for mode in BOARDS[name].modes if mode.rates]
    assert min(bounds, key=lambda bound: bound.bound_ms).bound_ms == bounds[0].bound_ms > 0
