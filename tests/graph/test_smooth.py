"""Smoothing and bias correction change where numbers are, not what the model computes."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgec.graph.files import serialised
from edgec.graph.passes.base import rewritten
from edgec.graph.passes.correct import CorrectBiases
from edgec.graph.passes.smooth import Smooth, by_input_channel, groups
from edgec.graph.session import features_of, open_session
from tests.support.models import SPECS, VIT, exported
from tests.support.onnx_graphs import constant


@pytest.mark.parametrize("kind", ["vit", "swiglu", "two-heads", "key-bias", "convnext"])
def test_float32_features_stay_the_same(kind: str) -> None:
    made = exported(SPECS[kind])
    hub = made.graph
    found = groups(hub)
    random = np.random.default_rng(0)
    scales = {}
    for group in found:
        channels = len(by_input_channel(group.readers[0], constant(hub, group.readers[0].weight)))
        scales[group.activation] = tuple(float(value) for value in np.exp(random.normal(0, 1.5, channels)))
    smoothed = rewritten(hub, Smooth(scales))
    onnx.checker.check_model(ir.to_proto(smoothed), full_check=True)
    expected, actual = (features_of(open_session(model), made.frames) for model in (hub, smoothed))
    for name, wanted in expected.items():
        np.testing.assert_allclose(actual[name], wanted, atol=2e-4 * np.abs(wanted).max())
    changed = sum(
        not np.array_equal(constant(hub, group.readers[0].weight), constant(smoothed, group.readers[0].weight)) for group in found
    )
    assert changed == len(found) > 0
    assert serialised(hub) == made.content


def test_every_product_behind_a_norm_or_a_linear_maker_can_be_smoothed() -> None:
    actual = {group.readers[0].name: group for group in groups(exported(SPECS["swiglu"]).graph)}
    assert set(actual) == {
        *(f"blocks.{block}.{reader}" for block in range(2) for reader in ("attn.q", "attn.proj", "mlp.gate", "mlp.down"))
    }
    assert {group.kind for group in actual.values()} == {"norm", "product"}, "no node need be inserted"
    assert [reader.name for reader in actual["blocks.0.attn.q"].readers] == [f"blocks.0.attn.{name}" for name in "qkv"]
    assert actual["blocks.1.mlp.down"].maker.name == "blocks.1.mlp.up"
    assert actual["blocks.1.attn.proj"].kind == "product"


def test_what_nothing_linear_makes_is_divided_by_a_node_of_its_own() -> None:
    made = exported(VIT)
    hub = made.hub
    group = next(group for group in groups(made.graph) if group.readers[0].name == "blocks.0.mlp.fc2")
    assert group.kind == "inserted"
    # Somebody else reads the activation too, and must go on reading what it was.
    other = onnx.helper.make_node("Identity", [group.activation], ["witness"], name="witness")
    hub.graph.node.append(other)
    hub.graph.output.append(onnx.helper.make_tensor_value_info("witness", onnx.TensorProto.FLOAT, [1, 29, 128]))
    before = features_of(open_session(hub), made.frames)
    scales = {group.activation: tuple(float(value) for value in np.linspace(0.1, 9, 128))}
    smoothed = ir.to_proto(rewritten(ir.from_proto(hub), Smooth(scales)))
    onnx.checker.check_model(smoothed, full_check=True)
    smoothed.graph.output.append(onnx.helper.make_tensor_value_info(group.activation, onnx.TensorProto.FLOAT, None))
    after = features_of(open_session(smoothed), made.frames)
    np.testing.assert_array_equal(after["witness"], before["witness"])
    np.testing.assert_allclose(after[group.activation] * np.linspace(0.1, 9, 128), before["witness"], rtol=1e-5)
    np.testing.assert_allclose(after["patches"], before["patches"], atol=1e-4 * np.abs(before["patches"]).max())


def test_a_correction_moves_outputs_by_as_much() -> None:
    made = exported(VIT)
    hub = made.hub
    name = "blocks.1.mlp.fc2"
    delta = np.linspace(-1, 1, 64)
    corrected = ir.to_proto(rewritten(made.graph, CorrectBiases({name: tuple(delta)})))
    for model in (hub, corrected):
        model.graph.output.append(onnx.helper.make_tensor_value_info(f"{name}.add", onnx.TensorProto.FLOAT, None))
    before, after = (features_of(open_session(model), made.frames)[f"{name}.add"] for model in (hub, corrected))
    np.testing.assert_allclose(after - before, np.broadcast_to(delta, before.shape), atol=1e-4)
