"""int8 plans on models whose activations have outliers, run as Q/DQ graphs and in the real runtime."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from edgec.errors import CalibrationError
from edgec.fidelity.metrics import compare
from edgec.graph.numbers import quantise_rows, quantise_static, quantise_weight
from edgec.graph.operations import operations
from edgec.graph.passes.base import rewritten
from edgec.graph.passes.outputs import GiveOnly
from edgec.graph.plan import PrecisionPlan, Range
from edgec.graph.planned import apply_plan
from edgec.graph.session import features_of, open_session
from edgec.graph.statistics import Statistics, observe
from edgec.lowering.openvino import OpenVino
from edgec.lowering.per_token import GROUP_LIMIT, group_size
from edgec.precision.planning import int8_plan
from edgec.precision.recipes import STATIC, Recipe, measured_recipes, rule_recipes, tail_recipe
from edgec.precision.smoothing import search_smoothing
from edgec.precision.static import HEADROOM, INT8_KINDS, int8_activations
from edgec.records.evidence import Evidence
from edgec.records.fidelity import StageFidelity
from tests.support.frames import pictures
from tests.support.models import CONVNEXT, SMALL, SWIGLU, VIT, Spec
from tests.support.outliers import outlier_hub
from tests.support.plans import plain_int8


@cache
def seen(spec: Spec) -> dict[str, Statistics]:
    hub = outlier_hub(spec)
    return observe(hub, int8_activations(hub), pictures(SMALL, 16)[:12], 1)


def judged(hub: ir.Model, plan: PrecisionPlan) -> StageFidelity:
    """The plan's own Q/DQ graph, every node as it stands, on frames that calibration did not see."""
    frames = pictures(SMALL, 16)[12:]
    exact, lost = open_session(hub), open_session(apply_plan(hub, plan), optimise=False)
    gathered = [[features_of(session, frame[None]) for frame in frames] for session in (exact, lost)]
    expected, actual = ({name: np.concatenate([each[name] for each in one]) for name in one[0]} for one in gathered)
    return compare(expected, actual, "plan", Evidence.SIMULATED)


def static(spec: Spec, activations: str = "u8") -> PrecisionPlan:
    return int8_plan(outlier_hub(spec), seen(spec), kinds=INT8_KINDS, rest="fp32", activations=activations)  # type: ignore[arg-type]


@pytest.mark.parametrize("activations", ["u8", "s8"])
@pytest.mark.parametrize("spec", [VIT, SWIGLU, CONVNEXT], ids=["vit", "swiglu", "convnext"])
def test_smoothing_keeps_what_outlier_channels_would_cost(spec: Spec, activations: str) -> None:
    hub = outlier_hub(spec)
    ranges = {name: entry.range for name, entry in seen(spec).items()}
    plain = plain_int8(hub, ranges, kinds=INT8_KINDS, rest="fp32", activations=activations)  # type: ignore[arg-type]
    before, after = judged(hub, plain), judged(hub, static(spec, activations))
    assert 1 - after.patch_cosine_mean < 0.5 * (1 - before.patch_cosine_mean)
    assert 1 - after.patch_cosine_p01 < 0.6 * (1 - before.patch_cosine_p01)


def test_the_search_evens_out_outlier_channels() -> None:
    scales = search_smoothing(outlier_hub(VIT), seen(VIT), activations="u8")
    entry = seen(VIT)["blocks.0.norm1"]
    reach = np.maximum(np.abs(entry.low), np.abs(entry.high))
    after = reach / np.asarray(scales["blocks.0.norm1"])
    assert after.max() / np.median(after) < 0.5 * reach.max() / np.median(reach)


def test_ranges_are_those_after_smoothing() -> None:
    plan = static(VIT)
    for tensor, scale in plan.smoothing.items():
        smoothed = seen(VIT)[tensor].scaled(np.asarray(scale, np.float32))
        assert plan.ranges[tensor] == smoothed.range.widened(HEADROOM)


def test_an_unseen_activation_is_named() -> None:
    partial = {name: entry for name, entry in seen(VIT).items() if not name.startswith("blocks.1.norm")}
    with pytest.raises(CalibrationError, match="no range") as caught:
        int8_plan(outlier_hub(VIT), partial, kinds=INT8_KINDS, rest="fp32")
    assert caught.value.evidence == ("blocks.1.norm1", "blocks.1.norm2")


def test_corrections_give_back_the_mean() -> None:
    """The mean output of each corrected product, over calibration frames, comes nearer to the float one."""
    hub, plan = outlier_hub(VIT), static(VIT)
    name = "blocks.0.mlp.fc1"
    shifts = []
    for corrections in ({}, {name: plan.corrections[name]}):
        lossy = apply_plan(hub, replace(plan, operations={name: "int8"}, corrections=corrections))
        means = []
        for model in (hub, lossy):
            session = open_session(rewritten(model, GiveOnly([f"{name}.add"])), optimise=False)
            values = [session.run([f"{name}.add"], {"frames": frame[None]})[0] for frame in pictures(SMALL, 12)]
            means.append(np.concatenate(values).reshape(-1, values[0].shape[-1]).mean(axis=0))
        shifts.append(float(np.abs(means[1] - means[0]).mean()))
    assert shifts[1] < 0.5 * shifts[0]


