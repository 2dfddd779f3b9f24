from __future__ import annotations

import html
import re

import pytest
from markdown_it import MarkdownIt

from edgec.records.report import Bound, Report
from edgec.report.columns import COLUMNS, RATE, informative
from edgec.report.facts import RANDOM_WEIGHTS
from edgec.report.markdown import escape, to_markdown
from tests.report.conftest import tasks, with_tasks

NASTY = [
    "a|b",
    "a\nb",
    "a\r\n\r\n# title",
    "`code`",
    "``",
    "<script>alert(1)</script>",
    "<!-- ",
    "&lt;b&gt;",
    "*bold* _it_ __b__ ~~s~~",
    "[link](http://x)",
    "![image](x)",
    "\\",
    "\\|",
    "trailing\\",
    "| --- |",
    "\x1b[31m\x00",
    "- item",
    "1. item",
    "12) item",
    "# heading",
    "+",
    "===",
    "vits16_standin_v2",
    "$x$",
    "  spaced  ",
]


NOWHERE = ("likely ms", "kernels", "moved MB", "elsewhere", "p99 ms")
"""Columns of what no candidate of the report has."""


def render(markdown: str) -> str:
    """By a renderer that is not ours, with GitHub's tables and strikethrough."""
    return str(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown))


def tags(markdown: str) -> list[str]:
    return re.findall("</?(?!strong|li)[a-z0-9]+", render(markdown))


def rows(markdown: str, table: int = 0) -> list[list[str]]:
    """The cells of a table, as text."""
    tables = re.findall(r"<table>.*?</table>", render(markdown), re.DOTALL)
    result = re.findall(r"<tr>.*?</tr>", tables[table], re.DOTALL)
    return [[re.sub("<.*?>", "", cell) for cell in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row)] for row in result]


def test_every_candidate_has_its_row_and_every_column_its_figure(report: Report) -> None:
    head, *body = rows(to_markdown(report))
    assert head == [column.title for column in informative(report)]
    assert set(head) == {column.title for column in COLUMNS} - set(NOWHERE) | {RATE}, "of which nobody has any"
    assert [row[0] for row in body] == ["openvino fp32", "openvino int8 (chosen)", "onnxruntime int8", "openvino bf16"]
    chosen = dict(zip(head, body[1], strict=True))
    assert chosen == {
        "candidate": "openvino int8 (chosen)",
        "p50 ms": "25.25",
        "frames/s": "39.6",
        "p90 ms": "28.25",
        "min ms": "24.25",
        "max ms": "28.25",
        "mean ms": "25.92",
        "runs": "3",
        "patches": "0.99876",
        "worst 1 %": "0.98765",
        "cls": "0.99991",
        "size MB": "86.4",
        "load ms": "321",
        "first ms": "99.9",
        "peak RSS MB": "512",
        "executes as": "f32",
        "evidence": "measured on host",
    }
    assert set(body[3][1:]) == {"-"}


def test_sections_and_their_facts(report: Report) -> None:
    text = to_markdown(report)
    for expected in (
        "# vits16-standin for x86-64-avx512-vnni",
        "21.6 M parameters, 9.4 GFLOPs",
        "ab" * 32,
        "1 frame of 224x224",
        "Some CPU (x86_64; avx2, avx512_vnni), 1 physical and 2 logical cores, 2 usable, 8.0 GB",
        "governor powersave, a virtual machine",
        "edgec 0.1.0, 2026-11-24T10:00:00Z; numpy 2.3, openvino 2025.4\n",
        "Chosen: **openvino int8**. fastest at p50 of those inside the budget\n",
        "- openvino bf16 has no figures: this CPU has no bf16\n",
        "| hub graph | 1.00000 | 0.99999 | 0.99999 | 40 | measured on host |",
        "- the governor is powersave\n",
        "3 runs after 2 unrecorded ones, on 2 threads",
    ):
        assert expected in text
    assert RANDOM_WEIGHTS not in text


def test_random_weights_are_said_in_bold(report: Report) -> None:
    model = report.model.model_copy(update={"random_weights": True})
    text = to_markdown(report.model_copy(update={"model": model}))
    assert RANDOM_WEIGHTS in text
    assert "<strong>Random weights" in render(text)


