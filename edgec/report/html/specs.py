"""The charts, as Vega-Lite specifications without data: each is on the page once, however often it is drawn.

The colours are Okabe and Ito's, which the colour-blind tell apart; a shape always says the same again. What is ink, grid or paper
is left to the page's style sheet, so that dark and print need no other chart.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any, ParamSpec

from edgec.extras import installed
from edgec.report.points import looks

if TYPE_CHECKING:
    import altair as alt

_P = ParamSpec("_P")
Spec = dict[str, Any]
"""Empty where charts cannot be drawn."""

BLUE, ORANGE, GREEN, RED, SKY, PINK, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#888888"
BROWN = "#8C510A"
PRECISIONS = {"fp32": GREY, "bf16": BLUE, "fp16": SKY, "int8": ORANGE, "fp8": BROWN, "w8": GREEN, "w6": PINK, "w4": RED}
OTHER_PRECISIONS = (PINK, GREEN, SKY, RED)
RUNTIMES = {"openvino": "circle", "onnxruntime": "square", "tensorrt": "triangle-up", "coreml": "diamond"}
OTHER_RUNTIMES = ("cross", "triangle-down", "triangle-left", "triangle-right")
_HEIGHT = 260
_FONT = "system-ui, -apple-system, Segoe UI, Roboto, DejaVu Sans, sans-serif"
"""The page's own: Vega measures text by it."""
_FIGURES = ("cls", "patches", "worst 1 % of patches")
KEPT = {True: "fidelity: 1 is float32's own", False: "what the worst head keeps of float32's"}
"""By whether the models give features."""
VERDICTS = {
    "faster": (GREEN, "triangle-left"), "slower": (RED, "triangle-right"), "no difference shown": (GREY, "circle"),
    "not judged": (PINK, "cross"), "not comparable": (SKY, "diamond"),
}  # fmt: skip
"""Colour and shape of each."""


def can_draw() -> bool:
    """Whether Altair, which writes specifications, and what holds Vega's script are installed. Pages have no charts otherwise."""
    return installed("altair") and installed("vl_convert")


def drawn(make: Callable[_P, Spec]) -> Callable[_P, Spec]:
    """A function that makes a specification, or an empty one where charts cannot be drawn."""

    @wraps(make)
    def made(*arguments: _P.args, **options: _P.kwargs) -> Spec:
        return make(*arguments, **options) if can_draw() else {}

    return made


def _scale(wide: bool, *, padding: int = 0) -> alt.Scale:
    """Of latencies. A logarithmic one is not rounded out to whole decades."""
    import altair as alt

    return alt.Scale(type="log", nice=False, padding=padding or 8) if wide else alt.Scale(zero=False, nice=True, padding=padding)


def finished(chart: alt.LayerChart | alt.FacetChart, description: str, height: int | None = _HEIGHT) -> Spec:
    """The chart with what all have in common, as a specification; `height` in pixels, None where the page decides it."""
    properties: dict[str, Any] = {"width": "container", "description": description}
    if height is not None:
        properties["height"] = height
    spec: Spec = chart.properties(**properties).configure(
        background="transparent", font=_FONT
    ).configure_view(stroke=None).configure_legend(
        orient="bottom", columns=4, titleFontSize=11, labelFontSize=12, symbolStrokeWidth=1, labelLimit=240
    ).configure_axis(labelFontSize=11, titleFontSize=12, titleFontWeight="normal", gridOpacity=0.25).to_dict()  # fmt: skip
    return spec


def kept_axis(title: str, *, channel: str = "x", padding: int = 14) -> Any:
    """A linear axis of what is kept, up to 1."""
    import altair as alt

    axis = alt.X("kept:Q") if channel == "x" else alt.Y("kept:Q")
    return axis.scale(zero=False, nice=False, padding=padding).title(title).axis(format=".6~f", tickCount=5)


