"""The page in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
        assert page.locator("#filters:visible").count() == 0
        page.locator(".filters > summary").click()
        rows = page.locator("#overview-table tbody tr:visible")
        assert rows.count() == 8
        assert page.locator(".card:visible").count() == 2
        page.select_option('[data-facet="target"]', "jetson-orin")
        assert rows.count() == 4
        assert page.locator(".report:visible").count() == 1
        assert page.locator(".card:visible").count() == 1
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
        for heading in (tab.page.locator(".card h2").first, tab.page.locator("details.report h2").first):
            assert evil.split("\u2028")[0] in (heading.text_content() or "")
            assert "{{7*7}}" in (heading.text_content() or "")
        assert all(url.startswith(("file:", "data:")) for url in tab.seen.requests)


def burdened(report: Report) -> Report:
    chosen = next(each for each in report.candidates if each.chosen)
    assert chosen.latency is not None
    other = chosen.model_copy(update={"latency": chosen.latency.model_copy(update={"other_cores": 1.6})})
    return another(report, candidates=tuple(other if each is chosen else each for each in report.candidates))


def above_the_fold(page: Any, selector: str) -> bool:
    box = page.locator(selector).first.bounding_box()
    height = page.viewport_size["height"]
    return box is not None and box["y"] >= 0 and box["y"] + box["height"] <= height


@pytest.mark.parametrize(
    ("width", "height", "scheme"),
    [(390, 800, "dark"), (820, 1100, "light"), (1280, 800, "light")],
    ids=["phone", "tablet", "desktop"],
)
def test_the_answer_is_above_the_fold(chromium: Any, write: Written, full: Report, width: int, height: int, scheme: str) -> None:
    large = another(full, input_shape=(1, 480, 640, 3))
    file = write(Subject("one", full), Subject("busy", burdened(full)), Subject("large", large), Subject("four", full))
    with opened(chromium, file, viewport={"width": width, "height": height}, color_scheme=scheme) as tab:
        page = tab.page
        assert above_the_fold(page, ".card")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        text = page.locator(".card").first.inner_text()
        for words in (
            *("vits16-standin", "224x224 on x86-64-avx512-vnni", "30 Hz: no", "2 of 61 frames missed", "40.0 frames a second"),
            *("p50 24.99, p99 25.", "0.98765 fidelity 0.99 asked", "measured on host"),
        ):
            assert words in text, text
        badge = page.locator(".badge")
        assert badge.all_inner_texts() == ["measured under load: other work used 1.6 of 2 cores meanwhile"]
        red, green, blue = map(int, re.findall(r"\d+", badge.evaluate("each => getComputedStyle(each).backgroundColor"))[:3])
        assert red > green > blue, "amber"
        if scheme == "dark":
            ground, ink = page.evaluate("(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))")
            assert sum(map(int, re.findall(r"\d+", ground))) < 150 < 600 < sum(map(int, re.findall(r"\d+", ink)))
        page.select_option("#rate", "60")
        assert "60 Hz: yes" not in page.locator(".card").first.inner_text()
        page.select_option("#rate", "10")
        assert "10 Hz: yes p99 is 25." in " ".join(page.locator(".card").first.inner_text().split())
        page.get_by_role("link", name="fidelity").first.click()
        assert page.locator("#word-fidelity").is_visible()
        assert tab.seen.messages == []


def test_charts_are_faceted_and_tables_say_what_they_leave_out(chromium: Any, write: Written, full: Report) -> None:
    large, elsewhere = another(full, input_shape=(1, 480, 640, 3)), another(full, target="jetson-orin")
    with opened(
        chromium,
        write(*(Subject(name, each) for name, each in (("one", full), ("two", large), ("three", elsewhere), ("four", full)))),
    ) as tab:
        page = tab.page
        tab.drawn('[data-chart^="overview"]')
        facets = page.locator("#overview .pair h3").all_inner_texts()
        assert facets == [
            f"{what}, measured on Some CPU"
            for what in ("224x224, x86-64-avx512-vnni", "480x640, x86-64-avx512-vnni", "224x224, jetson-orin")
        ]
        for chart in page.locator('[data-chart^="overview"]').all():
            assert "30 Hz: 33.3 ms" in chart.inner_text()
            assert "budget: fidelity at least 0.99" in chart.inner_text()
        assert page.locator('[data-chart="overview0"] .mark-symbol.role-mark path').count() > 6, "of two reports"
        page.select_option("#rate", "60")
        page.locator('[data-chart="overview0"]').get_by_text("60 Hz: 16.7 ms").wait_for()
        box = page.locator("#overview .wide")
        assert "scrolls" in (box.get_attribute("class") or "")
        assert page.locator("#overview .more-columns").is_visible()
        before = [page.locator(f"#overview-table tbody td:nth-child({place})").first.bounding_box()["x"] for place in (1, 2)]
        box.evaluate("each => { each.scrollLeft = 10000; }")
        page.locator("#overview .more-columns").wait_for(state="hidden")
        after = [page.locator(f"#overview-table tbody td:nth-child({place})").first.bounding_box()["x"] for place in (1, 2)]
        assert after == pytest.approx(before, abs=1), "the first columns stay"
        titles = page.locator("#overview-table th").all_inner_texts()
        assert "batch" not in titles
        assert "batch 1" in page.locator("#overview").inner_text()
        assert "smallest" not in (page.locator("th", has_text="fidelity").first.get_attribute("title") or "")
        assert "lowest of three cosines" in (page.locator("#overview-table th", has_text="fidelity").get_attribute("title") or "")
        assert tab.seen.messages == []


def test_four_reports_are_five_sheets_of_paper(
    chromium: Any, write: Written, full: Report, pictures: Compared, tmp_path: Path
) -> None:
    file = write(*(Subject(f"{name}.edgec", full, pictures, "") for name in "abcd"))
    with opened(chromium, file) as tab:
        page = tab.page
        page.locator('.brief .chart[data-drawn="done"]').nth(3).wait_for(state="attached")
        page.emulate_media(media="print", color_scheme="light")
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        assert page.locator("details.report[open]").count() == 4
        assert page.locator(".controls:visible, .rest:visible").count() == 0
        assert page.locator(".card:visible").count() == 4
        assert page.locator(".brief .chart:visible svg").count() == 4
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        page.evaluate("window.dispatchEvent(new Event('afterprint'))")
        paper = page.pdf(path=tmp_path / "page.pdf", prefer_css_page_size=True)
        assert len(re.findall(rb"/Type\s*/Page\b", paper)) == 5
        assert tab.seen.messages == []
