"""The one place where frames are put into batches."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.batches import batches, filled, stacks

FRAMES = np.arange(5 * 12, dtype=np.uint8).reshape(5, 2, 2, 3)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
def test_every_frame_is_in_one_batch_and_the_filler_is_the_last_frame_again(size: int) -> None:
    given = list(batches(FRAMES, size))
    assert [batch.shape for batch, _ in given] == [(size, 2, 2, 3)] * -(-5 // size)
    places = [place for _, held in given for place in range(5)[held]]
    assert places == [0, 1, 2, 3, 4]
    for batch, held in given:
        real = held.stop - held.start
        np.testing.assert_array_equal(batch[:real], FRAMES[held])
        assert (batch[real:] == FRAMES[4]).all()
        assert batch.flags.c_contiguous
        assert not np.shares_memory(batch, FRAMES)


def test_all_as_one_array() -> None:
    np.testing.assert_array_equal(stacks(FRAMES, 3).reshape(6, 2, 2, 3), FRAMES[[0, 1, 2, 3, 4, 4]])
    assert stacks(FRAMES, 1).shape == (5, 1, 2, 2, 3)


def test_a_list_of_frames_is_as_good() -> None:
    np.testing.assert_array_equal(filled(list(FRAMES[:2]), 4), FRAMES[[0, 1, 1, 1]])
