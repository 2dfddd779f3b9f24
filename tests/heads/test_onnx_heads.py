"""Heads that are ONNX files: converted, made static, renamed; and refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from edgec.graph.session import features_of, open_session
from edgec.heads import HeadError, check_heads, identify_heads, read_head
from edgec.heads.attach import attach
from edgec.heads.reference import ReferenceHead
from edgec.model.spec import Size
from tests.support import heads as made
from tests.support.models import VIT, exported

SIZE = Size(64, 96)


def small(
    path: Path, nodes: list[onnx.NodeProto], outputs: dict[str, int], *, kind: int = TensorProto.FLOAT, opset: int = 18
) -> Path:
    """A graph that reads `patches`. `outputs` have so many dimensions, all of them open."""
    values = [helper.make_tensor_value_info(name, kind, list("abcdef"[:rank])) for name, rank in outputs.items()]
    inputs = [helper.make_tensor_value_info("patches", TensorProto.FLOAT, ["n", "h", "w", 64])]
    graph = helper.make_graph(nodes, "head", inputs, values)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path


@pytest.mark.parametrize("opset", [13, 17, 18, 20])
def test_other_opsets_are_converted(opset: int, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["patches"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Softmax", ["planes"], ["shares"], axis=1),
        helper.make_node("ArgMax", ["shares"], ["best"], axis=1, keepdims=0),
    ]
    path = small(tmp_path / "head.onnx", nodes, {"best": 3}, kind=TensorProto.INT64, opset=opset)
    backbone = exported(VIT, SIZE)
    merged = attach(backbone.graph, [read_head("most", path)])
    actual = features_of(open_session(merged), backbone.frames)
    assert actual["most"].dtype == np.float32, "values are what manifests and golden frames take for float32"
    expected = backbone.expected["patches"].argmax(axis=-1)
    assert (actual["most"] == expected).all()


def test_several_outputs_have_names_of_their_own(tmp_path: Path) -> None:
    nodes = [helper.make_node("Neg", ["patches"], ["less"]), helper.make_node("Abs", ["patches"], ["size 1"])]
    backbone = exported(VIT, SIZE)
    head = read_head("twin", small(tmp_path / "head.onnx", nodes, {"less": 4, "size 1": 4}))
    assert head.outputs() == ("twin_less", "twin_size_1")
    actual = features_of(open_session(attach(backbone.graph, [head])), backbone.frames)
    np.testing.assert_allclose(actual["twin_less"], -backbone.expected["patches"], atol=1e-3)
    np.testing.assert_array_equal(actual["twin_size_1"], np.abs(actual["patches"]))


def test_a_head_may_output_its_input(tmp_path: Path) -> None:
    nodes = [helper.make_node("Identity", ["patches"], ["same"])]
    backbone = exported(VIT, SIZE)
    merged = attach(backbone.graph, [read_head("echo", small(tmp_path / "head.onnx", nodes, {"same": 4}))], features=False)
    actual = features_of(open_session(merged), backbone.frames)
    assert list(actual) == ["echo"]
    np.testing.assert_allclose(actual["echo"], backbone.expected["patches"], atol=1e-3)


def test_two_heads_of_one_file_share_nothing(tmp_path: Path) -> None:
    path = made.pooled_onnx(tmp_path / "head.onnx", 64)
    backbone = exported(VIT, SIZE)
    merged = attach(backbone.graph, [read_head("one", path), read_head("two", path)])
    actual = features_of(open_session(merged), backbone.frames)
    np.testing.assert_array_equal(actual["one"], actual["two"])


def test_a_head_for_another_width_is_refused_with_both_shapes(tmp_path: Path) -> None:
    head = read_head("kind", made.pooled_onnx(tmp_path / "head.onnx", 384))
    with pytest.raises(HeadError) as caught:
        check_heads([head], VIT, SIZE)
    assert "[?, 384]" in str(caught.value)
    assert "[1, 64]" in str(caught.value)


def damaged(path: Path, change: Callable[[onnx.ModelProto], None]) -> Path:
    model = onnx.load(path)
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


def _external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[-1]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../../etc/passwd")


def _foreign(model: onnx.ModelProto) -> None:
    model.graph.node[-1].domain = "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def _half(model: onnx.ModelProto) -> None:
    for value in model.graph.input:
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    model.graph.initializer[-1].CopyFrom(
        onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(model.graph.initializer[-1]).astype(np.float16), "weight")
    )
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16


def _classes(model: onnx.ModelProto) -> None:
    helper.set_model_props(model, {"output": "scores", "classes": '["a", "b"]'})


def _labels(model: onnx.ModelProto) -> None:
    helper.set_model_props(model, {"output": "labels"})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_external, "does not hold its weights itself"),
        (_foreign, "not ONNX's own"),
        (_half, "FLOAT16"),
        (_classes, "names 2 classes and gives 3"),
        (_labels, "labels have 3 dimensions"),
    ],
    ids=["external", "foreign", "half", "classes", "labels"],
)
def test_what_cannot_be_merged_is_refused(change: Callable[[onnx.ModelProto], None], said: str, tmp_path: Path) -> None:
    path = damaged(made.pooled_onnx(tmp_path / "head.onnx", 64), change)
    with pytest.raises(HeadError) as caught:
        check_heads([read_head("kind", path)], VIT, SIZE)
    assert said in str(caught.value)


def test_inputs_that_no_backbone_gives_are_named(tmp_path: Path) -> None:
    path = made.pooled_onnx(tmp_path / "head.onnx", 64, names=("pixel_values", "patches"))
    with pytest.raises(HeadError, match="pixel_values"):
        read_head("kind", path)


def test_a_shape_that_data_decides_is_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Flatten", ["patches"], ["flat"]), helper.make_node("NonZero", ["flat"], ["where"])]
    path = small(tmp_path / "head.onnx", nodes, {"where": 2}, kind=TensorProto.INT64)
    with pytest.raises(HeadError, match="NonZero"):
        check_heads([read_head("kind", path)], VIT, SIZE)


def test_branches_are_refused(tmp_path: Path) -> None:
    branch = helper.make_graph(
        [helper.make_node("Neg", ["patches"], ["y"])],
        "b",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, list("abcd"))],
    )
    nodes = [
        helper.make_node("ReduceMax", ["patches"], ["largest"], keepdims=0),
        helper.make_node("Cast", ["largest"], ["any"], to=TensorProto.BOOL),
        helper.make_node("If", ["any"], ["out"], then_branch=branch, else_branch=branch),
    ]
    with pytest.raises(HeadError, match="If"):
        check_heads([read_head("kind", small(tmp_path / "head.onnx", nodes, {"out": 4}))], VIT, SIZE)


@pytest.mark.parametrize(
    "content", [b"", b"not onnx at all", b"\x08\x07" * 100, b"\xff" * 64], ids=["empty", "text", "noise", "ff"]
)
def test_bytes_that_are_no_graph(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "head.onnx").write_bytes(content)
    with pytest.raises(HeadError):
        read_head("kind", tmp_path / "head.onnx")


@pytest.mark.parametrize(("said", "kind"), [("values", np.float32), ("labels", np.int32)])
def test_outputs_have_the_type_that_manifests_promise(said: str, kind: type, tmp_path: Path) -> None:
    """Whole numbers that are said to be plain values are float32, and labels that come as floats int32."""
    nodes = [helper.make_node("ArgMax", ["patches"], ["best"], axis=3, keepdims=0)]
    output, element = ("best", TensorProto.INT64) if said == "values" else ("floats", TensorProto.FLOAT)
    if said == "labels":
        nodes += [
            helper.make_node("Constant", [], ["one"], value_ints=[1]),
            helper.make_node("Constant", [], ["larger"], value_floats=[1.0, 1.0, 16.0, 16.0]),
            helper.make_node("Cast", ["best"], ["coarse"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["coarse", "one"], ["plane"]),
            helper.make_node("Resize", ["plane", "", "larger"], ["fine"], mode="nearest"),
            helper.make_node("Squeeze", ["fine", "one"], ["floats"]),
        ]
    path = small(tmp_path / "head.onnx", nodes, {output: 3}, kind=element)
    path.with_suffix(".toml").write_text(f'kind = "onnx"\noutput = "{said}"\n')
    head, backbone = read_head("most", path), exported(VIT, SIZE)
    actual = features_of(open_session(attach(backbone.graph, [head])), backbone.frames)["most"]
    expected = ReferenceHead(head)({"patches": torch.from_numpy(backbone.expected["patches"])}, SIZE)["most"].numpy()
    assert actual.dtype == expected.dtype == kind
    np.testing.assert_array_equal(actual, expected)


def test_one_number_a_frame_is_a_vector_of_one(tmp_path: Path) -> None:
    nodes = [helper.make_node("ReduceMax", ["patches"], ["most"], axes=[1, 2, 3], keepdims=0)]
    head = read_head("most", small(tmp_path / "head.onnx", nodes, {"most": 1}, opset=17))
    backbone = exported(VIT, SIZE)
    actual = features_of(open_session(attach(backbone.graph, [head])), backbone.frames)["most"]
    expected = ReferenceHead(head)({"patches": torch.from_numpy(backbone.expected["patches"])}, SIZE)["most"].numpy()
    assert actual.shape == expected.shape == (1, 1)
    np.testing.assert_allclose(actual, expected, rtol=1e-4)


def test_external_weights_are_read_and_hashed(tmp_path: Path) -> None:
    """torch.onnx.export writes HEAD.onnx.data unless it is told not to."""
    whole = made.pooled_onnx(tmp_path / "whole.onnx", 64)
    path, data = tmp_path / "head.onnx", tmp_path / "head.onnx.data"
    onnx.save(onnx.load(whole), path, save_as_external_data=True, location=data.name, size_threshold=0)
    head = read_head("kind", path)
    assert identify_heads([f"kind={path}"]) == (("kind", head.sha256),)
    backbone = exported(VIT, SIZE)
    outcome, expected = (
        features_of(open_session(attach(backbone.graph, [each])), backbone.frames)["kind"]
        for each in (head, read_head("kind", whole))
    )
    np.testing.assert_array_equal(outcome, expected)
    data.write_bytes(data.read_bytes()[:-4] + b"\x00\x00\x80\x3f")
    assert read_head("kind", path).sha256 != head.sha256
    data.write_bytes(data.read_bytes()[:-8])
    with pytest.raises(HeadError, match="truncated"):
        read_head("kind", path)
    data.unlink()
    with pytest.raises(HeadError, match="does not hold its weights itself"):
        read_head("kind", path)


def test_a_constant_that_points_at_another_file_is_not_read(tmp_path: Path) -> None:
    tensor = TensorProto(name="secret", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/hostname")
    nodes = [
        helper.make_node("Constant", [], ["secret"], value=tensor),
        helper.make_node("Add", ["patches", "secret"], ["sum"]),
    ]
    with pytest.raises(HeadError, match="/etc/hostname"):
        read_head("kind", small(tmp_path / "head.onnx", nodes, {"sum": 4}))


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (helper.make_node("RandomNormalLike", ["patches"], ["out"]), "never twice the same"),
        (helper.make_node("Slice", ["patches", "nought", "nought"], ["out"]), "empty"),
        (helper.make_node("Transpose", ["patches"], ["out"], perm=[3, 1, 2, 0]), "first side must be the batch's, 1"),
    ],
    ids=["dice", "empty", "batch"],
)
def test_results_that_cannot_be_compared_are_refused(node: onnx.NodeProto, said: str, tmp_path: Path) -> None:
    nought = onnx.numpy_helper.from_array(np.array([0]))
    nodes = [helper.make_node("Constant", [], ["nought"], value=nought), node]
    with pytest.raises(HeadError, match=said):
        check_heads([read_head("kind", small(tmp_path / "head.onnx", nodes, {"out": 4}))], VIT, SIZE)


@pytest.mark.parametrize(("toml", "said"), [("width = 384", "384 wide"), ("layers = [1]", "other layers than the graph reads")])
def test_a_description_must_agree_with_its_graph(toml: str, said: str, tmp_path: Path) -> None:
    path = made.pooled_onnx(tmp_path / "head.onnx", 64)
    path.with_suffix(".toml").write_text(toml)
    with pytest.raises(HeadError, match=said):
        check_heads([read_head("kind", path)], VIT, SIZE)


@pytest.mark.parametrize("form", ["none", "tanh"])
def test_gelu_of_newer_opsets_is_written_out(form: str, tmp_path: Path) -> None:
    """What PyTorch's exporter writes by default; ONNX Runtime runs the file as it is, and the merged graph's parts of it."""
    nodes = [
        helper.make_node("Gelu", ["patches"], ["bent"], approximate=form),
        helper.make_node("Gelu", ["bent"], ["twice"], approximate=form),
    ]
    path = small(tmp_path / "head.onnx", nodes, {"twice": 4}, opset=20)
    backbone = exported(VIT, SIZE)
    merged = attach(backbone.graph, [read_head("soft", path)])
    assert "Gelu" not in {node.op_type for node in merged.graph}
    actual = features_of(open_session(merged), backbone.frames)
    (expected,) = open_session(onnx.load(path)).run(None, {"patches": actual["patches"]})
    np.testing.assert_allclose(actual["soft"], expected, atol=1e-5)


@pytest.mark.parametrize(("output", "rank"), [("labels", 3), ("depth", 3)])
def test_maps_must_have_a_value_a_pixel(output: str, rank: int, tmp_path: Path) -> None:
    """A map a patch would be drawn, compared and deployed as if it were the frame's."""
    nodes = [helper.make_node("ReduceMax", ["patches"], ["map"], keepdims=0)]
    nodes[0].input.append("last")
    path = small(tmp_path / "head.onnx", nodes, {"map": rank})
    model = onnx.load(path)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1]), "last"))
    helper.set_model_props(model, {"output": output})
    onnx.save(model, path)
    with pytest.raises(HeadError) as caught:
        attach(exported(VIT, SIZE).graph, [read_head("map", path)])
    assert "4x6" in str(caught.value)
    assert "64x96" in str(caught.value)