def _deadline(channel: str, scale: alt.Scale) -> tuple[alt.Chart, ...]:
    """The camera's deadline on an axis of milliseconds. Datasets, which the page's script fills: deadline (ms, text, align, dx),
    or beyond (text) where the deadline is so far from all runs that the chart would show nothing else."""
    import altair as alt

    deadline, beyond = alt.Chart(alt.NamedData("deadline")), alt.Chart(alt.NamedData("beyond"))
    rule = deadline.mark_rule(color=RED, strokeWidth=2, strokeDash=[6, 4])
    far = beyond.mark_text(color=RED, align="left", baseline="top", dx=4).encode(x=alt.value(0), y=alt.value(0), text="text:N")
    if channel == "y":
        text = deadline.mark_text(color=RED, align="left", baseline="bottom", dx=4, dy=-3)
        y = alt.Y("ms:Q", scale=scale)
        return rule.encode(y=y), text.encode(y=y, x=alt.value(0), text="text:N"), far
    text = deadline.mark_text(color=RED, align=alt.expr("datum.align"), baseline="top", dx=alt.expr("datum.dx"))
    x = alt.X("ms:Q", scale=scale)
    return rule.encode(x=x), text.encode(x=x, y=alt.value(0), text="text:N"), far


def coloured(precisions: tuple[str, ...], runtimes: tuple[str, ...]) -> dict[str, Any]:
    """Candidates' colours by precision and shapes by runtime, as arguments of `encode`."""
    import altair as alt

    colours, shapes = looks(precisions, PRECISIONS, OTHER_PRECISIONS), looks(runtimes, RUNTIMES, OTHER_RUNTIMES)
    return {
        "color": alt.Color("precision:N").scale(domain=[*colours], range=[*colours.values()]).title("precision"),
        "shape": alt.Shape("runtime:N").scale(domain=[*shapes], range=[*shapes.values()]).title("runtime"),
    }


def _flagged(chart: alt.Chart, flag: str, size: int, **encoding: Any) -> tuple[alt.Chart, alt.Chart]:
    """Small dots, and triangles of that size where the field `flag` is true."""
    dots = chart.transform_filter(f"!datum.{flag}").mark_point(filled=True, size=14, opacity=0.8, color=BLUE)
    marked = chart.transform_filter(f"datum.{flag}")
    triangles = marked.mark_point(filled=True, size=size, shape="triangle-up", opacity=1, color=RED)
    return dots.encode(**encoding), triangles.encode(**encoding)


@lru_cache(maxsize=64)
@drawn
def pareto(precisions: tuple[str, ...], runtimes: tuple[str, ...], kept: str, *, wide: bool) -> Spec:
    """Datasets: points (label, name, runtime, precision, p50, p90, kept, chosen), front (p50, kept), budget (kept, text), and
    those of `_deadline`. The page's script adds dx, dy and align, where each point's label goes. `kept` is the title of what is
    kept."""
    import altair as alt

    scale = _scale(wide, padding=18)
    x = alt.X("p50:Q", scale=scale).title("latency of a batch, ms (median; whisker to p90)").axis(tickCount=6, format=".6~g")
    y = kept_axis(kept, channel="y", padding=18)
    points = alt.Chart(alt.NamedData("points"))
    budget = alt.Chart(alt.NamedData("budget"))
    return finished(
        alt.layer(
            budget.mark_rule(color=RED, strokeDash=[6, 4]).encode(y=y),
            budget.mark_text(align="right", baseline="top", dy=4, color=RED).encode(y=y, x=alt.value("width"), text="text:N"),
            *_deadline("x", scale),
            alt.Chart(alt.NamedData("front")).mark_line(interpolate="step-after", color=GREY, strokeWidth=2).encode(
                x=x, y=y, order="p50:Q"
            ),
            points.mark_rule().encode(x=x, x2="p90:Q", y=y),
            points.transform_filter("datum.chosen").mark_point(size=340, shape="circle", strokeWidth=2).encode(x=x, y=y),
            points.mark_point(filled=True, size=95, opacity=1, strokeWidth=0.8).encode(
                x=x, y=y, **coloured(precisions, runtimes), tooltip=[
                    alt.Tooltip("full:N", title="no."), alt.Tooltip("name:N", title="candidate"),
                    alt.Tooltip("p50:Q", title="p50 ms"), alt.Tooltip("p90:Q", title="p90 ms"),
                    alt.Tooltip("kept:Q", title="kept", format=".6f"), alt.Tooltip("evidence:N", title="evidence"),
                ],
            ),
            points.mark_text(
                align=alt.expr("datum.align"), dx=alt.expr("datum.dx"), dy=alt.expr("datum.dy"), baseline="middle", fontSize=11
            ).encode(x=x, y=y, text="label:N"),
        ),
        "Latency against fidelity: a point a candidate, a ring the chosen one, dashes the budget and the camera's deadline.",
        340,
    )  # fmt: skip


