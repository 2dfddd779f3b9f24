"""Hostile inputs of every kind, a dozen or more each, and that a fault would be noticed. More: `python -m benchmarks fuzz`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.fuzz.figures import table
from benchmarks.fuzz.kinds import NAMES, Limits
from benchmarks.fuzz.planted import WAYS as PLANTED
from benchmarks.fuzz.running import FAILURES, Outcome, Zygote, run
from benchmarks.fuzz.zygote import DOCUMENTED
from tests.support.forks import Forks

COUNTS = {"checkpoints": 20, "heads": 50, "manifests": 20, "reports": 36, "events": 12, "toml": 48, "frames": 15, "onnx": 36}
"""Fewer of those that take a second each."""


@pytest.fixture(scope="module")
def zygote(builders: Forks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    with Zygote(tmp_path_factory.mktemp("fuzz"), forks=builders) as result:
        yield result


@pytest.mark.parametrize("kind", NAMES)
def test_no_input_breaks_edgec(zygote: Zygote, kind: str) -> None:
    zygote.prepare(kind)
    outcomes = [zygote.attempt(kind, seed) for seed in range(COUNTS[kind])]
    failed = [
        f"{each.outcome}: python -m benchmarks fuzz --kind {kind} --seed {each.seed}\n{each.what}\n{each.output[-1500:]}"
        for each in outcomes
        if each.failed
    ]
    assert not failed, "\n\n".join([f"{len(failed)} of {len(outcomes)}", *failed[:5]])
    assert {each.code for each in outcomes} <= DOCUMENTED
    # A generator of nothing but rubbish, or of nothing that is wrong, would show nothing.
    counts = Counter(each.outcome for each in outcomes)
    assert counts["refused"] > 0.2 * len(outcomes)
    assert counts["accepted"] > 0 or kind == "frames"  # lint refuses every set as small as these


def test_an_input_is_the_same_each_time(zygote: Zygote) -> None:
    for kind in NAMES:
        zygote.prepare(kind)
        first, again = (zygote.attempt(kind, 3) for _ in range(2))
        assert (first.what, first.outcome, first.code) == (again.what, again.outcome, again.code)


def test_every_fault_is_noticed_and_kept(builders: Forks, tmp_path: Path) -> None:
    """The check can fail: a kind whose inputs do in turn what no input may, and some that are innocent."""
    outcomes: list[Outcome] = []
    limits = Limits(seconds=1.5, peak_bytes=900_000_000)
    tallies = run(["planted"], tmp_path, count=len(PLANTED), limits=limits, listener=outcomes.append, forks=builders)
    assert [each.outcome for each in outcomes] == [expected for expected, *_ in PLANTED]
    assert "planted.py" in outcomes[0].output
    assert {path.name for path in tmp_path.iterdir()} == {
        f"planted-{each.seed}.{suffix}" for each in outcomes if each.failed for suffix in ("txt", "bin")
    }
    assert "--kind planted --seed 0" in (tmp_path / "planted-0.txt").read_text()
    assert {*tallies["planted"].counts} == {*FAILURES, "accepted", "refused"}
    assert tallies["planted"].failed == len(PLANTED) - 2
    assert table(tallies).row_count == 2
