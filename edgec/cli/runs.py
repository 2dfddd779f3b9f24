"""A run, and inferences after idle, as the terminal shows them."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from edgec.cli.console import out

if TYPE_CHECKING:
    from edgec.records.report import AfterIdle, Run


def print_run(run: Run, batch: int) -> None:
    """Its heading, spreads and figures, on standard output."""
    from rich.text import Text

    from edgec.cli.tables import facts_table, spread_table

    out.print()
    out.print(Text(heading(run), style="bold"))
    of_arrivals = [("latency", run.latency), ("wait", run.wait)] if run.mode == "camera" else []
    spreads = [*of_arrivals, ("service", run.service), ("interval", run.interval)]
    rows = [((name,), spread, (str(spread.count),)) for name, spread in spreads if spread is not None]
    out.print(spread_table(rows, before=("",), behind=("frames",)))
    out.print(facts_table(_facts(run, batch)))


def print_idle(idle: AfterIdle, usual_ms: float) -> None:
    """One line on standard output; `usual_ms` is the median without a pause."""
    from rich.text import Text

    shown = ", ".join(f"{sample:.2f}" for sample in idle.samples_ms)
    out.print()
    out.print(
        Text(
            f"after {idle.idle_s:g} s of idling: {shown} ms; the median is {statistics.median(idle.samples_ms) / usual_ms:.2f} "
            f"times the usual p50, {usual_ms:.2f} ms ({idle.evidence.value})"
        ),
        soft_wrap=True,
    )


def heading(run: Run) -> str:
    """How its frames came, over how many streams, for how long."""
    streams = f"{run.streams} stream{'s' if run.streams > 1 else ''} of {run.threads} thread{'s' if run.threads > 1 else ''}"
    if run.fps is None:
        return f"back to back, {streams}, {run.seconds:.1f} s"
    waiting = "the newest frame waits" if run.queue == "latest" else "all frames wait"
    return f"camera at {run.fps:g} Hz, {waiting}, {streams}, {run.seconds:.1f} s"


def _facts(run: Run, batch: int) -> list[tuple[str, str]]:
    facts = [("done", f"{run.throughput_fps:.1f} frames a second{f', in batches of {batch}' if batch > 1 else ''}")]
    if run.missed is not None:
        facts.append(
            (
                "missed",
                f"{run.missed} of {run.arrived} ({100 * run.missed / run.arrived:.3g} %), deadline {run.deadline_ms:.4g} ms",
            )
        )
        facts.append(("dropped", f"{run.dropped} ({100 * run.dropped / run.arrived:.3g} %), counted as missed"))
    if run.jitter_ms is not None:
        facts.append(("jitter", f"{run.jitter_ms:.3f} ms, standard deviation of the intervals"))
    if run.drift is not None:
        drift = run.drift
        facts.append(
            (
                "drift",
                f"{drift.ratio:.3f} ({drift.ratio_low:.3f} to {drift.ratio_high:.3f}, 95 %): p50 {drift.first_p50_ms:.2f} ms "
                f"in the first tenth, {drift.last_p50_ms:.2f} ms in the last",
            )
        )
    if run.cpu_ms_per_frame is not None:
        facts.append(("CPU time", f"{run.cpu_ms_per_frame:.2f} ms a frame, all threads"))
    if run.energy_mj_per_frame is not None:
        facts.append(("energy", f"{run.energy_mj_per_frame:.1f} mJ a frame, all that the sensors cover, idle share included"))
    if run.peak_rss_bytes is not None:
        facts.append(("peak memory", f"{run.peak_rss_bytes / 1e6:.0f} MB resident, all streams together"))
    facts += _sensors(run)
    return [*facts, ("evidence", run.evidence.value)]


def _sensors(run: Run) -> list[tuple[str, str]]:
    from edgec.records.reading import printable

    facts = []
    clocks = [reading.cpu_mhz for reading in run.readings if reading.cpu_mhz is not None]
    if clocks:
        facts.append(("CPU clock", f"{statistics.fmean(clocks):.0f} MHz on average, {min(clocks):.0f} to {max(clocks):.0f}"))
    zones: dict[str, list[float]] = {}
    rails: dict[str, list[float]] = {}
    for reading in run.readings:
        for name, value in reading.temperatures_c.items():
            zones.setdefault(name, []).append(value)
        for name, value in reading.power_mw.items():
            rails.setdefault(name, []).append(value)
    if zones:
        hottest = max(zones, key=lambda name: max(zones[name]))
        values = zones[hottest]
        facts.append(("temperature", f"{printable(hottest)} {values[0]:.0f} to {values[-1]:.0f} °C, at most {max(values):.0f}"))
    if rails:
        listed = ", ".join(f"{printable(name)} {statistics.fmean(values) / 1000:.2f} W" for name, values in rails.items())
        facts.append(("power", f"{listed} on average"))
    return facts
