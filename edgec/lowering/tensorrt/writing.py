"""A plan written into the hub graph for TensorRT: the passes, in order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Final

import onnx_ir as ir

from edgec.graph.passes.base import Rewrite, rewritten
from edgec.graph.plan import PrecisionPlan
from edgec.graph.planned import apply_plan
from edgec.graph.values import name_of
from edgec.lowering.halves import near_the_end, unfit_products
from edgec.lowering.tensorrt.attention import JoinAttention
from edgec.lowering.tensorrt.bins import SumBins
from edgec.lowering.tensorrt.casting import CastToTypes
from edgec.lowering.tensorrt.labels import ChooseByComparing
from edgec.lowering.tensorrt.norms import NormSideBySide
from edgec.lowering.tensorrt.opset import ToOpset17
from edgec.lowering.tensorrt.pixels import ScalePixels
from edgec.lowering.tensorrt.pointwise import ConvolveBeforeUpsampling
from edgec.lowering.tensorrt.scales import FoldScales
from edgec.lowering.tensorrt.selection import SelectBeforeNorm
from edgec.lowering.tensorrt.typed import assign_types, free_chain, residual_adds

REWRITES: Final[Mapping[str, Callable[[PrecisionPlan], Rewrite]]] = {
    "joint attention": JoinAttention,
    "selection before the norm": lambda plan: SelectBeforeNorm(),
    "norms side by side": lambda plan: NormSideBySide(),
    "scaled pixels": lambda plan: ScalePixels(),
    "convolutions before upsampling": lambda plan: ConvolveBeforeUpsampling(),
    "summed bins": lambda plan: SumBins(),
    "labels by comparison": lambda plan: ChooseByComparing(),
}
"""Forms that the compiler needs fewer kernels, or fewer bytes, for. `python -m benchmarks kernels` shows what each is worth."""


def typed_model(
    hub: ir.Model, plan: PrecisionPlan, *, folded: bool = False, rewrites: Collection[str] = tuple(REWRITES)
) -> tuple[ir.Model, dict[str, str]]:
    """The strongly typed graph of a plan, opset 17 (19 if `folded`, which a plan in fp8 must be), and the operations that stay in
    float32 because a constant does not fit fp16, each with the reason: products, and any operation of a head. int8 is symmetric
    whatever the plan says, because TensorRT has no other."""
    plan = plan if plan.activations == "fp8" else replace(plan, activations="s8")
    planned = apply_plan(hub, plan)
    older = () if folded else (ToOpset17(),)
    model = rewritten(planned, *older, *(make(plan) for name, make in REWRITES.items() if name in rewrites))
    first = assign_types(model, plan)
    in_float32 = {name: reason for name, reason in unfit_products(model).items() if name in first.half}
    CastToTypes(assign_types(model, plan.with_float32(in_float32)))(model)
    if folded:
        FoldScales()(model)
    model.graph.name = plan.name
    return model, in_float32 | dict(first.unfit)


def with_headroom(hub: ir.Model, plan: PrecisionPlan, peaks: Mapping[str, float]) -> PrecisionPlan:
    """The plan, with float32 for every product, and every addition of the residual stream, that makes or reads an activation
    which could overflow fp16 on the robot.

    `peaks` are the largest absolute values that calibration saw (`edgec.graph.peaks`); tensors that it does not name are taken to
    be small.
    """
    crowded = near_the_end(peaks)
    if not crowded:
        return plan
    model = apply_plan(hub, plan)
    types = assign_types(model, plan)
    halves = [node for node in model.graph if node.name in types.half]
    touched = {
        name_of(node): {value for value in (*node.inputs, *node.outputs) if value is not None and value.name in crowded}
        for node in halves
    }
    products = free_chain(model, set().union(*touched.values()), types) - types.int8
    residual = {name for name in residual_adds(list(model.graph)) if touched.get(name)}
    return plan.with_float32(sorted(products | residual))
