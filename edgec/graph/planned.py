"""The hub graph with a plan written into it: smoothed, its biases corrected, static int8 as Q/DQ pairs.

What runs per token stays in float here: how a runtime is told differs, and is its lowering's business.
"""

from __future__ import annotations

import onnx

from edgec.graph.passes.correct import correct_biases
from edgec.graph.passes.quantise import insert_quantisation
from edgec.graph.passes.smooth import smooth
from edgec.graph.plan import PrecisionPlan


def apply_plan(hub: onnx.ModelProto, plan: PrecisionPlan) -> onnx.ModelProto:
    """A new model, or the hub graph itself where the plan changes nothing in it."""
    if not plan.quantised:
        return hub
    return insert_quantisation(correct_biases(smooth(hub, plan.smoothing), plan.corrections), plan)
