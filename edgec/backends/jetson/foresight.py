"""What can be sentences of a graph before any board has seen it: whether its TensorRT takes it, and how long it must take at
least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from edgec.backends.jetson import roofline
from edgec.backends.jetson.profile import Jetson, JetsonProfile, as_boards
from edgec.backends.jetson.roofline import lower_bounds
from edgec.errors import EdgecError
from edgec.graph.work import Work, count_work
from edgec.lowering.tensorrt.check import check_graph, read_graph
from edgec.lowering.tensorrt.lowering import TENSORRT, has_types
from edgec.lowering.tensorrt.rules import parse_version
from edgec.records.compilation import Compilation
from edgec.records.report import Bound


@dataclass(frozen=True)
class Foresight:
    """`problem` says why some TensorRT that a board may have refuses the graph, which must serve all of them; empty if none does.
    `notes` are what else TensorRT's rules say about it."""

    bounds: tuple[Bound, ...]
    problem: str
    notes: tuple[str, ...]


def foresee(graph: Path, precision: str, boards: Sequence[JetsonProfile], compilations: Sequence[Compilation] = ()) -> Foresight:
    """What is known of a graph of this precision, for these boards; `compilations` are what NVIDIA's compiler made of it.
    TensorRT versions that the precision is not for are skipped."""
    model = read_graph(graph)
    suited = {board.name: (board.jetson, versions) for board in boards if (versions := versions_for(precision, board.jetson))}
    if not suited:
        return Foresight(
            (), f"none of these boards has a TensorRT and a GPU for {precision}: it takes {TENSORRT[precision][0]} or newer", ()
        )
    findings = check_graph(model, tuple(dict.fromkeys(version for _, versions in suited.values() for version in versions)))
    errors = [finding for finding in findings if finding.is_error]
    sentences = [f"TensorRT {', '.join(finding.versions)}: {finding.rule.consequence}" for finding in findings]
    work = count_work(ir.from_proto(model))

    def of_board(name: str) -> list[Compilation]:
        return [each for each in compilations if name in each.boards]

    bounds = tuple(
        Bound(
            board=name,
            power_mode=bound.mode,
            bound_ms=round(bound.bound_ms, 4),
            limited_by=bound.limited_by,
            estimate_ms=_estimate(bound, board, of_board(name)),
            likely_ms=_likely(bound, work, board, of_board(name)),
        )
        for name, (board, _) in suited.items()
        for bound in lower_bounds(work, board)[:1]
    )
    return Foresight(bounds, "; ".join(sentences[: len(errors)]), tuple(sentences[len(errors) :]))


def _estimate(bound: roofline.LatencyBound, board: Jetson, compilations: Sequence[Compilation]) -> float | None:
    """In the bound's power mode; None where the compiler has not seen the graph for the board."""
    rates = next((mode.rates for mode in board.modes if mode.name == bound.mode), None)
    if rates is None or not compilations:
        return None
    return round(roofline.estimate_ms(bound, compilations[0], rates), 4)


def _likely(bound: roofline.LatencyBound, work: Work, board: Jetson, compilations: Sequence[Compilation]) -> tuple[float, float]:
    rates = next(mode.rates for mode in board.modes if mode.name == bound.mode)
    assert rates is not None
    return roofline.likely_ms(bound, work, rates, next((each for each in compilations if each.accepted), None))


def versions_of(variant: str, target: str) -> tuple[str, ...]:
    """The TensorRT versions that a graph of an artefact for this target is judged by, as its build judged it: those that its
    boards may have and that the variant is for. Empty for a variant or a target that edgec does not know."""
    from edgec.backends.profiles import family, resolve
    from edgec.host.facts import facts

    if variant not in TENSORRT:
        return ()
    try:
        profiles = family(target) or (resolve(target, facts()),)
    except EdgecError:
        return ()
    versions = (version for board in as_boards(profiles) for version in versions_for(variant, board.jetson))
    return tuple(sorted(dict.fromkeys(versions), key=parse_version))


def versions_for(precision: str, board: Jetson) -> tuple[str, ...]:
    """The TensorRT versions that the board may have and that a graph of this precision is for; none if its GPU lacks the type."""
    if not has_types(precision, board.compute_capability):
        return ()
    low, below = (parse_version(version) for version in TENSORRT[precision])
    return tuple(version for version in board.tensorrt_versions if low <= parse_version(version) < below)
