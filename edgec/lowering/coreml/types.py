"""What computes in which type, and names.

- *Everything is fp16*, the residual stream, LayerNorm and softmax included. The Neural Engine has nothing wider: an operation in
  float32 leaves it for the CPU and comes back, and a ViT-S has 25 norms and 12 softmaxes. So they are made safe in fp16 instead.
- *LayerNorm* sums squares, and in fp16 the square of an activation overflows from 256 on; the Neural Engine is known to do so
  (apple/coremltools#2585). So its input is multiplied by a power of two, which is exact, and its epsilon by the square of that.
  `norm_scale` chooses the power by what calibration saw, so that no square overflows and the epsilon is a number that fp16 holds.
  If a value is beyond a hundred, both are not possible: then the epsilon becomes larger, which matters only for tokens whose
  variance is near it, and tokens with a massive activation have a large one.
- *Softmax* is safe as it is: Core ML subtracts the largest score first, and the scores themselves are small because 1/sqrt(width)
  is in Q's weights, before the product and not behind it. (`reduce_log_sum_exp`, which is not used, does not subtract:
  apple/coremltools#2690.)
- *The patch embedding* holds the pixels' normalisation in its weights, which makes them subnormal in fp16; the pixels are divided
  by 256 and the weights multiplied by it, both exactly.
- *float32* is for operations that a plan names: those whose activations come near fp16's end on calibration's frames. It is also
  for the mean over a ConvNeXt's last map, or over the patches that a head reads, a sum of hundreds of values: one small operation
  at the end, where Core ML leaves the Neural Engine anyway to hand over its results.
- *Heads* compute in fp16 like the rest, except for operations with a constant that fp16 does not hold. A depth head's bins are
  weighted and summed by convolutions; if such a sum comes near fp16's end, calibration has seen it, and it is float32.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from edgec.graph.plan import PrecisionPlan, Range

if TYPE_CHECKING:
    import onnx_ir as ir

TINY = 2.0**-14
"""fp16's smallest normal number."""
MOVES = (
    *("Reshape", "Transpose", "Slice", "Concat", "Gather", "Identity", "Flatten", "Squeeze", "Unsqueeze"),
    *("DepthToSpace", "GatherElements", "SpaceToDepth", "Split", "Tile"),
)
"""Operations that round nothing: they compute in the type of their input."""
SUMS = (
    *("ReduceMean", "ReduceSum", "ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceProd", "ReduceSumSquare", "CumSum"),
    *("GlobalAveragePool", "InstanceNormalization"),
)
"""Operations that sum over a whole map."""
NORM_SCALE = 2.0**-5
"""The smallest scale of a norm's input: with it, the square of every value that `with_headroom` leaves in fp16 is below fp16's
end. A norm whose input calibration has not seen has this scale."""
PIXEL_SCALE = 2.0**-8
HALVES = ("fp16", "w8", "w6", "w4")
"""The defaults of plans that compute in fp16; those with a `w` store weights in fewer bits."""


def mil_name(name: str) -> str:
    """A hub graph's name as MIL spells names: `blocks.0.attn.q` is `blocks_0_attn_q`."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return plain if re.match(r"[A-Za-z_]", plain) else f"_{plain}"


def computes_in_half(node: ir.Node, plan: PrecisionPlan) -> bool:
    """Whether a node that is none of `MOVES` computes in fp16."""
    if plan.default not in HALVES or node.op_type in SUMS:
        return False
    return plan.precision_of(node.name or "") != "fp32"


def with_headroom(hub: ir.Model, plan: PrecisionPlan, peaks: Mapping[str, float]) -> PrecisionPlan:
    """The plan with every operation in float32 that makes or reads an activation which could overflow fp16 on the device, and
    with the range of what each LayerNorm in fp16 reads.

    `peaks` are the largest absolute values that calibration saw (`edgec.graph.peaks`); tensors that it does not name are taken to
    be small.
    """
    from edgec.graph.values import input_of, name_of
    from edgec.lowering.halves import near_the_end

    if plan.default not in HALVES:
        return plan
    crowded = near_the_end(peaks)
    at_risk = {
        name_of(node) for node in hub.graph if any(each and each.name in crowded for each in (*node.inputs, *node.outputs))
    }
    # A product that is not quantised needs no correction.
    corrections = {name: value for name, value in plan.corrections.items() if name not in at_risk}
    norms = (node for node in hub.graph if node.op_type == "LayerNormalization")
    normed = {name_of(input_of(node)) for node in norms} & peaks.keys() - crowded
    # Inputs of int8 operations have a range already, which holds the same values.
    ranges = {tensor: Range(-peaks[tensor], peaks[tensor]) for tensor in sorted(normed)} | dict(plan.ranges)
    return replace(plan.with_float32(sorted(at_risk)), corrections=corrections, ranges=ranges)


def norm_scale(seen: Range | None, epsilon: float) -> float:
    """The factor, a power of two, for a LayerNorm's input in fp16.

    It is so large that the epsilon times its square is a normal number of fp16, because hardware may flush smaller ones to zero;
    but not so large that the square of `HEADROOM` times calibration's largest value overflows. With that headroom, the squares of
    a whole token of Gaussian values can be summed in fp16 too: the largest of many thousands is 4.5 times their deviation, and
    the squares of a thousand channels sum to less than fp16's end.
    """
    from edgec.lowering.halves import HEADROOM, LIMIT

    if seen is None:
        return NORM_SCALE
    peak = max(-seen.low, seen.high, TINY)
    needed = 2.0 ** math.ceil(math.log2(math.sqrt(TINY / max(epsilon, TINY**2))))
    allowed = 2.0 ** math.floor(math.log2(math.sqrt(LIMIT) / (HEADROOM * peak)))
    return max(NORM_SCALE, min(needed, allowed))
