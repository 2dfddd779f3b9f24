"""The hub graph with a plan written into it: smoothed, its biases corrected, static int8 as Q/DQ pairs.

Operations that run per token stay in float here: each runtime is told in its own way, by its lowering.
"""

from __future__ import annotations

import onnx_ir as ir

from edgec.graph.passes.base import rewritten
from edgec.graph.passes.correct import CorrectBiases
from edgec.graph.passes.quantise import Quantise
from edgec.graph.passes.smooth import Smooth
from edgec.graph.plan import PrecisionPlan


def apply_plan(hub: ir.Model, plan: PrecisionPlan) -> ir.Model:
    """A new model with the plan in it, or the hub graph itself if the plan changes nothing."""
    if not plan.quantised:
        return hub
    return rewritten(hub, Smooth(plan.smoothing), CorrectBiases(plan.corrections), Quantise(plan))


def in_float(hub: ir.Model, plan: PrecisionPlan) -> ir.Model:
    """As `apply_plan` without the pairs: the model computes in float32 what the planned one computes in int8."""
    if not plan.quantised:
        return hub
    return rewritten(hub, Smooth(plan.smoothing), CorrectBiases(plan.corrections))


def smoothed(hub: ir.Model, plan: PrecisionPlan) -> ir.Model:
    """A new model that is smoothed and nothing more: the plan's ranges and weights are those of this model."""
    return rewritten(hub, Smooth(plan.smoothing))