def test_rules_from_the_fastest_to_the_most_faithful() -> None:
    hub = outlier_hub(SWIGLU)
    assert rule_recipes(hub, per_token=False) == (STATIC,)
    first, mixed, tokens = rule_recipes(hub, per_token=True)
    assert first == STATIC
    assert mixed.per_token == {f"blocks.{block}.{name}" for block in range(2) for name in ("attn.proj", "mlp.down")}
    assert tokens.per_token == {operation.name for operation in operations(hub) if operation.kind == "linear"}


@pytest.mark.parametrize(
    ("spec", "last"), [(VIT, "blocks.1.mlp.fc2"), (SWIGLU, "blocks.1.mlp.down"), (CONVNEXT, "stages.3.blocks.0.fc2")]
)
def test_the_last_product_of_the_residual_stream_is_the_rules_exception(spec: Spec, last: str) -> None:
    recipe = tail_recipe(outlier_hub(spec))
    assert recipe.variant == "but-last-1"
    assert recipe.unquantised == {last}


def test_measured_recipes_take_the_worst_first() -> None:
    hub = outlier_hub(VIT)
    linear = [operation.name for operation in operations(hub) if operation.kind == "linear"]
    sensitivity = dict.fromkeys(linear, 1e-6) | {"blocks.1.attn.proj": 1e-2, "blocks.0.attn.v": 1e-3}
    sizes = [len(recipe.per_token) for recipe in measured_recipes(hub, sensitivity, per_token=True)]
    assert sizes == sorted(sizes)
    first, second, *_ = measured_recipes(hub, sensitivity, per_token=True)
    assert first.per_token == {"blocks.1.attn.proj"}
    assert second.per_token == {"blocks.1.attn.proj", "blocks.0.attn.v"}
    kept = measured_recipes(hub, sensitivity, per_token=False)[0]
    plan = int8_plan(hub, seen(VIT), kept, kinds=INT8_KINDS, rest="fp32")
    assert plan.precision_of("blocks.1.attn.proj") == "fp32"
    assert plan.precision_of("blocks.0.attn.v") == "int8"


@pytest.mark.parametrize("variant", ["mixed", "per-token"])
def test_per_token_runs_in_the_runtime_and_is_more_faithful_than_static(variant: str, tmp_path: Path) -> None:
    hub = outlier_hub(VIT)
    recipes: dict[str, Recipe] = {recipe.variant: recipe for recipe in rule_recipes(hub, per_token=True)}
    found = {}
    frames = pictures(SMALL, 16)[12:]
    exact = open_session(hub)
    for name in ("static", variant):
        folder = tmp_path / name
        folder.mkdir()
        plan = int8_plan(hub, seen(VIT), recipes[name], kinds=("linear",), rest="fp32")
        model = OpenVino().lower(hub, plan, folder)
        runner = OpenVino().load(model, threads=1)
        pairs = [(features_of(exact, frame[None]), runner(frame[None])) for frame in frames]
        expected, actual = ({key: np.concatenate([pair[side][key] for pair in pairs]) for key in pairs[0][0]} for side in (0, 1))
        found[name] = compare(expected, actual, name, Evidence.HOST)
        assert "DYNAMIC_QUANTIZATION_GROUP_SIZE" in model.settings or name == "static"
    # Nothing here is massive, so that only ranges for all products beat static ones; the mixture must not lose more than noise.
    lost = {name: 1 - fidelity.patch_cosine_mean for name, fidelity in found.items()}
    assert lost[variant] < lost["static"] * (1.2 if variant == "mixed" else 1.0)


def test_a_massive_token_costs_only_itself_its_resolution() -> None:
    values = np.random.default_rng(2).normal(size=(50, 384)).astype(np.float32)
    values[7] *= 200
    whole = Range(min(float(values.min()), 0.0), max(float(values.max()), 0.0))
    usual = np.arange(50) != 7
    by_token = np.abs(quantise_rows(values) - values)[usual].max()
    in_one_range = np.abs(quantise_static(values, whole, "u8") - values)[usual].max()
    assert by_token < in_one_range / 20


@pytest.mark.parametrize(
    ("depths", "size"), [((384, 1536), 384), ((192, 768), 192), ((768, 3072), 384), ((96, 384), 96), ((1280, 5120), 320)]
)
def test_a_group_divides_every_depth(depths: tuple[int, ...], size: int) -> None:
    assert group_size(depths) == size <= GROUP_LIMIT


def test_imitated_arithmetic_is_that_of_its_formats() -> None:
    values = np.random.default_rng(1).normal(size=(5, 700)).astype(np.float32)
    rows = quantise_rows(values)
    for start in (0, 384):
        part, rounded = values[:, start : start + 384], rows[:, start : start + 384]
        step = np.abs(part).max(axis=1, keepdims=True) / 127
        assert (np.abs(part - rounded) <= step * 0.5001).all()
    assert len(np.unique(quantise_static(values, Range(-4.0, 4.0), "u8"))) <= 256
    assert len(np.unique(quantise_static(values, Range(-4.0, 4.0), "s8"))) <= 255
    weight = quantise_weight(values)
    assert all(len(np.unique(weight[:, channel])) <= 5 for channel in range(20))
    np.testing.assert_allclose(weight, values, atol=np.abs(values).max(axis=0).max() / 254 * 1.01)
