"""The answer in a sentence, before any table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgec.report.compare.answering import Answer, answers
from edgec.report.compare.opening import open_side
from edgec.report.compare.rendering import to_json, to_markdown
from edgec.report.compare.verdicts import compare
from tests.support.reports import samples

Written = Callable[..., Path]


def answered(first: Path, *others: Path, candidates: tuple[str | None, ...] = ()) -> tuple[Answer, ...]:
    names = candidates or (None,) * (len(others) + 1)
    one, *rest = (open_side(path, name) for path, name in zip((first, *others), names, strict=True))
    return answers([compare(one, other) for other in rest])


def test_faster_slower_and_no_difference(write: Written) -> None:
    slow, fast, same = (
        write(f"{name}.json", samples(seed, ms=ms))
        for seed, (name, ms) in enumerate({"slow": 40, "fast": 20, "same": 40}.items())
    )
    faster, none = answered(slow, fast, same)
    assert faster.tone == "good"
    assert faster.text.startswith("fast.json is 2.0 times as fast as slow.json (1.9 to 2.")
    assert faster.text.endswith("), and keeps 0.98765 of the features.")
    assert none.tone == "open"
    assert none.text.startswith("same.json takes as long as slow.json as far as can be told (0.9")
    assert "% more would have been noticed)" in none.text
    (slower,) = answered(fast, slow)
    assert slower.tone == "bad"
    assert slower.text.startswith("slow.json takes 2.0 times as long as fast.json (1.9 to 2.")


def test_precisions_tell_sides_apart_and_both_fidelities_stand_there(write: Written) -> None:
    exact = write("a.json", samples(0, ms=40), candidate__precision="fp32", fidelity__patch_cosine_p01=0.999996)
    (answer,) = answered(exact, write("b.json", samples(1)))
    assert answer.text.startswith("b.json (int8) is 2.0 times as fast as a.json (fp32)")
    assert "keeps 0.98765 of the features (a.json (fp32): 0.99876)" in answer.text
    names = ("openvino fp32", "openvino int8")
    (answer,) = answered(exact, exact, candidates=names)
    assert "openvino int8" in answer.text
    assert "a.json" not in answer.text.partition("edgec bench")[0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"latency__other_cores": 1.6}, "other work used 1.6 of 2 cores while {} was measured; measure again alone: edgec bench"),
        ({"latency__throttled": ("thermal",)}, "{} was throttled while it was measured: thermal; let the board cool down"),
        ({"taken": samples(count=5)}, "too few runs to compare p50: 5 of 6 needed; measure it: edgec bench ARTEFACT"),
        ({"candidate__latency": None}, "{} has no measured latency; measure it: edgec bench ARTEFACT --iterations 400 --output"),
        ({"latency__power_mode": "15W"}, "b.json was not measured as a.json was (power mode)"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)  # fmt: skip
def test_where_nothing_can_be_said_what_to_type(write: Written, changes: dict[str, object], said: str) -> None:
    second = write("b.json", changes.pop("taken", samples(1)), **changes)
    (answer,) = answered(write("a.json"), second)
    assert answer.text.startswith(f"Nothing can be said of the speed: {said.format(second)}")
    assert answer.tone == "open"
    assert "of the features" in answer.text


def test_many_are_counted(write: Written) -> None:
    first, *others = (write(f"{number}.json", samples(number, ms=20 + 5 * number)) for number in range(6))
    (answer,) = answered(others[1], first, *others)
    assert (
        answer.text
        == "Of 6 against 2.json: 2 faster, 3 slower, 1 no difference shown; the fastest is 0.json, 1.50 times as fast."
    )


def test_every_format_begins_with_it(write: Written) -> None:
    sides = [open_side(write("a.json", samples(0, ms=40))), open_side(write("b.json", samples(1)))]
    comparisons = [compare(*sides)]
    (answer,) = answers(comparisons)
    assert to_markdown(sides, comparisons, None).split("\n\n")[1].replace("\\", "") == f"**{answer.text}**"
    assert to_json(sides, comparisons, None)["answers"] == [answer.text]