@pytest.mark.parametrize("nasty", NASTY)
def test_strings_from_files_stay_text(report: Report, nasty: str) -> None:
    plain = to_markdown(report)
    candidates = tuple(
        each.model_copy(update={"name": nasty, "problem": nasty, "execution_precision": nasty}) for each in report.candidates
    )
    model = report.model.model_copy(update={"name": nasty, "arch": nasty})
    host = report.host.model_copy(update={"cpu": nasty, "versions": {nasty: nasty}, "governor": nasty})
    stages = tuple(stage.model_copy(update={"stage": nasty}) for stage in report.stages)
    fields = {"candidates": candidates, "model": model, "host": host, "chosen": nasty, "reason": nasty, "notes": (nasty,)}
    text = to_markdown(report.model_copy(update={**fields, "stages": stages, "target": nasty, "calibration": nasty}))
    assert tags(text) == tags(plain)
    assert [len(row) for row in rows(text)] == [len(COLUMNS) - len(NOWHERE) + 1] * 5
    assert "\x1b" not in text


def test_what_boards_finish_has_bounds_and_no_latency(report: Report) -> None:
    bound = Bound(board="jetson-orin-nano", power_mode="MAXN", bound_ms=0.3123, likely_ms=(0.9, 5.6), limited_by="compute")
    foreseen = tuple(
        candidate.model_copy(update={"latency": None, "cold_start": None, "bounds": (bound,)}) for candidate in report.candidates
    )
    text = to_markdown(report.model_copy(update={"candidates": foreseen}))
    head, *_ = rows(text)
    assert "likely ms" in head
    assert not [title for title in head if title.startswith("p50")]
    assert "Latencies to expect on boards" in text
    assert ["jetson-orin-nano", "MAXN", "0.9..5.6", "0.31", "compute", "estimated"] in [row[1:] for row in rows(text, 1)]


@pytest.mark.parametrize("nasty", NASTY)
def test_escaped_text_shows_itself(nasty: str) -> None:
    shown = render(f"Name: {escape(nasty)}.")
    text = html.unescape(re.sub("</?p>", "", shown)).strip()
    expected = " ".join(nasty.split()).replace("\x1b", "\ufffd").replace("\x00", "\ufffd")
    assert text == f"Name: {expected}."


def test_names_are_not_cluttered() -> None:
    assert escape("avx512_vnni vits16-standin (int8)") == "avx512_vnni vits16-standin (int8)"


def test_heads_have_columns_and_a_section(headed: Report) -> None:
    text = to_markdown(headed)
    head, *body = rows(text)
    chosen = dict(zip(head, body[1], strict=True))
    assert [chosen[title] for title in ("kind agrees", "floor mIoU", "far error", "grasp cosine")] == [
        *("100.00%", "0.98000", "0.01", "0.99950")
    ]
    for expected in (
        "budget: fidelity at least 0.99; agreement at least 98.00%; mean IoU at least 0.97; depth error at most 0.02",
        "- openvino int8 is beyond the budget: fidelity 0.98765 (at least 0.99)\n",
        "| stage | cls | patches | worst 1 % | kind agrees | floor mIoU | far error | grasp cosine | frames | evidence |",
        "## Heads\n",
        "| floor | segmentation, gives a class a pixel; reads patches; 3 classes: floor, wall, thing | mean IoU at least 0.97 |",
        "| hub graph | kind | 100.00% | 3.25 | 3.5 | 0.125 | 40 | measured on host |",
        "### IoU by class, floor\n",
        "| thing | - | - | - |",
        "not against the truth",
    ):
        assert expected in text


def test_a_model_without_features_has_no_cosines(bare: Report) -> None:
    text = to_markdown(bare)
    head, *_ = rows(text)
    assert not [title for title in head if title.startswith(("patch", "cls"))]
    assert "| hub graph | - | - | - | 100.00% |" in text
    assert "fidelity at least" not in text


@pytest.mark.parametrize("nasty", NASTY)
def test_names_of_heads_and_classes_stay_text(headed: Report, nasty: str) -> None:
    """A head's name is its output's, and both come from files."""
    plain = to_markdown(headed)
    heads = tuple(
        head.model_copy(update={"name": nasty, "outputs": (nasty,), "classes": (nasty,) * 3, "reads": (nasty,)})
        if head.name == "floor"
        else head
        for head in headed.heads
    )
    renamed = tuple(task.model_copy(update={"head": nasty}) if task.head == "floor" else task for task in tasks())
    text = to_markdown(with_tasks(headed, renamed).model_copy(update={"heads": heads}))
    assert tags(text) == tags(plain)
    assert [len(row) for row in rows(text)] == [len(row) for row in rows(plain)]


def test_where_nothing_was_measured_no_host_is_blamed(report: Report) -> None:
    unmeasured = tuple(each.model_copy(update={"latency": None}) for each in report.candidates)
    text = to_markdown(report.model_copy(update={"candidates": unmeasured, "host_is_target": False}))
    assert "nothing was measured here" in text
    assert "the measuring host" not in text
