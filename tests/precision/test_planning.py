"""Plans as made and as stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgec import cache
from edgec.graph.operations import operations
from edgec.graph.planned import smoothed
from edgec.graph.statistics import observe
from edgec.lowering.onnxruntime import OnnxRuntime
from edgec.lowering.openvino import OpenVino
from edgec.precision.planning import Planner
from edgec.precision.recipes import rule_recipes
from edgec.precision.static import int8_activations
from edgec.precision.storing import load_plan, save_plan
from tests.support.frames import pictures
from tests.support.models import CONVNEXT, SMALL, VIT
from tests.support.outliers import outlier_hub


@pytest.fixture(scope="module")
def planner() -> Planner:
    hub = outlier_hub(VIT)
    return Planner(hub, observe(hub, int8_activations(hub), pictures(SMALL, 8), 1), activations="s8", paired=True)


def test_each_runtime_quantises_the_kinds_that_are_worth_it_there() -> None:
    hub = outlier_hub(CONVNEXT)
    kinds = {entry.name: entry.kind for entry in operations(hub)}
    planner = Planner(hub, observe(hub, int8_activations(hub), pictures(SMALL, 3), 1))
    for lowering in (OpenVino(), OnnxRuntime()):
        plan = planner.plan(kinds=lowering.int8_kinds, rest="fp32")
        assert {kinds[name] for name in plan.operations} == set(lowering.int8_kinds)
        assert set(plan.ranges) == {entry.activation for entry in operations(hub) if entry.name in plan.operations}


def test_a_plan_carries_the_target_s_ways_with_bytes(planner: Planner) -> None:
    plan = planner.plan(kinds=("linear",), rest="bf16")
    assert (plan.activations, plan.paired, plan.default) == ("s8", True, "bf16")
    assert set(plan.weights) == set(plan.operations)


def test_weights_fit_the_smoothed_model_of_their_own_recipe(planner: Planner) -> None:
    """What smoothing behind a product does to its outputs differs from recipe to recipe, and weights must follow."""
    hub = outlier_hub(VIT)
    for recipe in rule_recipes(hub, per_token=True):
        plan = planner.plan(recipe, kinds=("linear",), rest="fp32")
        for operation in operations(smoothed(hub, plan)):
            if operation.name in plan.weights:
                weight = operation.weights
                held = plan.weights[operation.name]
                back = held.integers * held.scales
                assert np.abs(back - weight).mean() < held.scales.mean(), (recipe.variant, operation.name)


def test_a_stored_plan_comes_back(planner: Planner, tmp_path: Path) -> None:
    plan = planner.plan(rule_recipes(outlier_hub(VIT), per_token=True)[1], kinds=("linear",), rest="fp32")
    save_plan(tmp_path, plan)
    again = load_plan(tmp_path)
    assert again == plan
    assert cache.key([entry.sha256 for entry in again.weights.values()]) == cache.key(
        [entry.sha256 for entry in plan.weights.values()]
    )
    light = load_plan(tmp_path, weights=False)
    assert not light.weights
    assert (light.operations, light.ranges, light.smoothing) == (plan.operations, plan.ranges, plan.smoothing)
