"""The goals that int8 is held to, and whether a run met them."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.contender import Judgement
from benchmarks.neighbours import Neighbours
from benchmarks.race import Ratio
from edgec.records.evidence import Evidence

KNN_POINTS = 0.5
INT8_SHARE = 0.85
ROOFLINE_AMBITION = 0.6
FULL_SECONDS, QUICK_SECONDS, BUILD_BYTES = 240, 60, 3_000_000_000


@dataclass(frozen=True)
class Goal:
    """`met` is None for a figure that is printed and has no goal."""

    model: str
    figure: str
    goal: str
    measured: str
    met: bool | None
    evidence: Evidence = Evidence.HOST


@dataclass(frozen=True)
class Bounds:
    """What one model is held to: losses of features over NNCF's, and the worst percentile that TensorRT must keep."""

    p01: float
    mean: float
    tensorrt_p01: float


TRAINED = Bounds(p01=0.15, mean=0.3, tensorrt_p01=0.995)
RANDOM = Bounds(p01=1.0, mean=1.0, tensorrt_p01=0.99)
"""Of random weights: no worse than NNCF."""


def fidelity_goals(model: str, bounds: Bounds, ours: Judgement, theirs: Judgement, peer: str, *, held: bool) -> list[Goal]:
    """`held` says that this is the peer that the goal names; others are printed beside."""
    goals = []
    for name, bound, lost, peers in (
        ("p01", bounds.p01, ours.lost_p01, theirs.lost_p01),
        ("mean", bounds.mean, ours.lost_mean, theirs.lost_mean),
    ):
        share = lost / peers if peers > 0 else float("inf")
        goals.append(
            Goal(
                model,
                f"1 - patch {name} over {peer}'s",
                f"<= {bound:g}" if held else "",
                f"{share:.3f}  ({lost:.2e} over {peers:.2e})",
                share <= bound if held else None,
            )
        )
    return goals


def latency_goal(model: str, ratio: Ratio, peer: str, *, held: bool) -> Goal:
    """Whether ours is no slower. `held` as in `fidelity_goals`."""
    met = ratio.value <= 1 if held else None
    return Goal(model, f"latency over {peer}'s (95 %)", "<= 1.0" if held else "", str(ratio), met)


def tensorrt_goals(
    model: str, bounds: Bounds, judgement: Judgement, peer: Judgement, share: float, of_weights: float
) -> list[Goal]:
    """Fidelity of the plan for TensorRT, and how much of the work it does in int8."""
    return [
        Goal(
            model,
            "TensorRT's symmetric int8, patch p01",
            f">= {bounds.tensorrt_p01:g}",
            f"{judgement.patch_p01:.4f}  (ORT S8S8 {peer.patch_p01:.4f})",
            judgement.patch_p01 >= bounds.tensorrt_p01,
            Evidence.SIMULATED,
        ),
        Goal(
            model,
            "share of multiply-accumulates in int8",
            f">= {INT8_SHARE:.0%}",
            f"{share:.1%}  ({of_weights:.1%} of those with weights)",
            share >= INT8_SHARE,
            Evidence.SIMULATED,
        ),
    ]


def neighbours_goal(model: str, neighbours: Neighbours) -> Goal:
    """Beside the points, how many pictures int8 alone tells right, and how many float32 alone: few of both are chance."""
    accuracy, float32 = 100 * neighbours.int8.mean(), 100 * neighbours.float32.mean()
    gained, lost = int((neighbours.int8 & ~neighbours.float32).sum()), int((neighbours.float32 & ~neighbours.int8).sum())
    yardstick = "" if neighbours.bfloat16 is None else f"; OpenVINO's bfloat16: {100 * neighbours.bfloat16.mean() - float32:+.2f}"
    return Goal(
        model,
        f"kNN accuracy, int8 minus float32, points ({len(neighbours.float32)} pictures)",
        f"within {KNN_POINTS:g}",
        f"{accuracy - float32:+.2f}  ({accuracy:.2f} minus {float32:.2f}; {gained} pictures gained, {lost} lost{yardstick})",
        bool(abs(accuracy - float32) <= KNN_POINTS),
    )


def roofline_goal(model: str, ideal_ms: float, latency_ms: float) -> Goal:
    """Printed without a bound: how near the model comes to the least possible time."""
    share = ideal_ms / latency_ms
    return Goal(
        model,
        f"share of the int8 roofline (ambition {ROOFLINE_AMBITION:.0%})",
        "printed",
        f"{share:.1%}  ({ideal_ms:.2f} ms of {latency_ms:.2f} ms)",
        None,
    )


def build_goals(model: str, effort: str, seconds: float, largest: int, together: int) -> list[Goal]:
    """Time of a cold build and, of a full one, its memory."""
    bound = FULL_SECONDS if effort == "full" else QUICK_SECONDS
    goals = [Goal(model, f"cold build, --effort {effort}, seconds", f"<= {bound}", f"{seconds:.0f}", seconds <= bound)]
    if effort == "full":
        memory = f"{together / 1e9:.2f}  (largest process {largest / 1e9:.2f})"
        bound_gb = BUILD_BYTES / 1e9
        figure = "cold build, peak RSS of all processes, GB"
        goals.append(Goal(model, figure, f"<= {bound_gb:g}", memory, together <= BUILD_BYTES))
    return goals
