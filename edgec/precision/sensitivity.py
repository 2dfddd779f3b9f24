"""What int8 costs the features, operation by operation: measured where it counts, at the outputs, not in weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx

from edgec.fidelity.metrics import cosines
from edgec.frames.types import Pixels
from edgec.graph.passes.smooth import smooth
from edgec.graph.passes.switch import SWITCHES, with_switches
from edgec.graph.session import open_session
from edgec.graph.statistics import stacked
from edgec.precision.plan import PrecisionPlan


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
    to the same graph without int8, over these frames, uint8 [H, W, 3]. The plan's smoothing is in place throughout.
    """
    graph, names = with_switches(smooth(hub, plan.smoothing), plan)
    session = open_session(graph, threads=threads)
    stacks = list(stacked(frames, batch))
    switches = np.zeros(len(names), dtype=np.float32)
    exact = [session.run(["patches"], {"frames": stack, SWITCHES: switches})[0] for stack in stacks]
    found = {}
    for index, name in enumerate(names):
        switches[:] = 0
        switches[index] = 1
        lost = []
        for stack, wanted in zip(stacks, exact, strict=True):
            patches = session.run(["patches"], {"frames": stack, SWITCHES: switches})[0]
            lost.append(1 - float(cosines(wanted, patches).mean()))
        found[name] = max(0.0, float(np.mean(lost)))
        step(name)
    return found