@lru_cache(maxsize=4)
@drawn
def timeline(*, wide: bool) -> Spec:
    """Datasets: samples (run, ms, slow), bands (from, to, round), figures (name, ms, below: where its name stands),
    and those of `_deadline`."""
    import altair as alt

    y = alt.Y("ms:Q", scale=_scale(wide)).title("latency, ms").axis(format=".6~g", tickCount=6)
    samples = alt.Chart(alt.NamedData("samples"))
    x = alt.X("run:Q").title("run, in the order taken").scale(nice=False, zero=False).axis(format=".6~g")
    tooltip = [alt.Tooltip("run:Q", title="run"), alt.Tooltip("ms:Q", title="ms")]
    figures = alt.Chart(alt.NamedData("figures"))
    return finished(
        alt.layer(
            alt.Chart(alt.NamedData("bands")).mark_rect(color=GREY, opacity=0.16).encode(
                x=alt.X("from:Q"), x2="to:Q", tooltip=alt.Tooltip("round:Q", title="round")
            ),
            figures.mark_rule(strokeDash=[5, 3], color=GREY).encode(y=y),
            figures.mark_text(
                align="right", baseline=alt.expr("datum.below ? 'top' : 'bottom'"), dy=alt.expr("datum.below ? 5 : -4")
            ).encode(y=y, x=alt.value("width"), text="name:N"),
            *_flagged(samples, "slow", 46, x=x, y=y, tooltip=tooltip),
            *_deadline("y", _scale(wide)),
        ),
        "Latency of each run in the order taken; triangles are above p99, shades are turns.",
        220,
    )  # fmt: skip


@lru_cache(maxsize=4)
@drawn
def distribution(*, wide: bool) -> Spec:
    """Datasets: bins (low, high, count), slow (ms), and those of `_deadline`."""
    import altair as alt

    scale = _scale(wide)
    x = alt.X("low:Q", scale=scale).title("latency, ms").axis(format=".6~g", tickCount=6)
    y = alt.Y("count:Q").title("runs").axis(tickMinStep=1, format=".6~g", tickCount=5)
    tooltip = [alt.Tooltip("low:Q", title="from ms"), alt.Tooltip("high:Q", title="to ms"), alt.Tooltip("count:Q", title="runs")]
    bins = alt.Chart(alt.NamedData("bins"))
    return finished(
        alt.layer(
            bins.mark_rect(color=BLUE).encode(x=x, x2="high:Q", y=y, y2=alt.datum(0), tooltip=tooltip),
            alt.Chart(alt.NamedData("slow"))
            .mark_point(filled=True, size=46, shape="triangle-up", color=RED, opacity=1, yOffset=-5)
            .encode(x=alt.X("ms:Q", scale=scale), y=alt.datum(0), tooltip=alt.Tooltip("ms:Q", title="ms")),
            *_deadline("x", scale),
        ),
        "How many runs took how long; triangles are single runs above p99.",
        220,
    )  # fmt: skip


@lru_cache(maxsize=4)
@drawn
def slower(*, wide: bool) -> Spec:
    """Datasets: shares (ms, share), and those of `_deadline`."""
    import altair as alt

    scale = _scale(wide)
    x = alt.X("ms:Q", scale=scale).title("latency, ms").axis(format=".6~g", tickCount=6)
    y = alt.Y("share:Q").title("share of runs as slow or slower").scale(type="log", nice=False).axis(format="~%", tickCount=4)
    tooltip = [alt.Tooltip("ms:Q", title="ms"), alt.Tooltip("share:Q", title="share as slow or slower", format=".4~%")]
    shares = alt.Chart(alt.NamedData("shares"))
    return finished(
        alt.layer(
            shares.mark_line(interpolate="step-before", color=BLUE, strokeWidth=2).encode(x=x, y=y),
            shares.mark_point(filled=True, size=16, color=BLUE, opacity=0.9).encode(x=x, y=y, tooltip=tooltip),
            *_deadline("x", scale),
        ),
        "The share of runs that took as long or longer, against the time between a camera's frames.",
        220,
    )  # fmt: skip


