"""From a chosen plan to its explanation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from edgec.fidelity.metrics import worst
from edgec.graph.operations import Operation, known_shape, operations
from edgec.graph.plan import CALIBRATED, PrecisionPlan, is_quantised
from edgec.graph.statistics import Statistics
from edgec.graph.values import input_of, name_of, shape_of
from edgec.precision.recipes import Recipe
from edgec.records.evidence import Evidence
from edgec.records.explanation import ExceptionFacts, Explanation, MassiveActivation, OperationFacts
from edgec.records.report import CandidateFigures

MASSIVE = 4.0
"""An activation is called massive when its largest value is this many times the usual row's largest."""
SHOWN = 20
WHY_FLOAT = {
    "attention": "attention's own products: the softmax between them needs the range, and runtimes fuse them",
    "embedding": "the first convolution sees raw pixels and is a few hundredths of the work",
    "depthwise": "depthwise convolutions are bound by memory, not by arithmetic",
    "convolution": "this runtime has no fast int8 convolution",
    "linear": "kept out of int8",
    "head": "heads are never quantised: they are small, and what they lose arrives in the decision as it is",
}


def explain(
    hub: ir.Model,
    plan: PrecisionPlan,
    recipe: Recipe | None,
    statistics: Mapping[str, Statistics],
    sensitivity: Mapping[str, float],
    frames: Sequence[str],
    chosen: CandidateFigures,
    candidates: Sequence[CandidateFigures],
) -> Explanation:
    """The explanation of a chosen plan. `frames` names the frames in the statistics' batches, in order; `candidates` are all that
    were tried, `chosen` among them."""
    entries = operations(hub)
    total = sum(operation.macs for operation in entries)
    int8 = sum(operation.macs for operation in entries if is_quantised(plan.precision_of(operation.name)))
    return Explanation(
        evidence=chosen.fidelity.evidence if chosen.fidelity else Evidence.HOST,
        int8_macs_share=round(int8 / total, 6),
        operations=tuple(
            OperationFacts(
                name=operation.name,
                kind=operation.kind,
                precision=plan.precision_of(operation.name),
                reason=_reason(operation, plan, recipe),
                macs=operation.macs,
                smoothed=operation.activation in plan.smoothing,
                sensitivity=sensitivity.get(operation.name),
            )
            for operation in entries
        ),
        exceptions=_exceptions(recipe, plan, chosen, candidates),
        massive=_massive(hub, entries, statistics, frames),
    )


def _reason(operation: Operation, plan: PrecisionPlan, recipe: Recipe | None) -> str:
    precision = plan.precision_of(operation.name)
    if precision == "fp32" != plan.default:
        return f"what it reads or makes comes too near the end of {plan.default}'s range"
    if not plan.quantised:
        return f"the whole model runs in {precision}"
    if recipe and operation.name in recipe.per_token | recipe.unquantised:
        return recipe.reason
    if precision in CALIBRATED and operation.kind == "attention":
        return "a static range holds what it reads; its softmax lies between 0 and 1, where E4M3 has small numbers, too"
    if precision in CALIBRATED:
        return "a static range from calibration holds its input"
    return WHY_FLOAT[operation.kind]


def _exceptions(
    recipe: Recipe | None, plan: PrecisionPlan, chosen: CandidateFigures, candidates: Sequence[CandidateFigures]
) -> tuple[ExceptionFacts, ...]:
    if recipe is None or not recipe.per_token | recipe.unquantised:
        return ()
    static = next((each for each in candidates if each.name == f"{chosen.runtime}-int8-static" and each.fidelity), None)
    kinds = (("int8-per-token", recipe.per_token), (plan.default, recipe.unquantised))
    return tuple(
        ExceptionFacts(
            operations=tuple(sorted(taken)),
            precision=precision,
            reason=recipe.reason,
            lost_without=round(1 - worst(static.fidelity), 6) if static and static.fidelity else None,
            lost_with=round(1 - worst(chosen.fidelity), 6) if chosen.fidelity else None,
        )
        for precision, taken in kinds
        if taken
    )


def _massive(
    hub: ir.Model, entries: Sequence[Operation], statistics: Mapping[str, Statistics], frames: Sequence[str]
) -> tuple[MassiveActivation, ...]:
    grid = _grid(hub)
    massive = []
    visited: set[str] = set()
    for operation in entries:
        entry = statistics.get(operation.activation)
        if entry is None or operation.activation in visited:
            continue
        visited.add(operation.activation)
        low, high = float(entry.low.min()), float(entry.high.max())
        value = high if high >= -low else low
        ratio = abs(value) / max(float(entry.usual), 1e-12)
        shape = known_shape(operation.node, input_of(operation.node))
        if ratio < MASSIVE:
            continue
        batch, row, channel = (int(number) for number in entry.peak)
        image, token = _token(shape, row, grid, convolution=operation.kind != "linear")
        number = min(batch * shape[0] + image, len(frames) - 1)
        massive.append(
            MassiveActivation(
                operation=operation.name,
                channel=channel,
                token=token,
                frame=frames[number] if frames else "",
                value=round(value, 4),
                ratio=round(ratio, 2),
            )
        )
    return tuple(sorted(massive, key=lambda each: -each.ratio)[:SHOWN])


def _grid(hub: ir.Model) -> tuple[int, ...]:
    """Rows and columns of patches; empty for a graph that makes no patches."""
    by_name = {name_of(value): value for node in hub.graph for value in node.outputs}
    maps = sorted(name for name in by_name if name.startswith("patches"))
    return (shape_of(by_name[maps[0]]) or ())[1:3] if maps else ()


def _token(shape: tuple[int, ...], row: int, grid: tuple[int, ...], *, convolution: bool) -> tuple[int, str]:
    """The image of the batch that a row belongs to, and the name of its token. Rows run over [N, T] of a ViT, or [N, H, W] of a
    map; only a ViT needs the `grid` of patches, which come last."""
    if len(shape) == 4:
        height, width = shape[2:] if convolution else shape[1:3]
        image, position = divmod(row, height * width)
        return image, f"patch {position // width},{position % width}"
    image, position = divmod(row, shape[1])
    if not grid:
        return image, f"row {position}"
    prefix = shape[1] - grid[0] * grid[1]
    if position < prefix:
        return image, "cls" if position == 0 else f"register {position}"
    return image, f"patch {(position - prefix) // grid[1]},{(position - prefix) % grid[1]}"
