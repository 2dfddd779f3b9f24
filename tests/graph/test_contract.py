"""The contract is checked on the graph itself: each promise that is broken is named."""

from __future__ import annotations

from collections.abc import Callable

import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from edgec.errors import ExportError
from edgec.graph.contract import check_contract, norm_count
from edgec.model.spec import FAMILY
from tests.support.models import CONVNEXT, SMALL, SPECS, VIT, exported
from tests.support.onnx_graphs import node, nodes


def _broken(hub: onnx.ModelProto, *, spec: str = "vit", batch: int = 1) -> str:
    with pytest.raises(ExportError, match="breaks the hub graph's contract") as caught:
        check_contract(ir.from_proto(hub), SPECS[spec], SMALL, batch)
    assert caught.value.exit_code == 6
    return "\n".join(caught.value.evidence)


def test_every_export_keeps_it() -> None:
    for spec in SPECS.values():
        check_contract(exported(spec).graph, spec, SMALL, 1)


def _other_opset(hub: onnx.ModelProto) -> None:
    hub.opset_import[0].version = 20


def _second_domain(hub: onnx.ModelProto) -> None:
    hub.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def _shape_node(hub: onnx.ModelProto) -> None:
    hub.graph.node.append(helper.make_node("Shape", ["frames"], ["shape"], name="shape"))


def _branch(hub: onnx.ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    hub.graph.node.append(helper.make_node("If", ["nothing"], [], name="branch", then_branch=body, else_branch=body))


def _decomposed_norm(hub: onnx.ModelProto) -> None:
    node(hub, "norm").op_type = "Identity"


def _float_frames(hub: onnx.ModelProto) -> None:
    hub.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT


def _open_batch(hub: onnx.ModelProto) -> None:
    hub.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"


def _open_inside(hub: onnx.ModelProto) -> None:
    value = next(value for value in hub.graph.value_info if value.name == "blocks.0.mlp.fc1")
    value.type.tensor_type.shape.dim[1].dim_param = "T"


def _flat_patches(hub: onnx.ModelProto) -> None:
    output = next(value for value in hub.graph.output if value.name == "patches")
    output.CopyFrom(helper.make_tensor_value_info("patches", TensorProto.FLOAT, [1, 24, 64]))


def _no_cls(hub: onnx.ModelProto) -> None:
    del hub.graph.output[0]


def _same_name(hub: onnx.ModelProto) -> None:
    node(hub, "blocks.1.mlp.fc1").name = "blocks.0.mlp.fc1"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_other_opset, "20"),
        (_second_domain, "com.microsoft"),
        (_shape_node, "1 Shape node"),
        (_branch, "1 If node"),
        (_decomposed_norm, "4 LayerNormalization nodes, not 5"),
        (_float_frames, "frames are FLOAT, not UINT8"),
        (_open_batch, "frames is None, not (1, 64, 96, 3)"),
        (_open_inside, "dynamic shapes: blocks.0.mlp.fc1"),
        (_flat_patches, "patches is (1, 24, 64), not (1, 4, 6, 64)"),
        (_no_cls, "cls is absent"),
        (_same_name, "two nodes are named blocks.0.mlp.fc1"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_broken_promise_is_named(damage: Callable[[onnx.ModelProto], None], said: str) -> None:
    hub = exported(VIT).hub
    damage(hub)
    assert said in _broken(hub)


def test_all_broken_promises_are_named_at_once() -> None:
    hub = exported(VIT).hub
    for damage in (_other_opset, _decomposed_norm, _float_frames):
        damage(hub)
    assert len(_broken(hub).splitlines()) == 3


def test_another_batch_is_a_broken_promise() -> None:
    assert "(2, 64, 96, 3)" in _broken(exported(VIT).hub, batch=2)


def test_norms_are_counted_from_the_dimensions() -> None:
    """Of the published models: two a block of a ViT and one more; one a block and a stage of a ConvNeXt and two more."""
    counts = {name: norm_count(spec) for name, spec in FAMILY.items()}
    assert counts["vits16"] == 25
    assert counts["vitl16"] == 49
    assert counts["vith16plus"] == 65
    assert counts["convnext_tiny"] == 18 + 4 + 2
    assert counts["convnext_large"] == 36 + 4 + 2
    assert len(nodes(exported(CONVNEXT).hub, "LayerNormalization")) == norm_count(CONVNEXT)
