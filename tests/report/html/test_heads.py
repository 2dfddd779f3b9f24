"""Heads and sensors on the page, in a real browser."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

from edgec.records.report import Reading, Report
from edgec.report.html.page import render
from edgec.report.html.subjects import Subject
from edgec.report.maps import Headed
from tests.report.conftest import tasks, with_tasks
from tests.support.pages import opened

Written = Callable[..., Path]


def test_heads_are_drawn_and_filtered(
    chromium: Any, write: Written, headed: Report, bare: Report, report: Report, seen: Headed
) -> None:
    subjects = (Subject("one", headed, None, "", seen), Subject("two", bare, None, "none", seen), Subject("three", report))
    with opened(chromium, write(*subjects)) as tab:
        page = tab.page
        tab.drawn()
        assert page.locator('[data-drawn="failed"]').count() == 0
        assert page.locator('[data-chart="r0-heads"] svg').count() == 1
        drawn = page.locator('[data-chart^="r0-iou"] .mark-symbol.role-mark path[fill]:not([fill="transparent"])')
        assert drawn.count() >= 6, "a mark a class and candidate"
        assert page.locator("#r0 .features").count() == 4, "two heads, two frames"
        assert page.locator("#r0 .legend span").all_text_contents() == ["floor", "wall", "<i>thing", "pixels that differ"]
        assert "another class" in (page.locator("#r0 .other").first.text_content() or "")
        for text in ("agreement at least 98.00%", "mean IoU at least 0.97", "not against the truth"):
            assert page.locator("#r0").get_by_text(text).count(), text
        rows = page.locator("#overview-table tbody tr:visible")
        assert rows.count() == 12
        page.locator(".filters > summary").click()
        page.select_option('[data-facet="head"]', "floor")
        assert rows.count() == 8
        page.select_option('[data-facet="head"]', "none")
        assert rows.count() == 4
        assert page.locator(".report:visible").count() == 1
        assert tab.seen.messages == []
        assert [url for url in tab.seen.requests if not url.startswith(("data:", "file:"))] == []


def test_a_model_without_features_says_what_it_is_judged_by(bare: Report) -> None:
    page = html.unescape(render([Subject("bare", bare, None, "The artefact gives no features.")]))
    assert "what the worst head keeps of float32" in page
    assert "budget: mean IoU at least 0.97" in page
    assert "fidelity at least" not in page
    assert "kind: agreement 100.00%, floor: mean IoU 0.98000" in page


def test_names_of_classes_stay_text(headed: Report, seen: Headed) -> None:
    evil = "</script><script>alert(1)</script>"
    heads = tuple(head.model_copy(update={"classes": (evil,) * len(head.classes)}) for head in headed.heads)
    named = replace(seen, maps=tuple(replace(maps, output=evil, classes=(evil,) * 3) for maps in seen.maps))
    page = render([Subject("one", headed.model_copy(update={"heads": heads}), None, "", named)])
    assert evil not in page
    assert page.count("</script>") == 3


def test_fifty_reports_with_heads_fit_into_five_megabytes(headed: Report, seen: Headed) -> None:
    page = render([Subject(f"{number}.edgec", headed, None, "", seen) for number in range(50)])
    assert len(page.encode()) < 5_000_000


def test_labels_of_points_that_coincide_do_not_overlap(chromium: Any, write: Written, headed: Report) -> None:
    """The same report five times: each point lies on four others."""
    other = with_tasks(headed, tasks(agreement=0.95))
    with opened(chromium, write(*(Subject(str(number), each) for number, each in enumerate((headed, other) * 3)))) as tab:
        tab.drawn('[data-chart="overview0"]')
        marks = tab.page.locator('[data-chart="overview0"] .mark-text text')
        texts = [text for text in marks.all_text_contents() if text.strip()]
        boxes = marks.evaluate_all(
            "all => all.filter(e => e.textContent.trim()).map(e => e.getBoundingClientRect())"
            ".map(b => [b.x, b.y, b.right, b.bottom])"
        )
        assert texts
        for one, two in combinations(boxes, 2):
            assert one[0] >= two[2] or two[0] >= one[2] or one[1] >= two[3] or two[1] >= one[3], (one, two)
        assert any("+" in text for text in texts), "those that found no place are counted"
        assert tab.seen.messages == []


def test_sensors_over_a_run_are_drawn(chromium: Any, write: Written, full: Report) -> None:
    readings = tuple(
        Reading(at_ms=500.0 * index, cpu_mhz=2000.0 + index, temperatures_c={"cpu": 50.0 + index, "<gpu>": 40.0}, rss_bytes=10**8)
        for index in range(5)
    )
    chosen = next(each for each in full.candidates if each.chosen)
    (run,) = chosen.runs
    sensed = chosen.model_copy(update={"runs": (run.model_copy(update={"readings": readings}),)})
    report = full.model_copy(update={"candidates": tuple(sensed if each is chosen else each for each in full.candidates)})
    with opened(chromium, write(Subject("one", report))) as tab:
        tab.drawn()
        drawn = tab.page.locator('[data-chart*="-sensors"]')
        assert [(each.get_attribute("data-chart") or "").split("-")[-1] for each in drawn.all()] == [
            "temperature",
            "frequency",
            "memory",
        ]
        assert drawn.first.locator(".mark-line path").count() == 2
        row = tab.page.locator("tr", has_text="<gpu>").first
        assert row.locator("td").all_inner_texts() == ["temperature, °C", "<gpu>", "40", "40", "40", "40", "40"], (
            "each has five readings"
        )
        assert tab.seen.messages == []
