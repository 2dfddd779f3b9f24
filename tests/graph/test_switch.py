"""int8 that can be switched on for each operation alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgec.graph.passes.base import rewritten
from edgec.graph.passes.quantise import Quantise
from edgec.graph.passes.switch import SWITCHES, InsertSwitches
from edgec.graph.plan import PrecisionPlan
from edgec.graph.session import open_session
from edgec.precision.sensitivity import measure_sensitivity
from edgec.precision.static import INT8_KINDS, int8_activations
from tests.support.frames import pictures
from tests.support.models import SMALL, SPECS, VIT, Exported, exported
from tests.support.plans import observed_ranges, plain_int8


def plan_of(made: Exported) -> PrecisionPlan:
    hub = made.graph
    return plain_int8(hub, observed_ranges(hub, int8_activations(hub), pictures(SMALL, 4), 1), kinds=INT8_KINDS, rest="fp32")


@pytest.mark.parametrize("kind", ["vit", "swiglu", "convnext"])
def test_each_switch_is_that_operation_s_int8(kind: str) -> None:
    made = exported(SPECS[kind])
    plan = plan_of(made)
    switching = InsertSwitches(plan)
    graph = rewritten(made.graph, switching)
    names = switching.names
    onnx.checker.check_model(ir.to_proto(graph), full_check=True)
    session = open_session(graph)

    def patches(*on: str) -> np.ndarray:
        switches = np.array([name in on for name in names], dtype=np.float32)
        return session.run(["patches"], {"frames": made.frames, SWITCHES: switches})[0]

    def expected(*on: str) -> np.ndarray:
        part = replace(plan, operations=dict.fromkeys(on, "int8"))
        return open_session(rewritten(made.graph, Quantise(part)), optimise=False).run(["patches"], {"frames": made.frames})[0]

    assert set(names) == set(plan.operations)
    scale = float(np.abs(expected()).max())
    np.testing.assert_allclose(patches(), expected(), atol=1e-4 * scale)
    for name in (names[0], names[-1], names[len(names) // 2]):
        assert np.abs(patches(name) - patches()).max() > 1e-4 * scale, "int8 must show"
        np.testing.assert_allclose(patches(name), expected(name), atol=2e-2 * scale)
    np.testing.assert_allclose(patches(*names), expected(*names), atol=5e-2 * scale)


def test_the_operation_with_the_coarsest_range_costs_most() -> None:
    made = exported(VIT)
    plan = plan_of(made)
    tensor = "blocks.1.norm2"
    wide = replace(plan.ranges[tensor], low=50 * plan.ranges[tensor].low, high=50 * plan.ranges[tensor].high)
    coarse = replace(plan, ranges={**plan.ranges, tensor: wide})
    told: list[str] = []
    actual = measure_sensitivity(made.graph, coarse, list(pictures(SMALL, 3)), 1, step=told.append)
    assert max(actual, key=lambda name: actual[name]) == "blocks.1.mlp.fc1"
    assert told == list(actual) == list(plan.operations)
    assert all(value >= 0 for value in actual.values())