@lru_cache(maxsize=1)
@drawn
def camera() -> Spec:
    """Datasets: frames (s, ms, late), limit (ms, text)."""
    import altair as alt

    x = alt.X("s:Q").title("arrival, seconds since the run began").scale(zero=True, nice=False)
    y = alt.Y("ms:Q").title("arrival to features, ms").scale(zero=True, nice=True)
    frames, limit = alt.Chart(alt.NamedData("frames")), alt.Chart(alt.NamedData("limit"))
    tooltip = [alt.Tooltip("s:Q", title="arrived s"), alt.Tooltip("ms:Q", title="ms")]
    return finished(
        alt.layer(
            *_flagged(frames, "late", 40, x=x, y=y, tooltip=tooltip),
            limit.mark_rule(color=RED, strokeWidth=2, strokeDash=[6, 4]).encode(y=y),
            limit.mark_text(color=RED, align="right", baseline="bottom", dy=-3).encode(y=y, x=alt.value("width"), text="text:N"),
        ),
        "Latency of each frame as the camera's frames arrived; triangles were done after the deadline.",
        220,
    )  # fmt: skip


@lru_cache(maxsize=1)
@drawn
def stages() -> Spec:
    """Datasets: kept (stage, figure, kept), budget (kept, text)."""
    import altair as alt

    x = kept_axis("cosine with float32's features")
    y = alt.Y("stage:N").sort(None).title(None).axis(labelLimit=170)
    budget = alt.Chart(alt.NamedData("budget"))
    return finished(
        alt.layer(
            alt.Chart(alt.NamedData("kept")).mark_point(filled=True, size=80, opacity=1).encode(
                x=x, y=y,
                color=alt.Color("figure:N").scale(domain=list(_FIGURES), range=[BLUE, GREEN, ORANGE]).title(None),
                shape=alt.Shape("figure:N").scale(domain=list(_FIGURES), range=["circle", "square", "diamond"]).title(None),
                tooltip=[alt.Tooltip("stage:N"), alt.Tooltip("figure:N"), alt.Tooltip("kept:Q", title="cosine", format=".6f")],
            ),
            budget.mark_rule(color=RED, strokeDash=[6, 4]).encode(x=x),
        ),
        "What each stage keeps of the float32 features; the dashed line is the budget.",
        None,
    )  # fmt: skip


@lru_cache(maxsize=4)
@drawn
def times(*, by_block: bool) -> Spec:
    """Dataset: parts (part, ms, share)."""
    import altair as alt

    part = "block of the backbone" if by_block else None
    y = alt.Y("part:N").sort(None).title(part).axis(labelLimit=170)
    x = alt.X("ms:Q").title("ms a batch, profiled").scale(zero=True)
    tooltip = [alt.Tooltip("part:N"), alt.Tooltip("ms:Q", title="ms"), alt.Tooltip("share:Q", format=".1%")]
    parts = alt.Chart(alt.NamedData("parts"))
    return finished(
        alt.layer(
            parts.mark_bar(color=SKY if by_block else BLUE).encode(x=x, y=y, tooltip=tooltip),
            parts.mark_text(align="left", dx=4).encode(x=x, y=y, text=alt.Text("share:Q", format=".1%")),
        ),
        f"Where a batch's time goes, by {'block' if by_block else 'kind of operation'}.",
        None,
    )  # fmt: skip


@lru_cache(maxsize=8)
@drawn
def ratios(verdicts: tuple[str, ...]) -> Spec:
    """Dataset: ratios (what, ratio, low, high, verdict). `verdicts` are those that occur: the legend names no other."""
    import altair as alt

    y = alt.Y("what:N").sort(None).title(None).axis(labelLimit=300)
    x = alt.X("ratio:Q").title("time as a multiple of the first's; 95 % interval").scale(type="log", nice=False, padding=14)
    colours, shapes = ([VERDICTS[each][part] for each in verdicts] for part in (0, 1))
    intervals = alt.Chart(alt.NamedData("ratios"))
    return finished(
        alt.layer(
            intervals.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q"), x2="high:Q", y=y),
            alt.Chart(alt.NamedData("one")).mark_rule(strokeDash=[5, 3], color=GREY).encode(x=x),
            intervals.mark_point(filled=True, size=90, opacity=1).encode(
                x=x.axis(format=".6~g", tickCount=6), y=y,
                color=alt.Color("verdict:N").scale(domain=[*verdicts], range=colours).title(None),
                shape=alt.Shape("verdict:N")
                .scale(domain=[*verdicts], range=shapes).title(None),
                tooltip=[
                    alt.Tooltip("what:N"), alt.Tooltip("ratio:Q"), alt.Tooltip("low:Q"), alt.Tooltip("high:Q"),
                    alt.Tooltip("verdict:N"),
                ],
            ),
        ),
        "Times as multiples of the first report's, with their intervals.",
        None,
    )  # fmt: skip
