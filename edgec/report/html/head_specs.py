"""Specifications of the charts of heads and of a host's sensors, as `edgec.report.html.specs`."""

from __future__ import annotations

from functools import lru_cache

from edgec.report.html.specs import BLUE, GREEN, GREY, ORANGE, PINK, RED, SKY, Spec, coloured, drawn, finished

_SERIES = (BLUE, ORANGE, GREEN, PINK, SKY, RED, GREY)
_DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [1, 3], [10, 4], [4, 1])
MOST_SERIES = len(_SERIES)


@lru_cache(maxsize=64)
@drawn
def heads(precisions: tuple[str, ...], runtimes: tuple[str, ...], title: str) -> Spec:
    """Datasets: lost (row, name, runtime, precision, lost, kept, chosen), budget (row, lost, text). A row is a head, or a
    class of one; `title` says what is lost."""
    import altair as alt

    x = alt.X("lost:Q").scale(zero=True, nice=True, padding=14).title(title).axis(format=".6~g", tickCount=5)
    y = alt.Y("row:N").sort(None).title(None).axis(labelLimit=190)
    points, budget = alt.Chart(alt.NamedData("lost")), alt.Chart(alt.NamedData("budget"))
    tooltip = [
        alt.Tooltip("row:N", title="of"), alt.Tooltip("name:N", title="candidate"), alt.Tooltip("kept:N", title="figure"),
        alt.Tooltip("lost:Q", title="lost"),
    ]  # fmt: skip
    # Candidates stand below one another in their row: otherwise candidates that lost nothing would hide each other.
    offset = alt.YOffset("name:N").sort(None)
    return finished(
        alt.layer(
            points.mark_point(opacity=0).encode(x=x, y=y, yOffset=offset),  # it fixes the order of the rows
            budget.mark_tick(color=RED, thickness=3, size=26).encode(x=x, y=y, tooltip=[alt.Tooltip("text:N", title="budget")]),
            points.transform_filter("datum.chosen")
            .mark_point(size=220, shape="circle", strokeWidth=2)
            .encode(x=x, y=y, yOffset=offset),
            points.mark_point(filled=True, size=70, opacity=1, strokeWidth=0.8).encode(
                x=x, y=y, yOffset=offset, **coloured(precisions, runtimes), tooltip=tooltip,
            ),
        ),
        "What each candidate lost of float32's decisions: the ring marks the chosen one, the red stroke the budget.",
        None,
    )  # fmt: skip


@lru_cache(maxsize=64)
@drawn
def readings(title: str, names: tuple[str, ...]) -> Spec:
    """Dataset: readings (s, name, value)."""
    import altair as alt

    x = alt.X("s:Q").title("seconds since the run began").scale(zero=True, nice=False)
    y = alt.Y("value:Q").title(title).scale(zero=False, nice=True).axis(tickCount=5, format=".6~g")
    series = list(names)
    # A single line needs no legend: the axis's title says what it is.
    legend = alt.Legend(columns=2) if len(series) > 1 else None
    lines = alt.Chart(alt.NamedData("readings")).encode(
        x=x,
        y=y,
        color=alt.Color("name:N").scale(domain=series, range=list(_SERIES[: len(series)])).title(None).legend(legend),
    )
    dashes = alt.StrokeDash("name:N").scale(domain=series, range=list(_DASHES[: len(series)])).title(None).legend(legend)
    tooltip = [alt.Tooltip("s:Q", title="s"), alt.Tooltip("name:N", title="sensor"), alt.Tooltip("value:Q")]
    return finished(
        alt.layer(
            lines.mark_line(strokeWidth=2).encode(strokeDash=dashes),
            lines.mark_point(filled=True, size=22, opacity=0.9).encode(tooltip=tooltip),
        ),
        f"{title} over the run, as the host's sensors said.",
        160,
    )
