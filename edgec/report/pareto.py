"""The candidates as a picture: latency against what is lost of the features, the Pareto front, and the one that ships.

matplotlib, not Altair as on pages: every build draws this, and vl-convert's JavaScript engine (88 MB) aborts the whole process
under `ulimit -v`. Its object interface alone: no global state is left behind, and no display is needed.
"""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edgec.records.reading import printable
from edgec.records.report import Report
from edgec.report.cells import mark_chosen, shortened
from edgec.report.decisions import has_features, violation_lines
from edgec.report.labels import Label, place_labels
from edgec.report.points import FLOOR, Point, budgets_of, looks, points_of

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.figure import Figure
    from matplotlib.text import Text

# Okabe and Ito's colours, in an order of lightness that grey keeps apart.
_PRECISIONS = {"fp32": "#000000", "bf16": "#0072B2", "int8": "#E69F00", "fp16": "#F0E442"}
_OTHER_PRECISIONS = ("#CC79A7", "#009E73", "#56B4E9", "#D55E00")
_RUNTIMES = {"openvino": "o", "onnxruntime": "s", "tensorrt": "^", "coreml": "D"}
_OTHER_RUNTIMES = ("v", "P", "X", "p", "<", ">")
_INK, _FAINT, _FRONT, _BUDGET = "#222222", "#777777", "#b4b4b4", "#D55E00"

_WIDTH, _PLOT, _TOP, _TICKS, _LEGEND_ROW, _LINE = 8.6, 4.6, 0.42, 0.5, 0.21, 0.145
"""Inches."""
_LEFT, _RIGHT = 0.75, 0.15
_COLUMNS = 146
_NAME = 40
_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and read aloud
    "svg.hashsalt": "edgec",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.linewidth": 0.8,
}


def pareto_svg(report: Report) -> bytes:
    """The picture as SVG, the same bytes for an equal report and version of matplotlib."""
    with _style():
        file = io.BytesIO()
        pareto_figure(report).savefig(file, format="svg", metadata={"Date": None, "Creator": "edgec", "Title": _title(report)})
        return file.getvalue()


def pareto_figure(report: Report) -> Figure:
    """The figure, drawn and with its labels placed."""
    with _style():
        return _draw(report)


@contextmanager
def _style() -> Iterator[None]:
    """The user's own settings of matplotlib have no effect within."""
    from matplotlib import rc_context, style

    with style.context("default"), rc_context(_STYLE), warnings.catch_warnings():
        # Names may be in any script; whoever opens the SVG has a font for letters that DejaVu lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def _draw(report: Report) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    points = points_of(report)
    runtimes = looks([point.candidate.runtime for point in points], _RUNTIMES, _OTHER_RUNTIMES)
    precisions = looks([point.candidate.precision for point in points], _PRECISIONS, _OTHER_PRECISIONS)
    caption = _caption(report, points)
    entries = _legend(points, runtimes, precisions)
    rows = -(-len(entries) // 4)
    below = _TICKS + rows * _LEGEND_ROW + len(caption) * _LINE + 0.26
    height = _TOP + _PLOT + below

    figure = Figure(figsize=(_WIDTH, height), dpi=144)
    canvas = FigureCanvasAgg(figure)
    box = (_LEFT / _WIDTH, below / height, (_WIDTH - _LEFT - _RIGHT) / _WIDTH, _PLOT / height)
    axes = figure.add_axes(box)
    title = figure.text(_LEFT / _WIDTH, 1 - 0.27 / height, _title(report), fontsize=10.5, color=_INK)
    foot = (len(caption) * _LINE + 0.2) / height
    figure.legend(
        handles=entries, loc="lower left", bbox_to_anchor=(_LEFT / _WIDTH, foot), ncols=4, fontsize=8, frameon=False,
        borderaxespad=0, borderpad=0, labelspacing=0.55, columnspacing=2.2,
    )  # fmt: skip
    for number, line in enumerate(reversed(caption)):
        position = (_LEFT / _WIDTH, (0.1 + number * _LINE) / height)
        figure.text(*position, line, fontsize=7, color=_FAINT)
    budgets = budgets_of(report)
    features = has_features(report)
    _scales(axes, points, [lost for lost, _ in budgets], features)
    _draw_budgets(axes, budgets)
    front = _front(axes, [point for point in points if point.on_front])
    labels = [_mark(axes, point, runtimes, precisions) for point in points]
    canvas.draw()  # type: ignore[no-untyped-call]
    renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]
    _fit(title, figure.bbox.x1, renderer)
    place_labels(axes, labels, renderer, [front, *([(x, lost) for x in axes.get_xlim()] for lost, _ in budgets)])
    return figure


