"""The fewest exceptions that keep a budget."""

from __future__ import annotations

from itertools import pairwise

import pytest

from edgec.fidelity.metrics import compare, worst
from edgec.graph.operations import operations
from edgec.graph.planned import apply_plan
from edgec.graph.session import features_of, open_session
from edgec.graph.statistics import observe
from edgec.precision.planning import Planner
from edgec.precision.recipes import Recipe
from edgec.precision.search import fewest, ladder, predict_sensitivity
from edgec.precision.static import INT8_KINDS, int8_activations
from edgec.records.evidence import Evidence
from tests.support.frames import pictures
from tests.support.models import CONVNEXT, SMALL, VIT, Spec
from tests.support.outliers import outlier_hub


def test_each_step_takes_one_more_operation_out_of_int8() -> None:
    hub = outlier_hub(VIT)
    names = [entry.name for entry in operations(hub) if entry.kind == "linear"]
    steps = ladder(hub, dict.fromkeys(names, 1.0), kinds=("linear",), per_token=False)
    assert [len(step.unquantised) for step in steps] == list(range(1, len(names)))
    assert not any(step.per_token for step in steps)
    for lower, higher in pairwise(steps):
        assert lower.unquantised < higher.unquantised


def test_int8_per_token_comes_first_where_it_is_available() -> None:
    hub = outlier_hub(VIT)
    names = {entry.name for entry in operations(hub) if entry.kind == "linear"}
    steps = ladder(hub, dict.fromkeys(names, 1.0) | {"blocks.1.mlp.fc2": 9.0}, kinds=("linear",), per_token=True)
    assert steps[0].per_token == {"blocks.1.mlp.fc2"}
    assert steps[len(names) - 1].per_token == names
    assert all(not step.unquantised for step in steps[: len(names)])
    for step in steps[len(names) :]:
        assert step.unquantised
        assert step.per_token | step.unquantised == names
        assert not step.per_token & step.unquantised


def test_convolutions_can_be_exceptions_too() -> None:
    hub = outlier_hub(CONVNEXT)
    kinds = {entry.name: entry.kind for entry in operations(hub)}
    steps = ladder(hub, {}, kinds=INT8_KINDS, per_token=False)
    assert {kinds[name] for name in steps[-1].unquantised} == {"linear", "convolution"}


@pytest.mark.parametrize("first", [0, 1, 17, 46, 47])
def test_the_first_step_within_the_budget_is_found_with_few_questions(first: int) -> None:
    steps = [Recipe(f"budget-{number}") for number in range(48)]
    asked: list[str] = []

    def within(recipe: Recipe) -> bool:
        asked.append(recipe.variant)
        return steps.index(recipe) >= first

    assert fewest(steps, within) is steps[first]
    assert len(asked) <= 7


def test_a_budget_that_no_step_keeps_ends_the_search_at_once() -> None:
    steps = [Recipe(f"budget-{number}") for number in range(48)]
    asked: list[str] = []
    assert fewest(steps, lambda recipe: bool(asked.append(recipe.variant))) is None
    assert asked == ["budget-47"]
    assert fewest([], lambda _: True) is None


@pytest.mark.parametrize("spec", [VIT, CONVNEXT], ids=["vit", "convnext"])
def test_a_budget_between_static_and_float_is_met_by_some_exceptions(spec: Spec) -> None:
    """On a real model: int8 stays in most of it, and one exception fewer would be beyond the budget."""
    hub, frames = outlier_hub(spec), pictures(SMALL, 16)
    statistics = observe(hub, int8_activations(hub), frames[:12], 1)
    planner = Planner(hub, statistics)
    exact = open_session(hub)
    expected = [features_of(exact, frame[None]) for frame in frames[12:]]

    def cosine(recipe: Recipe) -> float:
        session = open_session(apply_plan(hub, planner.plan(recipe, kinds=INT8_KINDS, rest="fp32")), optimise=False)
        actual = [features_of(session, frame[None]) for frame in frames[12:]]
        return min(worst(compare(one, other, "", Evidence.SIMULATED)) for one, other in zip(expected, actual, strict=True))

    static = cosine(Recipe("static"))
    budget = 1 - (1 - static) / 2
    predicted = predict_sensitivity(hub, statistics, planner.plan(kinds=INT8_KINDS, rest="fp32"))
    steps = ladder(hub, predicted, kinds=INT8_KINDS, per_token=False)
    actual = fewest(steps, lambda recipe: cosine(recipe) >= budget)
    assert actual is not None
    assert cosine(actual) >= budget
    assert 1 <= len(actual.unquantised) <= 0.8 * len(steps)
    place = steps.index(actual)
    assert place == 0 or cosine(steps[place - 1]) < budget
