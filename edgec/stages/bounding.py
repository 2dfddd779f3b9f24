"""What a build bounds by itself where a model is slow, and how long the rest is likely to take."""

from __future__ import annotations

from dataclasses import replace

from edgec.frames import Split
from edgec.frames.sampling import middles
from edgec.graph.plan import CALIBRATED
from edgec.stages.base import Build, Hub

VALIDATION_GFLOP = 10_000.0
FEWEST_FRAMES = 8
"""Every stage is judged on all validation frames: a dozen passes. One may cost 10 TFLOPs, which is a minute or two on two cores;
models that need more are judged on fewer frames, but eight. Counted, not timed: the same inputs must give the same artefact."""
AWAY_FRAMES = 32
WORTH_SAYING_S = 60.0
_MOST_MEASURING_S = 40.0
"""Of one candidate: 20 runs of two seconds (`edgec.onboard.statistics`)."""
_BEGINNING_S = (2.0, 6.0)
"""Of one candidate: interpreter, runtime, loading and warming up."""


def bound_validation(build: Build, hub: Hub, split: Split) -> Split:
    """As `fewer`; the note is told at once."""
    bounded = fewer(split, max(each.model.gflops for each in hub.all))
    for note in bounded.notes[len(split.notes) :]:
        build.progress.note(note)
    return bounded


def fewer(split: Split, gflops: float) -> Split:
    """The split with as many validation frames as `VALIDATION_GFLOP` allows where a frame takes `gflops`, spread evenly, and a
    note that says what that costs."""
    frames, affordable = split.validation, max(FEWEST_FRAMES, int(VALIDATION_GFLOP / max(gflops, 1e-9)))
    if affordable >= len(frames):
        return split
    note = (
        f"judged on {affordable} of {len(frames)} validation frames, because a frame takes {gflops:.0f} GFLOPs: with all of "
        f"them, each of a dozen passes would take {len(frames) / affordable:.1f} times as long. What it costs: fidelity, above "
        "all the worst percentile of patches, rests on fewer scenes"
    )
    return replace(split, validation=tuple(middles(frames, affordable)), notes=(*split.notes, note))


def tell_what_to_expect(build: Build, hub: Hub, split: Split) -> None:
    """A note with an estimate of the time that the stages after the export take, if it is worth saying."""
    work, candidates = dict[str, float](), len(build.resolved.pairs)
    calibrated = not {precision for _, precision in build.resolved.pairs}.isdisjoint(CALIBRATED)
    if build.resolved.request.features:
        # Away from home at the default size: about as many frames again as a full set of validation frames.
        work = {"reference": AWAY_FRAMES * hub.model.gflops, "fidelity": AWAY_FRAMES * hub.model.gflops * (candidates + 2)}
    for each in hub.all:
        judged, calibrating = (each.model.gflops * len(frames) for frames in (split.validation, split.calibration))
        passes = {
            "reference": judged,
            "hub-fidelity": judged,
            "drift": calibrating,
            "statistics": calibrating if calibrated else 0.0,
            # int8 comes in a few recipes, and what ships is run once more.
            "fidelity": judged * (candidates + 2),
        }
        work |= {stage: work.get(stage, 0.0) + gflop for stage, gflop in passes.items()}
    fast, slow = (hub.model.gflops * build.batch * rate for rate in build.pace.range_of("fidelity"))
    once = [min(_MOST_MEASURING_S, build.resolved.request.iterations * each) for each in (fast, slow)]
    measured = candidates + 2 if build.resolved.backend.runs_here else 0
    low, high = (measured * (each + beginning) for each, beginning in zip(once, _BEGINNING_S, strict=True))
    expected = build.pace.expect(work, (low, high))
    if expected.high_s >= WORTH_SAYING_S:
        build.progress.note(f"estimate: the rest of this build is {expected}")
