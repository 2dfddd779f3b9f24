from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgec.errors import EdgecError, RequestError
from edgec.records.report import Report
from edgec.report.compare.opening import open_side
from edgec.report.compare.pace import YARDSTICK
from edgec.report.compare.verdicts import compare
from edgec.report.html.page import MARK, Compared, embedded, render, write_page
from edgec.report.html.subjects import NO_ARTEFACT, Subject
from edgec.report.names import short_names
from edgec.report.pictures import Compared as Pictures


def data(page: str) -> dict[str, Any]:
    (result,) = re.findall(r'<script type="application/json" id="page-data">(.*?)</script>', page, re.DOTALL)
    whole: dict[str, Any] = json.loads(result)
    return whole


def test_a_report_without_samples_profile_or_pictures_says_so(report: Report) -> None:
    bare = report.model_copy(
        update={"candidates": tuple(each.model_copy(update={"latency": None, "cold_start": None}) for each in report.candidates)}
    )
    page = html.unescape(render([Subject("bare", bare)]))
    for text in (NO_ARTEFACT, "holds no samples", "No profile is in this report", "No run on a camera", "this CPU has no bf16"):
        assert text in page


def test_specifications_are_shared_and_data_is_whole(full: Report) -> None:
    one, many = (data(render([Subject(str(number), full) for number in range(count)])) for count in (1, 20))
    assert len(many["specs"]) <= len(one["specs"]) + 1
    assert len(many["charts"]) > 15 * len(one["charts"])
    assert len(many["rows"]) == 20 * len(full.candidates)
    taken = one["charts"]["r0-s0-timeline"]["data"]["samples"]
    assert max(taken["ms"]) == 61.0
    assert sum(one["charts"]["r0-s0-distribution"]["data"]["bins"]["count"]) == 400


def test_fifty_reports_fit_into_five_megabytes(full: Report, pictures: Pictures) -> None:
    page = render([Subject(f"{number}.edgec", full, pictures, "") for number in range(50)])
    assert len(page.encode()) < 5_000_000
    assert 50 <= page.count('class="features"') <= 60


def test_the_policy_lets_nothing_in_and_runs_only_our_scripts(report: Report) -> None:
    page = render([Subject("one", report)])
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert "default-src &#39;none&#39;" in policy
    assert "unsafe-eval" not in policy
    assert "script-src &#39;sha256-" in policy
    markup = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r'(?:src|href)="(?!data:|#)', markup)


def test_strings_cannot_end_their_script() -> None:
    evil = "</script><!-- <script> & \u2028 \u2029"
    text = embedded({"a": evil})
    assert json.loads(text) == {"a": evil}
    assert not set("<>&\u2028\u2029") & set(text)
    with pytest.raises(ValueError, match="not JSON compliant"):
        embedded(float("nan"))


def test_only_pages_are_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    write_page(MARK + "one", page)
    write_page(MARK + "two", page)
    assert page.read_text().endswith("two")
    other = tmp_path / "report.json"
    other.write_text("{}")
    with pytest.raises(RequestError, match="not a page"):
        write_page(MARK, other)
    with pytest.raises(RequestError, match="is a folder"):
        write_page(MARK, tmp_path)
    with pytest.raises(EdgecError, match="could not be written"):
        write_page(MARK, tmp_path / "nowhere" / "page.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html", "report.json"]


def test_names_are_as_short_as_possible_and_differ() -> None:
    assert short_names([Path("/a/x/one.edgec"), Path("/a/y/two.edgec")]) == ["one.edgec", "two.edgec"]
    assert short_names([Path("/a/x/m.edgec"), Path("/a/y/m.edgec")]) == ["x/m.edgec", "y/m.edgec"]
    assert short_names([Path("/a/m"), Path("/a/m")]) == ["m", "m"]


def test_pictures_travel_small(full: Report, pictures: Pictures) -> None:
    page = render([Subject("one", full, replace(pictures, names=("<b>", *pictures.names[1:])), "")])
    assert "&lt;b&gt;" in page
    assert "4 of\n6 golden frames" in page
    assert max(map(len, re.findall(r'src="(data:image/png[^"]*)"', page))) < 2000


def test_a_yardstick_is_no_candidate_of_the_overview(full: Report) -> None:
    """It takes turns with the model, and says nothing of any."""
    stick = next(each for each in full.candidates if each.latency and not each.chosen)
    more = stick.model_copy(update={"name": YARDSTICK, "fidelity": None})
    page = render([Subject("one", full.model_copy(update={"candidates": (*full.candidates, more)})), Subject("two", full)])
    assert len(data(page)["rows"]) == 2 * len(full.candidates)
    overview = re.search(r'id="overview-table">.*?</table>', page, re.DOTALL)
    assert overview is not None
    assert YARDSTICK not in overview[0]
    assert overview[0].count("<tr") == 1 + 2 * len(full.candidates)


def test_cards_of_a_comparison_are_of_what_is_compared(full: Report, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(
        full.model_copy(update={"candidates": tuple(each.model_copy(update={"runs": ()}) for each in full.candidates)}).to_json()
    )
    sides = open_side(path, "openvino fp32"), open_side(path, "openvino int8")
    compared = Compared(sides, (compare(*sides),), None)
    page = html.unescape(render([Subject("a", full), Subject("b", full)], compared))
    shown = re.findall(r'<p class="faint">(openvino [^<;]*);', page)
    assert shown[:2] == [
        "openvino fp32", "openvino int8",
    ]  # fmt: skip
    assert page.index("times as fast as") < page.index('class="card"') < page.index("Compared with the first")
    legend = next(spec for spec in data(page)["specs"] if "multiples of the first" in spec.get("description", ""))
    assert re.findall(r'"domain": (\[[^]]*\])', json.dumps(legend))[0] == '["faster"]', "the legend names what occurs"
