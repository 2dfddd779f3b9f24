"""The hub graph with a plan written into it: smoothed, its biases corrected, static int8 as Q/DQ pairs.

What runs per token stays in float here: how a runtime is told differs, and is its lowering's business.
"""

from __future__ import annotations

import onnx_ir as ir

from edgec.graph.passes.base import rewritten
from edgec.graph.passes.correct import CorrectBiases
from edgec.graph.passes.quantise import Quantise
from edgec.graph.passes.smooth import Smooth
from edgec.graph.plan import PrecisionPlan


def apply_plan(hub: ir.Model, plan: PrecisionPlan) -> ir.Model:
    """A new model, or the hub graph itself where the plan changes nothing in it."""
    if not plan.quantised:
        return hub
    return rewritten(hub, Smooth(plan.smoothing), CorrectBiases(plan.corrections), Quantise(plan))


def in_float(hub: ir.Model, plan: PrecisionPlan) -> ir.Model:
    """The same without the pairs: a new model, which computes in float32 what the planned one does in int8."""
    if not plan.quantised:
        return hub
    return rewritten(hub, Smooth(plan.smoothing), CorrectBiases(plan.corrections))


def smoothed(hub: ir.Model, plan: PrecisionPlan) -> ir.Model:
    """A new model, smoothed and nothing more: what the plan's ranges and weights are of."""
    return rewritten(hub, Smooth(plan.smoothing))
