"""What computes in which type, and names.

- *Everything is fp16*, the residual stream, LayerNorm and softmax included. The Neural Engine has nothing wider: an operation in
  float32 leaves it for the CPU and comes back, and a ViT-S has 25 norms and 12 softmaxes. So they are made safe in fp16 instead.
- *LayerNorm* sums squares, and in fp16 those of a massive activation overflow from 256 on; the Neural Engine is known to do so
  (apple/coremltools#2585). Its input is multiplied by a power of two of its own, which changes no digit, and its epsilon by the
  square of that. `norm_scale` chooses it by what calibration saw: no square overflows, and the epsilon stays what it is, a
  number that fp16 holds. Both cannot be had where a value is beyond a hundred; there the epsilon gives way, which only tokens
  feel whose variance is near it, and those are not what stands beside a massive activation.
- *Softmax* is safe as it is: Core ML subtracts the largest score first, and the scores themselves are small because 1/sqrt(width)
  is in Q's weights, before the product and not behind it. (`reduce_log_sum_exp`, which is not used, does not subtract:
  apple/coremltools#2690.)
- *The patch embedding* holds the pixels' normalisation in its weights, which makes them subnormal in fp16; the pixels are divided
  by 256 and the weights multiplied by it, both exactly.
- *float32* is what a plan asks for by name: operations whose activations come near fp16's end on calibration's frames. And the
  mean over a ConvNeXt's last map, or over the patches that a head reads, a sum of hundreds of values: one small operation at the
  end, where Core ML leaves the Neural Engine anyway to hand over its results.
- *Heads* compute in fp16 like the rest, but for operations with a constant that fp16 does not hold. A depth head's bins are
  weighed and summed by convolutions; where such a sum comes near fp16's end, calibration has seen it, and it is float32.
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
"""They round nothing, and stay in the type of what they read."""
SUMS = (
    *("ReduceMean", "ReduceSum", "ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceProd", "ReduceSumSquare", "CumSum"),
    *("GlobalAveragePool", "InstanceNormalization"),
)
"""They sum up a whole map."""
NORM_SCALE = 2.0**-5
"""The smallest scale of a norm's input: with it the square of every value that `with_headroom` lets pass is below fp16's end. It
is that of a norm of which calibration has not seen the input."""
PIXEL_SCALE = 2.0**-8
HALVES = ("fp16", "w8", "w6", "w4")
"""The plans' defaults that compute in fp16; those with a `w` only store weights otherwise."""


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
    # A product that is no longer quantised has nothing to be given back.
    corrections = {name: value for name, value in plan.corrections.items() if name not in at_risk}
    norms = (node for node in hub.graph if node.op_type == "LayerNormalization")
    normed = {name_of(input_of(node)) for node in norms} & peaks.keys() - crowded
    # What an int8 operation reads, too, has a range already, which holds the same values.
    ranges = {tensor: Range(-peaks[tensor], peaks[tensor]) for tensor in sorted(normed)} | dict(plan.ranges)
    return replace(plan.with_float32(sorted(at_risk)), corrections=corrections, ranges=ranges)


def norm_scale(seen: Range | None, epsilon: float) -> float:
    """What a LayerNorm's input is multiplied by in fp16, a power of two.

    As large as the epsilon needs, times the square of the scale, to be a normal number of fp16: hardware may take smaller ones
    for zero. But not so large that the square of a value which is `HEADROOM` times calibration's largest, and so of none less,
    overflows. With that headroom the squares of a whole token of Gaussian values can be summed in fp16, too: the largest of many
    thousands is 4.5 times their deviation, and a thousand channels sum to less than fp16's end.
    """
    from edgec.lowering.halves import HEADROOM, LIMIT

    if seen is None:
        return NORM_SCALE
    peak = max(-seen.low, seen.high, TINY)
    needed = 2.0 ** math.ceil(math.log2(math.sqrt(TINY / max(epsilon, TINY**2))))
    bearable = 2.0 ** math.floor(math.log2(math.sqrt(LIMIT) / (HEADROOM * peak)))
    return max(NORM_SCALE, min(needed, bearable))
