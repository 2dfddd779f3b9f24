"""What int8 costs the features, operation by operation: measured where it counts, at the outputs, not in weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgec.frames.types import Pixels
from edgec.graph.passes.base import rewritten
from edgec.graph.passes.outputs import GiveOnly
from edgec.graph.passes.smooth import Smooth
from edgec.graph.passes.switch import SWITCHES, InsertSwitches
from edgec.graph.plan import PrecisionPlan
from edgec.graph.session import open_session
from edgec.graph.statistics import stacked
from edgec.graph.values import name_of
from edgec.onboard.vectorised import cosines

PATCHES = "patches"


def measure_sensitivity(
    hub: ir.Model,
    plan: PrecisionPlan,
    frames: Sequence[Pixels],
    batch: int,
    *,
    threads: int | None = None,
    step: Callable[[str], None],
) -> dict[str, float]:
    """For each static int8 operation of the plan, what the features lose if it alone runs in int8: 1 minus the mean patch cosine
    to the same graph without int8, over these frames, uint8 [H, W, 3]. The plan's smoothing is in place throughout. Of a graph
    that gives no patches it is what its outputs lose, on average.
    """
    outputs = [name_of(value) for value in hub.graph.outputs]
    watched = [PATCHES] if PATCHES in outputs else outputs
    # Without this, heads would be computed for each of the operations.
    switching = InsertSwitches(plan)
    model = rewritten(hub, Smooth(plan.smoothing), GiveOnly(watched), switching)
    session = open_session(model, threads=threads)
    stacks = list(stacked(frames, batch))
    switches = np.zeros(len(switching.names), dtype=np.float32)
    exact = [session.run(watched, {"frames": stack, SWITCHES: switches}) for stack in stacks]
    sensitivity = {}
    for index, name in enumerate(switching.names):
        switches[:] = 0
        switches[index] = 1
        losses = []
        for stack, expected in zip(stacks, exact, strict=True):
            values = session.run(watched, {"frames": stack, SWITCHES: switches})
            losses += [_loss(*each) for each in zip(watched, expected, values, strict=True)]
        sensitivity[name] = max(0.0, float(np.mean(losses)))
        step(name)
    return sensitivity


def _loss(name: str, expected: NDArray[Any], actual: NDArray[Any]) -> float:
    """Of patches a cosine each, of labels the share that changed, of a head's other outputs a cosine a frame."""
    if expected.dtype.kind != "f":
        return float(np.mean(expected != actual))
    if name != PATCHES:
        expected, actual = expected.reshape(len(expected), -1), actual.reshape(len(actual), -1)
    return 1 - float(cosines(expected, actual).mean())
