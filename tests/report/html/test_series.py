from __future__ import annotations

import numpy as np
import pytest

from edgec.records.report import Block
from edgec.report.html.series import above, bands, histogram, slower_share, thinned, wide
from tests.support.reports import samples


def test_few_samples_are_all_drawn() -> None:
    assert thinned(samples(count=1500)) == list(range(1500))


def test_many_samples_keep_their_extremes_and_every_spot_that_can_be_seen() -> None:
    taken = samples(count=200_000)
    taken[77_777], taken[5] = 300.0, 1.0
    drawn_indices = thinned(taken)
    assert {77_777, 5} <= set(drawn_indices)
    assert len(drawn_indices) < 20_000
    values = np.array(taken)
    spots = {(index * 900 // 200_000, round((values[index] - 1) / 299 * 299)) for index in range(0, 200_000, 97)}
    drawn = {(index * 900 // 200_000, round((values[index] - 1) / 299 * 299)) for index in drawn_indices}
    assert spots <= drawn


@pytest.mark.parametrize("taken", [samples(), [2.0] * 9, [5.0], [1.0, 400.0, *samples(count=50)]], ids=len)
def test_histograms_count_every_sample(taken: list[float]) -> None:
    bins = histogram(taken)
    assert sum(count for _, _, count in bins) == len(taken)
    assert bins[0][0] <= min(taken) * 1.001
    assert bins[-1][1] >= max(taken) * 0.999


def test_shares_fall_from_all_to_one() -> None:
    taken = samples(count=5000)
    shares = slower_share(taken)
    assert shares[0][1] == 1
    assert shares[-1] == (pytest.approx(max(taken), rel=1e-3), 1 / 5000)
    assert [share for _, share in shares] == sorted((share for _, share in shares), reverse=True)
    assert len(shares) <= 260


def test_shares_above_a_limit_and_shaded_turns() -> None:
    assert above([1.0, 2.0, 3.0, 4.0], 2.0) == 0.5
    assert bands([Block(round=0, runs=3), Block(round=1, runs=2), Block(round=2, runs=4), Block(round=3, runs=1)]) == [
        (3, 5, 1),
        (9, 10, 3),
    ]
    assert wide([1.0, 5.0])
    assert not wide([1.0, 2.0])
