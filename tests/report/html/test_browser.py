"""The page in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgec.records.report import Report
from edgec.report.html.subjects import Subject
from edgec.report.pictures import Compared
from tests.support.pages import opened

Written = Callable[..., Path]


def another(report: Report, **changes: Any) -> Report:
    return report.model_copy(update=changes)


def test_all_of_a_report_is_drawn_without_a_message_or_a_request(
    chromium: Any, write: Written, full: Report, pictures: Compared
) -> None:
    file = write(Subject("made.edgec", full, pictures, ""))
    with opened(chromium, file) as tab:
        tab.drawn()
        page = tab.page
        assert page.locator(".chart:visible svg").count() == 8  # Pareto, three of samples, camera, stages, two of the profile
        assert page.locator('[data-drawn="failed"]').count() == 0
        timeline = page.locator('[data-chart$="-timeline"]:visible')
        assert timeline.locator(".mark-symbol path").count() == 400
        assert page.locator(".features").count() == 4
        sizes = page.locator(".features img").evaluate_all("all => all.map(each => [each.naturalWidth, each.naturalHeight])")
        assert sizes[:4] == [[128, 80], [8, 5], [8, 5], [8, 5]]
        for text in ("measured on host", "softmax_3 (attention) on CPU", "camera at 30 Hz", "MLComputePlan"):
            assert page.get_by_text(text).count(), text
        assert tab.seen.messages == []
        assert [url for url in tab.seen.requests if not url.startswith(("data:", "file:"))] == []
        assert len([url for url in tab.seen.requests if url.startswith("file:")]) == 1


def test_another_candidate_and_another_camera(chromium: Any, write: Written, full: Report) -> None:
    with opened(chromium, write(Subject("made", full))) as tab:
        page = tab.page
        tab.drawn('[data-chart$="-slower"]')
        slower = page.locator('[data-chart$="-slower"]:visible')
        slower.get_by_text("30 Hz: 33.3 ms").wait_for()
        page.select_option("#rate", "10")
        slower.get_by_text("10 Hz: 100.0 ms").wait_for()
        page.select_option(".pick", "1")
        assert page.locator(".sample:visible").count() == 1
        tab.drawn('[data-chart$="-timeline"]')
        assert page.locator('[data-chart$="-timeline"]:visible .mark-symbol path').count() == 200
        assert tab.seen.messages == []


def test_filters_and_sorting(chromium: Any, write: Written, full: Report) -> None:
    small = another(full, target="jetson-orin", input_shape=(1, 480, 640, 3))
    with opened(chromium, write(Subject("one", full), Subject("two", small))) as tab:
        page = tab.page
        rows = page.locator("#overview-table tbody tr:visible")
        assert rows.count() == 8
        page.select_option('[data-facet="target"]', "jetson-orin")
        assert rows.count() == 4
        assert page.locator(".report:visible").count() == 1
        page.select_option('[data-facet="precision"]', "int8")
        assert rows.count() == 2
        page.fill('[data-facet="text"]', "  ONNX two ")
        assert rows.count() == 1
        assert page.locator("#count").inner_text() == "1 of 8 candidates, 1 of 2 reports"
        page.get_by_role("button", name="Clear").click()
        page.locator("#count").get_by_text("8 of 8").wait_for()
        page.select_option('[data-facet="chosen"]', "true")
        assert rows.count() == 2
        page.get_by_role("button", name="Clear").click()
        page.locator("#count").get_by_text("8 of 8").wait_for()
        head = page.locator("#overview-table th", has_text="p50 ms")
        column = head.evaluate("head => head.cellIndex + 1")

        def cells() -> list[str]:
            return list(page.locator(f"#overview-table tbody td:nth-child({column})").all_inner_texts())

        head.get_by_role("button").click()
        up = cells()
        assert up[-2:] == ["-", "-"]
        assert [float(cell) for cell in up[:-2]] == sorted(float(cell) for cell in up[:-2])
        head.get_by_role("button").click()
        assert cells() == [*up[:-2][::-1], "-", "-"]
        assert head.get_attribute("aria-sort") == "descending"
        assert tab.seen.messages == []


def test_a_name_that_is_a_script_stays_text(chromium: Any, write: Written, full: Report, pictures: Compared) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}\u2028"
    chosen = next(each for each in full.candidates if each.chosen)
    candidates = tuple(
        each.model_copy(update={"name": evil, "runtime": evil, "precision": evil}) if each is chosen else each
        for each in full.candidates
    )
    report = another(
        full, model=full.model.model_copy(update={"name": evil, "arch": evil}), target=evil, candidates=candidates, chosen=evil,
        reason=evil, notes=(evil,), calibration=evil, host=full.host.model_copy(update={"cpu": evil, "governor": evil}),
    )  # fmt: skip
    with opened(chromium, write(Subject(evil, report, pictures, evil), Subject("other", full))) as tab:
        tab.drawn()
        assert tab.seen.dialogs == []
        assert tab.seen.messages == []
        assert tab.page.locator("script").count() == 3
        assert tab.page.locator("img[src=x]").count() == 0
        assert evil.split("\u2028")[0] in (tab.page.locator("h2").nth(1).text_content() or "")
        assert "{{7*7}}" in (tab.page.locator("h2").nth(1).text_content() or "")
        assert all(url.startswith(("file:", "data:")) for url in tab.seen.requests)


def test_phones_the_dark_and_paper(chromium: Any, write: Written, full: Report, pictures: Compared, tmp_path: Path) -> None:
    file = write(*(Subject(f"{name}.edgec", full, pictures, "") for name in "abcde"))
    with opened(chromium, file, viewport={"width": 390, "height": 800}, color_scheme="dark") as tab:
        page = tab.page
        assert page.locator("details.report[open]").count() == 0
        page.locator("details.report > summary").first.click()
        tab.drawn()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        ground, ink = page.evaluate("(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))")
        assert sum(map(int, re.findall(r"\d+", ground))) < 150 < 600 < sum(map(int, re.findall(r"\d+", ink)))
        assert page.locator(".chart svg text").first.evaluate("each => getComputedStyle(each).fill") == ink
        page.emulate_media(media="print", color_scheme="light")
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        assert page.locator("details.report[open]").count() == 5
        assert page.locator(".controls:visible").count() == 0
        page.wait_for_function(
            "[...document.querySelectorAll('.chart')].every(e => e.dataset.drawn === 'done' || !e.offsetWidth)"
        )
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert tab.seen.messages == []
