from __future__ import annotations

import math

import pytest

from edgec.onboard.figures import factors, kept, milliseconds, p99, per_second, percentage, rate


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1.00000"),
        (0.999996, "0.99999"),
        (0.99999999, "1.00000"),  # reports have six decimals: float32's own rounding is no loss
        (0.989996, "0.98999"),
        *((digits / 1e5, f"{digits / 1e5:.5f}") for digits in range(98000, 100001, 997)),
        (-0.3, "-0.30000"),
        (math.nan, "nan"),
    ],
)
def test_what_is_kept_is_rounded_down(value: float, text: str) -> None:
    assert kept(value) == text


def test_shares_in_percent() -> None:
    assert [percentage(share) for share in (1.0, 0.99999, 0.98, 0.07)] == ["100.00%", "99.99%", "98.00%", "7.00%"]
    assert percentage(0.9999995, 3) == "100.000%"
    assert percentage(0.995, 3) == "99.500%"


def test_a_p99_needs_a_hundred_runs() -> None:
    assert (p99(12.345, 99), p99(12.345, 100)) == ("-", "12.35")
    assert [milliseconds(ms) for ms in (0.0931, 0.99951, 1.2345, 0.0)] == ["0.093", "1.00", "1.23", "0.00"]


def test_rates_and_factors() -> None:
    assert [per_second(rate(ms, batch)) for ms, batch in ((16.35, 1), (16.35, 4), (0.8, 1), (0, 1))] == [
        "61.2",
        "245",
        "1250",
        "-",
    ]
    assert per_second(99.97) == "100"
    assert factors(2.04, 1.41, 2.5) == ("2.0", "1.4", "2.5")
    assert factors(1.031, 1.0, 1.06) == ("1.03", "1.00", "1.06")
