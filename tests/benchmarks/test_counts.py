"""From the plugin's lines to a profile's."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.arm64.counting import Count, counts_of
from benchmarks.arm64.debian import Unavailable
from benchmarks.counts import entry
from edgec.backends.cpu.profile import Counts
from edgec.untrusted import parse_toml

LOG = "mark 0 1000\nother words\nmark 1 3000\nmark 2 5010\nmark 1000 9000\nmark 1001 9100\nmark 1002 9300\n"


def test_counts_are_the_differences_of_marks() -> None:
    first, second = counts_of(LOG, 2, 2)
    assert first.runs == (2000, 2010)
    assert first.differ == pytest.approx(0.005)
    assert second.runs == (100, 200)


def test_a_program_that_ended_early_is_no_count() -> None:
    with pytest.raises(Unavailable, match="1002"):
        counts_of(LOG.replace("mark 1002 9300\n", ""), 2, 2)


def test_an_entry_is_what_a_profile_reads_without_counts_that_differ() -> None:
    counts = {"slow": Count((501_400_000, 501_600_000)), "fast": Count((290_000_000, 290_000_001)), "shaky": Count((1, 2))}
    table: dict[str, Any] = parse_toml(entry(counts, "vitt16", "224x224", "cortex-a76").encode())
    (read,) = [Counts.model_validate(each) for each in table["counts"]]
    assert list(read.million_instructions.items()) == [("fast", 290), ("slow", 502)]