def _scales(axes: Axes, points: Sequence[Point], budgets: Sequence[float], features: bool) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    low = min((point.p50 for point in points), default=0.0)
    high = max((point.p90 for point in points), default=1.0)
    span = max(high - low, 0.2 * high, 1e-3)
    axes.set_xlim(max(0.0, low - 0.12 * span), high + 0.12 * span)
    axes.set_yscale("log")
    lost = [*budgets, *(point.lost for point in points)] or [FLOOR]
    axes.set_ylim(min(lost) / 3, 5 * max(lost))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _power(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("latency of one batch, median (ms); whisker to p90", color=_INK)
    lost_as = "features lost: 1 \N{MINUS SIGN} fidelity" if features else "lost: 1 \N{MINUS SIGN} what the worst head keeps"
    axes.set_ylabel(lost_as, color=_INK)
    axes.grid(which="major", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if not points:
        axes.text(0.5, 0.5, "no candidate has both figures", transform=axes.transAxes, ha="center", color=_FAINT)


def _draw_budgets(axes: Axes, budgets: Sequence[tuple[float, str]]) -> None:
    for lost, words in budgets:
        axes.axhspan(lost, axes.get_ylim()[1], color=_BUDGET, alpha=0.07 / len(budgets), linewidth=0)
        axes.axhline(lost, color=_BUDGET, linewidth=1.1, linestyle=(0, (5, 3)))
        axes.annotate(
            words, (1, lost), xycoords=("axes fraction", "data"), xytext=(-3, 3), textcoords="offset points", ha="right",
            color=_BUDGET, fontsize=8,
        )  # fmt: skip


def _front(axes: Axes, front: Sequence[Point]) -> list[tuple[float, float]]:
    """Draws the line and returns its corners: whatever lies above it and to the right, some candidate beats in both figures."""
    if not front:
        return []
    lost = [axes.get_ylim()[1], *(point.lost for point in front)]
    corners = [(point.p50, y) for point, before in zip(front, lost[:-1], strict=True) for y in (before, point.lost)]
    corners.append((axes.get_xlim()[1], front[-1].lost))
    axes.plot(*zip(*corners, strict=True), color=_FRONT, linewidth=2.2, solid_joinstyle="miter", zorder=2)
    return corners


def _mark(axes: Axes, point: Point, runtimes: dict[str, str], precisions: dict[str, str]) -> Label:
    candidate = point.candidate
    axes.plot([point.p50, point.p90], [point.lost] * 2, color=_INK, linewidth=0.8, zorder=3)
    axes.plot([point.p90], [point.lost], marker="|", markersize=6, color=_INK, linewidth=0, zorder=3)
    axes.plot(
        [point.p50], [point.lost], marker=runtimes[candidate.runtime], markersize=7, linewidth=0, zorder=4,
        color=precisions[candidate.precision], markeredgecolor=_INK, markeredgewidth=0.8,
    )  # fmt: skip
    if candidate.chosen:
        axes.plot([point.p50], [point.lost], marker="o", markersize=15, linewidth=0, zorder=5, **_RING)
    text = mark_chosen(_short(candidate.name), chosen=candidate.chosen)
    return Label(text, (point.p50, point.lost), (point.p90, point.lost), 9.5 if candidate.chosen else 5.5, candidate.chosen)


_RING: Any = {"markerfacecolor": "none", "markeredgecolor": _INK, "markeredgewidth": 1.6}


def _legend(points: Sequence[Point], runtimes: dict[str, str], precisions: dict[str, str]) -> list[Artist]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    entries: list[Artist] = [
        Line2D([], [], marker=marker, linewidth=0, markersize=7, color="white", markeredgecolor=_INK, label=_short(name))
        for name, marker in runtimes.items()
    ]
    entries += [Patch(facecolor=colour, edgecolor=_INK, linewidth=0.8, label=_short(name)) for name, colour in precisions.items()]
    if points:
        entries.append(Line2D([], [], color=_FRONT, linewidth=2.2, label="Pareto front"))
    if any(point.candidate.chosen for point in points):
        entries.append(Line2D([], [], marker="o", linewidth=0, markersize=11, label="chosen", **_RING))
    for entry in entries:
        if str(entry.get_label()).startswith("_"):  # which legends leave out
            entry.set_label(f"\N{ZERO WIDTH SPACE}{entry.get_label()}")
    return entries


def _title(report: Report) -> str:
    batch, height, width, _ = report.input_shape
    frames = f", {batch} frames a batch" if batch > 1 else ""
    return f"{_short(report.model.name)} at {height}x{width}{frames}, for {_short(report.target)}"


def _caption(report: Report, points: Sequence[Point]) -> list[str]:
    timed = dict.fromkeys(point.candidate.latency.evidence.value for point in points if point.candidate.latency)
    judged = dict.fromkeys(point.candidate.fidelity.evidence.value for point in points if point.candidate.fidelity)
    threads = dict.fromkeys(point.candidate.latency.threads for point in points if point.candidate.latency)
    machine = ", a virtual machine" if report.host.virtual_machine else ""
    suited = "has" if report.host_is_target else "does not have"
    judged_by = "Fidelity: the lowest cosine of CLS, patches and their worst 1 %, to the float32 PyTorch model"
    if not has_features(report):
        judged_by = "What a head keeps of its float32 decisions: agreement, mean IoU, 1 less the depth error, the smallest cosine"
    sentences = [f"{judged_by}, over {report.validation_frames} frames that calibration never saw."]
    if points:
        sentences.append(
            f"Latency: {', '.join(timed)}, {' or '.join(map(str, threads))} threads. Fidelity: {', '.join(judged)}. "
            f"Host: {printable(report.host.cpu)} ({printable(report.host.architecture)}), {report.host.usable_cores} usable cores"
            f"{machine}; it {suited} all that the target's profile asks for."
        )
    if any(point.lost == FLOOR for point in points):
        sentences.append(f"What has lost {_power(FLOOR)} or less, the last decimal of the report's cosines, is drawn there.")
    drawn = {point.candidate.name for point in points}
    # By their cosines alone these candidates would seem to be within the budget.
    sentences += [f"{line}." for line in violation_lines(report)] if report.heads else []
    absent = [_short(candidate.name) for candidate in report.candidates if candidate.name not in drawn]
    if absent:
        sentences.append(f"Not drawn, for want of figures: {', '.join(absent)}.")
    if report.model.random_weights:
        sentences.append("Random weights: latency is real; fidelity is against the same random model and says nothing.")
    return [line for sentence in sentences for line in textwrap.wrap(sentence, _COLUMNS)]


def _fit(text: Text, right: float, renderer: RendererAgg) -> None:
    """Shorten from the end what sticks out of the picture."""
    whole = text.get_text()
    while whole and text.get_window_extent(renderer).x1 > right:
        whole = whole[:-1]
        text.set_text(f"{whole}…")


def _short(name: str) -> str:
    return shortened(name, _NAME, _NAME // 4)


def _power(value: float) -> str:
    """0.01, 0.001, 1e-4."""
    return f"{value:g}" if value > 5e-4 else f"{value:.0e}".replace("e-0", "e-")
