"""What int8 costs the features, operation by operation: measured where it counts, at the outputs, not in weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgec.fidelity.cosines import cosines
from edgec.frames.types import Pixels
from edgec.graph.passes.prune import prune
from edgec.graph.passes.smooth import smooth
from edgec.graph.passes.switch import SWITCHES, with_switches
from edgec.graph.plan import PrecisionPlan
from edgec.graph.session import open_session
from edgec.graph.statistics import stacked

PATCHES = "patches"


def measure_sensitivity(
    hub: onnx.ModelProto,
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
    outputs = [value.name for value in hub.graph.output]
    watched = [PATCHES] if PATCHES in outputs else outputs
    model, names = with_switches(_giving(smooth(hub, plan.smoothing), watched), plan)
    session = open_session(model, threads=threads)
    stacks = list(stacked(frames, batch))
    switches = np.zeros(len(names), dtype=np.float32)
    exact = [session.run(watched, {"frames": stack, SWITCHES: switches}) for stack in stacks]
    found = {}
    for index, name in enumerate(names):
        switches[:] = 0
        switches[index] = 1
        lost = []
        for stack, wanted in zip(stacks, exact, strict=True):
            values = session.run(watched, {"frames": stack, SWITCHES: switches})
            lost += [_lost(*each) for each in zip(watched, wanted, values, strict=True)]
        found[name] = max(0.0, float(np.mean(lost)))
        step(name)
    return found


def _giving(model: onnx.ModelProto, outputs: Sequence[str]) -> onnx.ModelProto:
    """The model, changed to give these alone. A head beside would be computed for each of the operations."""
    graph = model.graph
    graph.value_info.extend(value for value in graph.output if value.name not in outputs)
    for index in reversed(range(len(graph.output))):
        if graph.output[index].name not in outputs:
            del graph.output[index]
    prune(graph)
    return model


def _lost(name: str, wanted: NDArray[Any], found: NDArray[Any]) -> float:
    """Of patches a cosine each, of labels the share that changed, of a head's other outputs a cosine a frame."""
    if wanted.dtype.kind != "f":
        return float(np.mean(wanted != found))
    if name != PATCHES:
        wanted, found = wanted.reshape(len(wanted), -1), found.reshape(len(found), -1)
    return 1 - float(cosines(wanted, found).mean())
