from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgec.errors import RequestError
from edgec.records.evidence import Evidence
from edgec.report.compare.conditions import differences, require_comparable
from edgec.report.compare.opening import open_side

Written = Callable[..., Path]


@pytest.mark.parametrize(
    ("changes", "title", "first", "second"),
    [
        ({"input_shape": (1, 480, 640, 3)}, "shape", "224x224", "480x640"),
        ({"input_shape": (4, 224, 224, 3)}, "batch", "1", "4"),
        ({"latency__power_mode": "MAXN"}, "power mode", "-", "MAXN"),
        ({"latency__threads": 1}, "threads", "2", "1"),
        (
            {"host__cpu": "Other\x1b[2J CPU"},
            "host",
            "Some CPU (x86_64), 2 of 2 cores, 8.0 GB",
            "Other\ufffd[2J CPU (x86_64), 2 of 2 cores",
        ),
        ({"host__usable_cores": 1}, "host", "2 of 2 cores", "1 of 2 cores"),
        ({"host__governor": "performance"}, "clocks", "governor powersave", "governor performance"),
        ({"latency__gpu_clock_fixed": True}, "clocks", "governor powersave", "governor powersave, GPU clock fixed"),
        ({"latency__flags": ("--useCudaGraph",)}, "measured with", "-", "--useCudaGraph"),
        ({"latency__evidence": Evidence.SIMULATED}, "kind of evidence", "measured", "simulated on host"),
        ({"candidate__latency": None}, "kind of evidence", "measured", "not measured"),
    ],
)
def test_what_is_not_comparable_says_what_differs(
    write: Written, changes: dict[str, Any], title: str, first: str, second: str
) -> None:
    before, after = write("before.json"), write("after.json", **changes)
    sides = [open_side(before), open_side(after)]
    with pytest.raises(RequestError, match="cannot be compared") as caught:
        require_comparable(sides)
    by_title = {each.title: each for each in differences(*sides)}
    assert title in caught.value.what
    assert first in by_title[title].first
    assert second in by_title[title].second
    assert f"{title}: {by_title[title].first} in {before}, {by_title[title].second} in {after}" in caught.value.evidence


@pytest.mark.parametrize(
    "changes",
    [
        {"host__versions": {"openvino": "2026.4"}, "host__os": "Linux 7", "host__memory_bytes": 8_010_000_000},
        {"candidate__precision": "fp32", "candidate__execution_precision": "bf16", "candidate__runtime": "onnxruntime"},
        {"model__name": "another", "model__checkpoint_sha256": "cd" * 32, "target": "another", "calibration": "indoor"},
        # Of one host, whether it has all that a target's profile asks for makes no difference to its clock.
        {"latency__evidence": Evidence.TARGET, "host_is_target": True},
        {"latency__flags": ("--duration=5", "--iterations=10", "--warmUp=500")},
    ],
)
def test_what_people_compare_may_differ(write: Written, changes: dict[str, Any]) -> None:
    require_comparable([open_side(write("before.json")), open_side(write("after.json", **changes))])


def test_each_side_is_compared_with_the_first(write: Written) -> None:
    sides = [open_side(write(f"{index}.json", latency__threads=1 + index // 2)) for index in range(4)]
    with pytest.raises(RequestError) as caught:
        require_comparable(sides)
    assert [line.rsplit("/", 1)[1] for line in caught.value.evidence] == ["2.json", "3.json"]
