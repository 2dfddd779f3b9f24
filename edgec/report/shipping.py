"""What a build ends with: what ships, how fast it is, what it keeps, and what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from edgec.fidelity.metrics import worst, worst_of
from edgec.onboard.figures import kept, milliseconds, per_second, rate
from edgec.records.reading import printable
from edgec.records.report import CandidateFigures, Report
from edgec.report.keeping_up import CAMERA_HZ, burdened, keeps_up
from edgec.report.names import candidate_words


def chosen_of(report: Report) -> CandidateFigures:
    """The candidate that ships."""
    return next(candidate for candidate in report.candidates if candidate.chosen)


def ships_parts(report: Report) -> Sequence[tuple[str, str]]:
    """The sentence in pieces, each with what its colour means: "plain", "chosen", or "yes", "no" and "not known" of a rate."""
    chosen = chosen_of(report)
    parts = [("Ships: ", "plain"), (candidate_words(chosen.name, chosen.precision), "chosen")]
    latency = chosen.latency
    if latency is None:
        parts.append((". It was not measured here: its board does that", "plain"))
    else:
        keeps = keeps_up(report, chosen)
        frames = per_second(rate(latency.p50_ms, report.input_shape[0]))
        parts += [
            (f", {milliseconds(latency.p50_ms)} ms = ", "plain"),
            (f"{frames} frames a second", keeps.verdict),
            (f" at the median, {latency.evidence.value}; {CAMERA_HZ} Hz: ", "plain"),
            (keeps.verdict, keeps.verdict),
            (f" ({keeps.why})", "plain"),
        ]
    if chosen.fidelity is not None:
        what = "of the features" if chosen.fidelity.cosines else "of what its heads decide"
        parts.append((f"; keeps {kept(worst(chosen.fidelity))} {what}", "plain"))
    lowest = worst_of(chosen.elsewhere)
    if lowest is not None:
        parts.append((f", elsewhere {kept(worst(lowest))} ({printable(lowest.stage)})", "plain"))
    return [*parts, (".", "plain")]


def load_line(report: Report) -> str:
    """What disturbed the measurement, and what to do about it; "" if nothing is known to have."""
    what = burdened(report, chosen_of(report)).replace("while it was measured", "while this was measured")
    return f"{what}: the times may be too long. Measure again alone." if what else ""


def next_line(report: Report, directory: Path) -> str:
    """The command to type next: to run what was measured here, or to bring it to its board."""
    artefact = shlex.quote(printable(str(directory)))
    if chosen_of(report).latency is not None:
        return f"Next: edgec run {artefact} VIDEO_OR_FOLDER"
    return f"Next: edgec deploy {artefact} USER@BOARD"
