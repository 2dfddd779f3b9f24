"""Reports as one HTML page that needs no network: tables, charts that are drawn when they come into view, and pictures.

The page's Content-Security-Policy forbids every request. It runs only the scripts that it holds, by their hashes, so that nothing
that a report says can become one; Vega interprets its expressions instead of compiling them, which needs no `unsafe-eval`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import edgec
from edgec.durable import write_whole
from edgec.errors import EdgecError, RequestError
from edgec.extras import EXTRAS
from edgec.glossary import TERMS, find
from edgec.paths import is_special
from edgec.report.compare.answering import answers
from edgec.report.compare.rendering import METHOD, gate_lines, gate_title, remarks, rows, verdict_sheet, warnings
from edgec.report.compare.sides import Side
from edgec.report.compare.verdicts import Comparison, Gate
from edgec.report.html import sheets
from edgec.report.html.cards import card
from edgec.report.html.charts import Charts, add_overview, add_ratios
from edgec.report.html.sections import facet, section
from edgec.report.html.series import DIGITS, RATES_HZ
from edgec.report.html.specs import can_draw
from edgec.report.html.subjects import Subject, candidates_of
from edgec.report.keeping_up import CAMERA_HZ
from edgec.report.names import short_names
from edgec.report.sheets import Heading, sheet, texts, varying

MARK = "<!doctype html>\n<!-- edgec report -->\n"
"""How every page begins: only files that begin so are replaced."""
OPEN_BELOW = 4
"""A page of fewer reports shows them unfolded."""
_HERE = Path(__file__).parent
_POINTS = 150_000


@dataclass(frozen=True)
class Compared:
    """A comparison, for the top of the page."""

    sides: tuple[Side, ...]
    comparisons: tuple[Comparison, ...]
    gate: Gate | None


def render(subjects: Sequence[Subject], compared: Compared | None = None) -> str:
    """The page as text. `subjects` are one or more, in their order on the page. Where the extra `html` is not installed, the page
    has no charts and says so."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    charts = Charts()
    overview = add_overview(charts, subjects)
    block = None if compared is None else _comparison(charts, compared)
    sections = _sections(charts, subjects)
    data = {
        "specs": charts.specs,
        "charts": charts.charts,
        "rows": [
            facet(number, subject.report, each)
            for number, subject in enumerate(subjects)
            for each in candidates_of(subject.report)
        ],
        "rates": RATES_HZ,
    }
    scripts = [*([_bundle()] if can_draw() else []), (_HERE / "page.js").read_text(encoding="utf-8")]
    environment: Any = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["varying"] = varying
    environment.filters["meaning"] = _meaning
    environment.filters["anchor"] = _anchor
    body = environment.get_template("page.html").render(
        title="Comparison" if compared else "Report" if len(subjects) == 1 else f"{len(subjects)} reports",
        version=edgec.__version__, policy=_policy(scripts), style=(_HERE / "page.css").read_text(encoding="utf-8"),
        scripts=scripts, data=embedded(data), overview=overview,
        overview_sheet=sheets.overview(subjects), comparison=block, sections=sections, rates=RATES_HZ,
        cards=_cards(subjects, compared), camera=CAMERA_HZ, terms=TERMS, digits=DIGITS,
        unfolded=len(subjects) < OPEN_BELOW, without_charts=without_charts(),
    )  # fmt: skip
    return MARK + str(body)


def _cards(subjects: Sequence[Subject], compared: Compared | None) -> list[dict[str, Any]]:
    """Of what ships, or of the candidates that are compared."""
    sides = [] if compared is None or len(compared.sides) != len(subjects) else [side.candidate for side in compared.sides]
    return [card(number, subject, *sides[number : number + 1]) for number, subject in enumerate(subjects)]


def embedded(data: Any) -> str:
    """As JSON in which no string can end the script element around it. Raises `ValueError` for numbers that are not finite."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def write_page(page: str, path: Path, *, inputs: Sequence[Path] = ()) -> None:
    """Writes the file whole or not at all. Replaces an older page, and nothing else: raises `RequestError` for a file that is no
    page, or is one of `inputs`, and `EdgecError` if the page cannot be written."""
    if path.is_dir():
        raise RequestError(f"{path} is a folder.", remedy="give the page's file, as in -o report.html")
    if any(path.exists() and each.exists() and path.samefile(each) for each in inputs) or not _replaceable(path):
        raise RequestError(
            f"{path} is not a page that edgec made, so it is not replaced.",
            remedy="choose another name, or remove the file first",
        )
    try:
        write_whole(path, page.encode("utf-8"))
    except OSError as error:
        raise EdgecError(
            f"The page could not be written to {path}.",
            evidence=error.strerror or str(error),
            remedy="choose a file that you may write",
        ) from error


def _replaceable(path: Path) -> bool:
    if is_special(path):
        return False
    try:
        with path.open("rb") as file:
            begin = file.read(len(MARK.encode()))
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return begin == MARK.encode()


def without_charts() -> str:
    """Why a page made here has no charts, and what adds them; empty where it has."""
    if can_draw():
        return ""
    return f"There are no charts: packages that draw them are not installed. To add them: {EXTRAS['html'].line}"


@cache
def _bundle() -> str:
    """Vega, Vega-Lite and the interpreter of expressions as one script, of the version that Altair writes for."""
    import altair
    import vl_convert

    version = ".".join(altair.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    versions = vl_convert.get_vegalite_versions()
    return str(
        vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=version if version in versions else versions[-1])
    )


def _policy(scripts: Sequence[str]) -> str:
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(each.encode()).digest()).decode()}'" for each in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    )


def _meaning(title: str) -> str:
    """What a column's title means; "" where the glossary does not say."""
    term = find(title)
    return term.text if term else ""


def _anchor(word: str) -> str:
    """The place on the page that explains the word."""
    term = find(word)
    assert term is not None
    return term.anchor


def _sections(charts: Charts, subjects: Sequence[Subject]) -> list[dict[str, Any]]:
    """All samples of chosen candidates are on the page, and those of others while there is room."""
    from edgec.report.html.images import frames_each, maps_each

    frames, maps, room = frames_each(list(subjects)), maps_each(list(subjects)), _POINTS
    sections = []
    for number, subject in enumerate(subjects):
        others = sum(len(each.latency.samples_ms) for each in subject.report.candidates if each.latency and not each.chosen)
        room -= others
        sections.append(section(charts, number, subject, frames=frames, maps=maps, all_candidates=room >= 0))
    return sections


def _comparison(charts: Charts, compared: Compared) -> dict[str, Any]:
    """What the template shows of a comparison, by the template's names."""
    sides, comparisons, gated = compared.sides, compared.comparisons, compared.gate
    compared_rows = rows(sides, comparisons)
    # A side a row: pages are read on phones.
    headings = (*texts("report"), *(Heading(title, number) for title, _, number in compared_rows.table))
    lines = [[name, *(cells[index] for _, cells, _ in compared_rows.table)] for index, name in enumerate(compared_rows.sides)]
    return {
        "answers": answers(comparisons),
        "remarks": remarks(comparisons),
        "same": compared_rows.same,
        "figures": sheet(headings, lines, [0]),
        "verdicts": verdict_sheet(comparisons),
        "method": METHOD,
        "warnings": warnings(sides, comparisons),
        "gate": gated and (gate_title(gated), gate_lines(gated)),
        "chart": add_ratios(charts, comparisons, short_names([Path(side.name) for side in sides])[1:]),
    }
