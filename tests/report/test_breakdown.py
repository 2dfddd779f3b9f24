"""Adding up a profile's steps, and showing it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from edgec.records.evidence import Evidence
from edgec.records.report import OperationTime, Profile
from edgec.report.breakdown import breakdown_table, by_block, by_kind, unattributed_ms


def profile(**changes: object) -> Profile:
    steps = (
        OperationTime(name="embed", kind="convolution", mean_ms=1),
        OperationTime(name="a", kind="product", block=0, mean_ms=2, gflops=1, roofline_share=0.5),
        OperationTime(name="b", kind="product", block=10, mean_ms=4, gflops=3, roofline_share=0.25),
        OperationTime(name="c", kind="norm", block=2, mean_ms=2),
    )
    fields = {"source": "counters", "iterations": 5, "whole_ms": 10.0, "plain_ms": 8.0, "rates_gflops": {"fp32": 1000.0}}
    return Profile.model_validate({**fields, "steps": steps, "evidence": Evidence.HOST, **changes})


def shown(breakdown: Profile) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(breakdown_table(breakdown))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_by_kind() -> None:
    product, norm, convolution = by_kind(profile())
    assert (product.name, product.steps, product.ms, product.share, product.gflops) == ("product", 2, 6, 0.6, 4)
    assert product.roofline == pytest.approx(2 / 6)
    assert (norm.name, norm.gflops, norm.roofline) == ("norm", None, None)
    assert convolution.name == "convolution"
    assert unattributed_ms(profile()) == pytest.approx(1)


def test_blocks_are_in_their_order() -> None:
    assert [part.name for part in by_block(profile())] == ["0", "2", "10", "outside"]
    assert by_block(profile(steps=profile().steps[:1])) == ()


def test_the_table() -> None:
    text = shown(profile())
    assert [line.split() for line in text.splitlines() if line.startswith("product")] == [
        ["product", "2", "6.000", "60.0", "4.000", "33"]
    ]
    assert "without profiling, in turns: 8.000 ms; profiling costs 25.0 %" in text
    assert "-20.0 % is noise" in shown(profile(plain_ms=12.5))
    assert "in no step" in text
    assert "exceed" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_steps_that_exceed_the_whole_say_so() -> None:
    assert "steps exceed the whole" in shown(profile(whole_ms=5.0))


def test_text_from_files_and_no_steps() -> None:
    strange = profile().steps[0].model_copy(update={"kind": "[bold]\x1b[31m" + "x" * 100})
    text = shown(profile(steps=(strange,), plain_ms=None, rates_gflops={}))
    assert "\x1b" not in text
    assert "[bold]" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "not measured" in shown(profile(steps=(), rates_gflops={}))
