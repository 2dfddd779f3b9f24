from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from itertools import combinations, pairwise
from pathlib import Path

import matplotlib
import pytest
from markdown_it import MarkdownIt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from edgec.records.report import CandidateFigures, Report
from edgec.report.cells import candidate_name
from edgec.report.markdown import to_markdown
from edgec.report.pareto import FLOOR, pareto_figure, pareto_svg, points_of
from tests.support.commands import python

ODD = '<script>&"'


@pytest.fixture
def made(report: Report):
    """The report with other candidates, each given as name, p50, p90 and worst cosine; the second one is chosen."""
    model = report.candidates[0]

    def make(*entries: tuple[str, float, float, float], **fields: object) -> Report:
        assert model.latency is not None
        assert model.fidelity is not None
        candidates = []
        for index, (name, p50, p90, worst) in enumerate(entries):
            latency = model.latency.model_copy(update={"p50_ms": p50, "p90_ms": p90})
            fidelity = model.fidelity.model_copy(
                update={"cls_cosine_mean": 1.0, "patch_cosine_mean": 1.0, "patch_cosine_p01": worst}
            )
            runtime, _, rest = name.partition("-")
            precision = rest.split("-")[0] or "int8"
            candidates.append(
                CandidateFigures(
                    name=name, runtime=runtime, precision=precision, latency=latency, fidelity=fidelity, chosen=index == 1
                )
            )
        chosen = candidates[min(1, len(candidates) - 1)].name
        return report.model_copy(update={"candidates": tuple(candidates), "chosen": chosen, **fields})

    return make


SEVEN = (
    ("openvino-fp32", 48.5, 56.1, 1.0),
    ("openvino-int8-mixed", 20.9, 24.9, 0.999843),
    ("onnxruntime-fp32", 56.3, 76.3, 1.0),
    ("openvino-bf16", 32.4, 38.5, 0.999987),
    ("openvino-int8-static", 20.4, 23.3, 0.999686),
    ("openvino-int8-per-token", 21.5, 28.8, 0.99971),
    ("onnxruntime-int8-static", 26.8, 46.4, 0.999587),
)
TWELVE = (
    *SEVEN,
    ("openvino-int8-tokens-6", 20.6, 24.0, 0.9998),
    ("openvino-int8-tokens-12", 20.7, 25.0, 0.99981),
    ("onnxruntime-int8-but-6", 29.0, 35.0, 0.99984),
    ("onnxruntime-int8-but-12", 31.0, 36.0, 0.99986),
    ("openvino-int8-broken", 20.0, 22.0, 0.2),
)


