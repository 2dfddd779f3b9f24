"""Smoothing and bias correction change where numbers are, not what the model computes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgec.graph.passes.correct import correct_biases
from edgec.graph.passes.smooth import by_input_channel, groups, smooth
from edgec.graph.session import features_of, open_session
from tests.support.models import SPECS, VIT, exported
from tests.support.onnx_graphs import constant


@pytest.mark.parametrize("kind", ["vit", "swiglu", "two-heads", "key-bias", "convnext"])
def test_float32_features_stay_the_same(kind: str) -> None:
    made = exported(SPECS[kind])
    hub = made.hub
    found = groups(hub)
    random = np.random.default_rng(0)
    scales = {}
    for group in found:
        channels = len(by_input_channel(group.readers[0], constant(hub, group.readers[0].weight)))
        scales[group.activation] = tuple(float(value) for value in np.exp(random.normal(0, 1.5, channels)))
    smoothed = smooth(hub, scales)
    onnx.checker.check_model(smoothed, full_check=True)
    expected, actual = (features_of(open_session(model), made.frames) for model in (hub, smoothed))
    for name, wanted in expected.items():
        np.testing.assert_allclose(actual[name], wanted, atol=2e-4 * np.abs(wanted).max())
    changed = sum(
        not np.array_equal(constant(hub, group.readers[0].weight), constant(smoothed, group.readers[0].weight)) for group in found
    )
    assert changed == len(found) > 0
    assert hub.SerializeToString(deterministic=True) == made.content


def test_every_product_behind_a_norm_or_a_linear_maker_can_be_smoothed() -> None:
    found = {group.readers[0].name: group for group in groups(exported(SPECS["swiglu"]).hub)}
    assert set(found) == {
        *(f"blocks.{block}.{reader}" for block in range(2) for reader in ("attn.q", "attn.proj", "mlp.gate", "mlp.down"))
    }
    assert [reader.name for reader in found["blocks.0.attn.q"].readers] == [f"blocks.0.attn.{name}" for name in "qkv"]
    assert found["blocks.1.mlp.down"].maker == "blocks.1.mlp.up"
    assert not found["blocks.1.attn.proj"].maker_is_norm
    plain = {group.readers[0].name for group in groups(exported(VIT).hub)}
    assert "blocks.0.mlp.fc2" not in plain, "nothing linear is before it"


def test_a_correction_moves_outputs_by_as_much() -> None:
    made = exported(VIT)
    hub = made.hub
    name = "blocks.1.mlp.fc2"
    delta = np.linspace(-1, 1, 64)
    corrected = correct_biases(hub, {name: tuple(delta)})
    for model in (hub, corrected):
        model.graph.output.append(onnx.helper.make_tensor_value_info(f"{name}.add", onnx.TensorProto.FLOAT, None))
    before, after = (features_of(open_session(model), made.frames)[f"{name}.add"] for model in (hub, corrected))
    np.testing.assert_allclose(after - before, np.broadcast_to(delta, before.shape), atol=1e-4)
