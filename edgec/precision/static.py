"""What every plan shares: the kinds of operation worth int8, and plans in one floating-point type."""

from __future__ import annotations

import onnx_ir as ir

from edgec.graph.operations import Kind, operations
from edgec.graph.plan import Bytes, Precision, PrecisionPlan

INT8_KINDS: tuple[Kind, ...] = ("linear", "convolution")
"""Not the first convolution, which sees raw pixels and costs 1 %; not depthwise ones, which are bound by memory; not
attention's own products, whose softmax needs the range. A lowering may take fewer."""

HEADROOM = 1.1
"""How much wider a static range is than what calibration saw: other scenes go beyond it, and what is clipped is lost for good.
On ViT-S/16 and scenes that calibration did not have, 1.1 took two fifths off the loss of the worst percentile of patches. Now
that calibration also sees the camera's ills, 1.0 to 1.25 differ by less than conditions do (.99923, .99963, .99951 on other
places), and 1.5 and more lose (.99909): so it is a constant, not fitted to each set."""
FLOAT_HEADROOM = 2.0
"""The same for E4M3, which loses nothing by a power of two but at its very small end."""


def headroom(activations: Bytes) -> float:
    """How much wider than what calibration saw a range of this type is."""
    return FLOAT_HEADROOM if activations == "fp8" else HEADROOM


def int8_activations(hub: ir.Model) -> tuple[str, ...]:
    """The activation tensors whose range calibration must find, each once, in the order of execution."""
    return tuple(dict.fromkeys(entry.activation for entry in operations(hub) if entry.kind in INT8_KINDS))


def uniform(precision: Precision) -> PrecisionPlan:
    """The plan in which everything runs in one precision."""
    return PrecisionPlan(precision, precision)