def texts(svg: bytes) -> list[str]:
    """By a parser that is not matplotlib's."""
    root = ElementTree.fromstring(svg.decode())
    return ["".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")]


def extents(figure: Figure) -> dict[str, Bbox]:
    """Of every text of the picture as it is drawn, in pixels."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (axes,), (legend,) = figure.axes, figure.legends
    texts = [*figure.texts, *axes.texts, *legend.get_texts(), axes.xaxis.label, axes.yaxis.label]
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    # An annotation's own extent holds the line to its mark as well.
    return {text.get_text(): Text.get_window_extent(text, canvas.get_renderer()) for text in texts}


@pytest.mark.parametrize("entries", [SEVEN[1:2], SEVEN[:2], SEVEN, TWELVE], ids=["1", "2", "7", "12"])
def test_no_label_lies_on_another_or_leaves_the_picture(made, entries) -> None:
    figure = pareto_figure(made(*entries))
    (axes,) = figure.axes
    boxes = extents(figure)
    for text, box in boxes.items():
        assert figure.bbox.x0 <= box.x0, text
        assert box.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= box.y0, text
        assert box.y1 <= figure.bbox.y1, text
    for (one, a), (other, b) in combinations(boxes.items(), 2):
        assert not a.overlaps(b), (one, other)
    names = {candidate_name(point.candidate) for point in points_of(made(*entries))}
    labels = {text: box for text, box in boxes.items() if text in names}
    assert len(labels) == len(entries)
    marks = [axes.transData.transform((point.p50, point.lost)) for point in points_of(made(*entries))]
    for text, box in labels.items():
        assert axes.bbox.containsx(box.x0), text
        assert axes.bbox.containsx(box.x1), text
        assert axes.bbox.containsy(box.y0), text
        assert axes.bbox.containsy(box.y1), text
        assert not any(box.contains(*mark) for mark in marks), text


def test_every_candidate_is_named_and_escaped(report: Report) -> None:
    """The last one has no figures."""
    names = [ODD, "a$x^2$b", "_hidden", "gone & away"]
    candidates = tuple(
        each.model_copy(update={"name": name, "runtime": f"_{name}"}) for each, name in zip(report.candidates, names, strict=True)
    )
    svg = pareto_svg(report.model_copy(update={"candidates": candidates, "chosen": "a$x^2$b"}))
    assert b"<script>" not in svg
    boxes = texts(svg)
    assert ODD in boxes
    assert "a$x^2$b (chosen)" in boxes
    assert "_hidden" in boxes
    assert any("Not drawn" in text and "gone & away" in text for text in boxes)


def test_control_characters_and_other_scripts_are_no_fault(made) -> None:
    svg = pareto_svg(made(("a\x1b[31m\x00-int8", 20, 21, 0.99), ("\u8eca-int8", 30, 31, 0.999), ("\ud800-int8", 40, 41, 0.9999)))
    assert any("\u8eca-int8" in text for text in texts(svg))


def test_the_caption_names_machine_and_evidence(report: Report) -> None:
    said = " ".join(texts(pareto_svg(report)))
    for expected in (
        "vits16-standin at 224x224, for x86-64-avx512-vnni",
        "latency of one batch, median (ms); whisker to p90",
        "features lost: 1 \N{MINUS SIGN} fidelity",
        "budget: fidelity at least 0.99",
        "Latency: measured on host, 2 threads. Fidelity: measured on host.",
        "Host: Some CPU (x86_64), 2 usable cores, a virtual machine; it has all",
        "over 40 frames that calibration never saw",
        "Pareto front",
    ):
        assert expected in said
    assert "Random weights" not in said
    model = report.model.model_copy(update={"random_weights": True})
    assert "Random weights" in " ".join(texts(pareto_svg(report.model_copy(update={"model": model}))))


def test_the_front(made) -> None:
    front = [point.candidate.name for point in points_of(made(*TWELVE)) if point.on_front]
    assert front == [
        "openvino-int8-broken",
        "openvino-int8-static",
        "openvino-int8-tokens-6",
        "openvino-int8-tokens-12",
        "openvino-int8-mixed",
        "onnxruntime-int8-but-12",
        "openvino-bf16",
        "openvino-fp32",
    ]


def test_points_are_where_their_figures_are(made) -> None:
    (axes,) = pareto_figure(made(*SEVEN)).axes
    drawn = {(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in axes.lines if len(line.get_xdata()) == 1}
    for _, p50, p90, worst in SEVEN:
        lost = pytest.approx(max(1 - worst, FLOOR))
        assert any(x == p50 and y == lost for x, y in drawn)
        assert any(x == p90 and y == lost for x, y in drawn)
    (budget,) = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert budget.get_ydata()[0] == pytest.approx(0.01)


def test_the_chosen_one_has_a_ring(made) -> None:
    (axes,) = pareto_figure(made(*SEVEN)).axes
    rings = [line for line in axes.lines if line.get_markerfacecolor() == "none" and line.get_marker() == "o"]
    assert [ring.get_xdata()[0] for ring in rings] == [20.9]


def test_candidates_that_lost_nothing_are_drawn_at_the_floor_and_the_caption_says_so(made) -> None:
    report = made(*SEVEN)
    assert [point.lost for point in points_of(report) if point.candidate.precision == "fp32"] == [FLOOR, FLOOR]
    said = "What has lost 1e-6 or less"
    assert said in " ".join(texts(pareto_svg(report)))
    assert said not in " ".join(texts(pareto_svg(made(*SEVEN[3:]))))


@pytest.mark.parametrize("budget", [1.0, 0.999999, 0.5, 1e-9])
def test_any_budget_is_in_the_picture(made, budget: float) -> None:
    (axes,) = pareto_figure(made(*SEVEN[:2], min_fidelity=budget)).axes
    low, high = axes.get_ylim()
    assert low < max(1 - budget, FLOOR) < high


def test_features_turned_over_are_drawn_too(made) -> None:
    assert points_of(made(("a-int8", 20, 21, -1.0)))[0].lost == 2.0
    pareto_svg(made(("a-int8", 20, 20, -1.0), ("b-fp32", 20, 20, 1.0001)))


def test_no_candidate_has_figures(report: Report) -> None:
    said = texts(pareto_svg(report.model_copy(update={"candidates": report.candidates[3:]})))
    assert "no candidate has both figures" in said
    assert "Not drawn, for want of figures: openvino bf16." in said


def test_precisions_differ_in_grey(made) -> None:
    (axes,) = pareto_figure(made(*((f"openvino-{name}", 20.0 + index, 30.0, 0.99) for index, name in enumerate(KNOWN)))).axes
    fills = {line.get_xdata()[0]: matplotlib.colors.to_rgb(line.get_color()) for line in axes.lines if line.get_markersize() == 7}
    lightness = sorted(0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 for red, green, blue in fills.values())
    assert len(lightness) == 4
    assert all(above - below > 0.1 for below, above in pairwise(lightness))


KNOWN = ("fp32", "fp16", "bf16", "int8")


def test_equal_reports_give_equal_bytes_whatever_the_user_s_plots_look_like(report: Report, tmp_path: Path) -> None:
    plain = pareto_svg(report)
    assert b"date" not in plain
    with matplotlib.rc_context({"font.size": 25, "svg.fonttype": "path", "axes.grid": True, "lines.linewidth": 9}):
        assert pareto_svg(report) == plain
        assert matplotlib.rcParams["font.size"] == 25
    (tmp_path / "matplotlibrc").write_text("font.family: monospace\nsvg.hashsalt: other\n")
    (tmp_path / "report.json").write_text(report.model_dump_json())
    code = (
        "import sys, pathlib; from edgec.report.pareto import pareto_svg; from edgec.records.report import Report\n"
        "pathlib.Path('out.svg').write_bytes(pareto_svg(Report.model_validate_json(open('report.json').read())))\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    done = python(code, cwd=tmp_path, env={"PYTHONHASHSEED": "7"})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.svg").read_bytes() == plain


def test_a_report_in_markdown_shows_it_below_the_candidates(report: Report) -> None:
    plain, shown = to_markdown(report), to_markdown(report, "report/pareto.svg")
    html = MarkdownIt("commonmark").enable("table").render(shown)
    assert html.count("<img ") == 1
    assert html.index("</table>") < html.index('<img src="report/pareto.svg"') < html.index("Chosen:")
    assert "<img" not in MarkdownIt("commonmark").enable("table").render(plain)
