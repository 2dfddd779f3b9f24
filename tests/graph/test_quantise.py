"""Q/DQ pairs: where they stand, what they hold, and what they leave alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgec.graph.files import serialised
from edgec.graph.numbers import weight_scales
from edgec.graph.operations import operations
from edgec.graph.passes.base import rewritten
from edgec.graph.passes.quantise import Quantise, activation_parameters
from edgec.graph.plan import PrecisionPlan, Range
from edgec.graph.session import features_of, open_session
from edgec.precision.static import INT8_KINDS, int8_activations, uniform
from tests.support.frames import pictures
from tests.support.models import CONVNEXT, SMALL, SPECS, SWIGLU, VIT, Exported, exported
from tests.support.onnx_graphs import constant, constants, makers, node, nodes, readers
from tests.support.plans import observed_ranges, plain_int8

Activations = Literal["u8", "s8"]


def quantise(hub: ir.Model, plan: PrecisionPlan) -> onnx.ModelProto:
    return ir.to_proto(rewritten(hub, Quantise(plan)))


def plan_for(made: Exported, activations: Activations = "u8", paired: bool = False) -> PrecisionPlan:
    hub = made.graph
    ranges = observed_ranges(hub, int8_activations(hub), pictures(made.size, 6), made.batch)
    return plain_int8(hub, ranges, kinds=INT8_KINDS, rest="fp32", activations=activations, paired=paired)


@pytest.fixture(scope="module", params=["vit", "swiglu", "convnext"])
def made(request: pytest.FixtureRequest) -> Exported:
    return exported(SPECS[request.param])


@pytest.fixture(scope="module")
def plan(made: Exported) -> PrecisionPlan:
    return plan_for(made)


@pytest.fixture(scope="module", params=["u8", "s8"])
def quantised(request: pytest.FixtureRequest, made: Exported, plan: PrecisionPlan) -> onnx.ModelProto:
    return quantise(made.graph, replace(plan, activations=request.param))


def test_is_valid_onnx_of_the_same_opset(made: Exported, quantised: onnx.ModelProto) -> None:
    onnx.checker.check_model(quantised, full_check=True)
    assert list(quantised.opset_import) == list(made.hub.opset_import)
    assert list(quantised.graph.input) == list(made.hub.graph.input)
    assert list(quantised.graph.output) == list(made.hub.graph.output)


def test_every_int8_product_reads_a_pair_and_quantised_weights(
    made: Exported, plan: PrecisionPlan, quantised: onnx.ModelProto
) -> None:
    made_by, held = makers(quantised), constants(quantised)
    for operation in operations(made.graph):
        reads = [made_by.get(name) for name in node(quantised, operation.name).input[:2]]
        if plan.precision_of(operation.name) != "int8":
            assert all(maker is None or maker.op_type != "DequantizeLinear" for maker in reads)
            continue
        activation, weight = reads
        assert activation is not None
        assert weight is not None
        assert activation.op_type == weight.op_type == "DequantizeLinear"
        quantise = made_by[activation.input[0]]
        assert quantise.op_type == "QuantizeLinear"
        assert list(quantise.input) == [operation.activation, *activation.input[1:]]
        assert held[weight.input[0]].dtype == np.int8
        assert held[weight.input[0]].shape == constant(made.hub, operation.weight).shape
        [axis] = [entry.i for entry in weight.attribute if entry.name == "axis"]
        assert axis == operation.channel_axis
        assert operation.weight not in held


def test_readers_of_one_activation_share_its_pair(made: Exported, plan: PrecisionPlan, quantised: onnx.ModelProto) -> None:
    quantisers = nodes(quantised, "QuantizeLinear")
    assert sorted(entry.input[0] for entry in quantisers) == sorted(plan.ranges)
    assert len(nodes(quantised, "DequantizeLinear")) == len(quantisers) + len(plan.operations)
    if isinstance(made.spec, type(VIT)):
        shared = readers(quantised, "blocks.1.norm1.dequantised")
        assert [entry.name for entry in shared] == [f"blocks.1.attn.{part}" for part in "qkv"]
    if made.spec == SWIGLU:
        assert len(readers(quantised, "blocks.0.norm2.dequantised")) == 2


def test_the_rest_of_the_graph_is_as_it_was(made: Exported, plan: PrecisionPlan, quantised: onnx.ModelProto) -> None:
    before = {entry.name: entry for entry in made.hub.graph.node}
    after = [entry for entry in quantised.graph.node if entry.op_type not in ("QuantizeLinear", "DequantizeLinear")]
    assert [entry.name for entry in after] == list(before)
    for entry in after:
        if entry.name in plan.operations:
            restored = onnx.NodeProto.FromString(entry.SerializeToString())
            restored.input[0], restored.input[1] = before[entry.name].input[:2]
            entry = restored
        assert entry == before[entry.name]
    weights = {operation.weight for operation in operations(made.graph) if operation.name in plan.operations}
    old, new = constants(made.hub), constants(quantised)
    for name in set(old) - weights:
        assert new[name].tobytes() == old[name].tobytes()
    assert all(".scale" in name or ".zero_point" in name or ".quantised" in name for name in set(new) - set(old))


def test_the_hub_graph_is_not_changed(made: Exported, plan: PrecisionPlan) -> None:
    hub = made.graph
    quantise(hub, plan)
    assert serialised(hub) == made.content


def test_the_same_plan_gives_the_same_bytes(made: Exported, plan: PrecisionPlan) -> None:
    first, second = (quantise(made.graph, plan).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("paired", [False, True], ids=["alone", "paired"])
def test_weights_are_symmetric_a_channel_and_within_half_a_step(made: Exported, plan: PrecisionPlan, paired: bool) -> None:
    quantised = quantise(made.graph, replace(plan, paired=paired))
    held = constants(quantised)
    for operation in operations(made.graph):
        if operation.name not in plan.operations:
            continue
        weight, name = constant(made.hub, operation.weight), operation.weight
        integers, scale, zero = (held[f"{name}.{part}"] for part in ("quantised", "scale", "zero_point"))
        channels = weight.shape[operation.channel_axis]
        assert scale.shape == zero.shape == (channels,)
        assert scale.dtype == np.float32
        assert zero.dtype == np.int8
        assert not zero.any()
        spread = [-1 if axis == operation.channel_axis else 1 for axis in range(weight.ndim)]
        error = np.abs(integers.astype(np.float64) * scale.reshape(spread) - weight)
        assert (error <= scale.reshape(spread) * 0.5001).all()
        inputs = np.moveaxis(integers.astype(int), operation.channel_axis, -1)
        largest = np.abs(inputs).max(axis=tuple(range(inputs.ndim - 1)))
        if paired:
            even, odd = inputs[: len(inputs) // 2 * 2 : 2], inputs[1::2]
            for sign in (1, -1):
                sums = np.maximum(sign * even, 0) + np.maximum(sign * odd, 0)
                assert 255 * sums.max() < 2**15, "no sum of two products may saturate"
            assert (largest > 63).any(), "seven bits would be safe, and coarser"
        else:
            assert (largest == 127).all()


def test_a_channel_of_zeros_stays_zero() -> None:
    weight = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
    weight[:, 2] = 0
    weight[:, 3] = 1e-44
    scales = weight_scales(weight, 1)
    assert np.isfinite(scales).all()
    assert (scales >= np.finfo(np.float32).tiny).all()
    np.testing.assert_allclose(scales[:2], np.abs(weight[:, :2]).max(axis=0) / 127, rtol=1e-6)


RANGES = [
    Range(-1.0, 1.0),
    Range(0.0, 5.0),
    Range(-3.0, 0.0),
    Range(-0.17, 412.0),
    Range(-900.0, 0.02),
    Range(0.0, 1e-44),
    Range(0.0, 0.0),
    Range(-1e30, 3e38),
    *(Range(-float(low), float(high)) for low, high in np.random.default_rng(0).lognormal(0, 3, (200, 2))),
]


def _quantise(values: np.ndarray, scale: np.float32, zero: np.ndarray) -> np.ndarray:
    limits = np.iinfo(zero.dtype)
    with np.errstate(over="ignore"):
        integers = np.clip(np.rint(values / scale) + int(zero), limits.min, limits.max)
    return (integers - int(zero)) * np.float64(scale)


@pytest.mark.parametrize("activations", ["u8", "s8"])
def test_scale_and_zero_point_hold_the_range_and_zero_exactly(activations: Activations) -> None:
    for seen in RANGES:
        scale, zero = activation_parameters(seen, activations)
        assert scale.dtype == np.float32
        assert np.isfinite(scale)
        assert scale > 0
        assert zero.dtype == (np.uint8 if activations == "u8" else np.int8)
        assert zero.shape == ()
        assert _quantise(np.zeros(1), scale, zero)[0] == 0.0
        points = np.linspace(seen.low, seen.high, 1001)
        assert np.abs(_quantise(points, scale, zero) - points).max() <= 0.5001 * np.float64(scale)


def test_symmetric_activations_have_zero_point_zero() -> None:
    for seen in RANGES:
        assert activation_parameters(seen, "s8")[1] == 0
    scale, _ = activation_parameters(Range(-2.0, 6.0), "s8")
    assert scale == np.float32(6 / 127)
    scale, zero = activation_parameters(Range(-2.0, 6.0), "u8")
    assert (scale, zero) == (np.float32(8 / 255), 64)


@pytest.mark.parametrize("activations", ["u8", "s8"])
def test_one_product_computes_what_integer_arithmetic_does(activations: Activations) -> None:
    """`blocks.0.mlp.fc1` alone, run as it stands, against numpy."""
    made = exported(VIT)
    name, tensor = "blocks.0.mlp.fc1", "blocks.0.norm2"
    seen = observed_ranges(made.graph, [tensor], pictures(SMALL, 4), 1)[tensor]
    plan = PrecisionPlan("one", "fp32", {name: "int8"}, {tensor: seen}, activations)
    quantised = quantise(made.graph, plan)
    for output in (tensor, name):
        quantised.graph.output.append(next(value for value in made.hub.graph.value_info if value.name == output))
    features = features_of(open_session(quantised, optimise=False), made.frames)
    scale, zero = activation_parameters(seen, activations)
    weight = constant(made.hub, f"{name}.weight")
    scales = weight_scales(weight, 1)
    integers = np.rint(weight / scales).astype(np.int64)
    limits = np.iinfo(zero.dtype)
    read = np.clip(np.rint(features[tensor] / scale) + int(zero), limits.min, limits.max).astype(np.int64) - int(zero)
    expected = (read @ integers) * (scale * scales.astype(np.float64))
    np.testing.assert_allclose(features[name], expected, atol=1e-4 * np.abs(expected).max())
    assert len(nodes(quantised, "QuantizeLinear")) == 1


def test_pairs_that_cannot_saturate_cost_less_than_a_bit() -> None:
    weight = np.random.default_rng(0).normal(size=(384, 64)).astype(np.float32)
    alone, paired = weight_scales(weight, 1), weight_scales(weight, 1, paired=True)
    assert (alone <= paired).all()
    assert 1.1 < float((paired / alone).mean()) < 1.6, "seven bits would be 2.02"


def test_an_empty_plan_changes_nothing() -> None:
    made = exported(CONVNEXT)
    assert quantise(made.graph, uniform("fp32")).SerializeToString(deterministic=True) == made.content


def test_operations_may_share_a_weight() -> None:
    """The exporter lets equal constants share one; both readers must find it, also when one of them stays in float."""
    made = exported(VIT)
    hub: Any = made.hub
    first, second = "blocks.0.mlp.fc1", "blocks.1.mlp.fc1"
    node(hub, second).input[1] = f"{first}.weight"
    hub = ir.from_proto(hub)
    ranges = observed_ranges(hub, int8_activations(hub), pictures(SMALL, 3), 1)
    whole = plain_int8(hub, ranges, kinds=INT8_KINDS, rest="fp32")
    expected = features_of(open_session(hub), made.frames)
    for names in ([first, second], [first], [second]):
        quantised = quantise(hub, replace(whole, operations=dict.fromkeys(names, "int8")))
        onnx.checker.check_model(quantised, full_check=True)
        features = features_of(open_session(quantised, optimise=False), made.frames)
        assert np.abs(features["patches"] - expected["patches"]).mean() < 0.1
        float_reader = len(names) == 1
        assert (f"{first}.weight" in constants(quantised)) == float_reader
