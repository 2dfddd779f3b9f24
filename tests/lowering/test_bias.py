"""Biases of int8 products, lifted to the rank of what they are added to."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir

from edgec.graph.passes.base import rewritten
from edgec.graph.passes.quantise import Quantise
from edgec.graph.plan import PrecisionPlan
from edgec.graph.session import features_of, open_session
from edgec.lowering.bias import LiftBiases
from tests.lowering.cases import ranges
from tests.support.models import CONVNEXT, VIT, exported
from tests.support.onnx_graphs import constant, constants, node


def lifted_graph(hub: ir.Model, plan: PrecisionPlan) -> onnx.ModelProto:
    return ir.to_proto(rewritten(hub, Quantise(plan), LiftBiases(plan)))


def test_only_biases_of_int8_products_are_lifted() -> None:
    made = exported(VIT)
    plan = PrecisionPlan("some", "fp32", {"blocks.0.mlp.fc1": "int8", "blocks.0.attn.k": "int8"}, ranges(made))
    model = lifted_graph(made.graph, plan)
    onnx.checker.check_model(model, full_check=True)
    lifted = node(model, "blocks.0.mlp.fc1.add").input[1]
    assert constant(model, lifted).shape == (1, 1, 128)
    np.testing.assert_array_equal(constant(model, lifted).ravel(), constant(made.hub, "blocks.0.mlp.fc1.bias"))
    assert constant(model, node(model, "blocks.0.mlp.fc2.add").input[1]).shape == (64,)
    assert sum(value.ndim == 3 and value.shape[:2] == (1, 1) for value in constants(model).values()) == 1


def test_images_of_features_get_four_dimensions() -> None:
    made = exported(CONVNEXT)
    plan = PrecisionPlan("one", "fp32", {"stages.1.blocks.0.fc2": "int8"}, ranges(made))
    model = lifted_graph(made.graph, plan)
    assert constant(model, node(model, "stages.1.blocks.0.fc2.add").input[1]).shape == (1, 1, 1, 24)


def test_products_that_share_a_bias_each_get_what_they_need() -> None:
    """The exporter lets equal constants share one: here a product in int8 and one in float."""
    made = exported(VIT)
    hub = made.hub
    node(hub, "blocks.1.mlp.fc1.add").input[1] = "blocks.0.mlp.fc1.bias"
    expected = features_of(open_session(hub), made.frames)
    for name in ("blocks.0.mlp.fc1", "blocks.1.mlp.fc1"):
        plan = PrecisionPlan("one", "fp32", {name: "int8"}, ranges(made))
        model = lifted_graph(ir.from_proto(hub), plan)
        onnx.checker.check_model(model, full_check=True)
        features = features_of(open_session(model), made.frames)
        assert np.abs(features["patches"] - expected["patches"]).mean() < 0.05
        assert "blocks.0.mlp.fc1.bias" in constants(model)


def test_unread_constants_are_removed() -> None:
    made = exported(VIT)
    names = ("blocks.0.mlp.fc1", "blocks.1.mlp.fc1")
    plan = PrecisionPlan("two", "fp32", dict.fromkeys(names, "int8"), ranges(made))
    model = lifted_graph(made.graph, plan)
    read = {name for node in model.graph.node for name in node.input}
    assert set(constants(model)) <= read
