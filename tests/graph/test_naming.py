"""Names from module paths, on a graph made by hand as an exporter would leave it."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgec.graph.passes.naming import SCOPES, NameByModule

ROOT = "model.backbone"


def make_graph(counter: int = 0) -> onnx.ModelProto:
    """A product, its bias, a second sum with the same scope, and a norm that the last output comes from. `counter` is where the
    exporter's own numbering begins."""

    def value(number: int) -> str:
        return f"val_{counter + number}"

    def made(kind: str, inputs: list[str], output: str, number: int, *scopes: str) -> onnx.NodeProto:
        node = helper.make_node(kind, inputs, [output], name=f"node_{counter + number}", doc_string="/home/someone/model.py:12")
        node.metadata_props.append(onnx.StringStringEntryProto(key=SCOPES, value=repr(["", *scopes])))
        node.metadata_props.append(onnx.StringStringEntryProto(key="pkg.torch.onnx.stack_trace", value="/home/someone/x.py"))
        return node

    block = f"{ROOT}.blocks.0"
    nodes = [
        made("Abs", ["frames"], value(0), 0, "model", "abs"),
        made("MatMul", [value(0), "weight_a"], value(1), 1, "model", ROOT, f"{block}.fc", "matmul"),
        made("Add", [value(1), "bias_a"], value(2), 2, "model", ROOT, f"{block}.fc", "add"),
        made("Add", [value(2), value(0)], value(3), 3, "model", ROOT, block, "add"),
        made("Add", [value(3), value(0)], value(4), 4, "model", ROOT, block, "add_1"),
        made("MatMul", [value(4), value(4)], value(5), 5, "model", ROOT, f"{block}.attn", "scores"),
        made("Softmax", [value(5)], value(6), 6, "model", ROOT, f"{block}.attn", "softmax"),
        made("MatMul", [value(6), value(4)], value(7), 7, "model", ROOT, f"{block}.attn", "matmul"),
        made("MatMul", [value(7), "weight_a"], value(8), 8, "model", ROOT, f"{block}.add_2", "matmul"),
        made("LayerNormalization", [value(8), "gain", "bias_a"], "cls", 9, "model", ROOT, f"{ROOT}.norm", "norm"),
    ]
    graph = helper.make_graph(
        nodes,
        "exported",
        [helper.make_tensor_value_info("frames", TensorProto.FLOAT, [4, 4])],
        [helper.make_tensor_value_info("cls", TensorProto.FLOAT, [4, 4])],
        [
            numpy_helper.from_array(np.ones(shape, np.float32), name)
            for name, shape in (("weight_a", (4, 4)), ("bias_a", (4,)), ("gain", (4,)))
        ],
        value_info=[helper.make_tensor_value_info(value(number), TensorProto.FLOAT, [4, 4]) for number in range(9)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    model.metadata_props.append(onnx.StringStringEntryProto(key="made on", value="/home/someone"))
    graph = model.graph
    graph.value_info[0].metadata_props.append(onnx.StringStringEntryProto(key="k", value="/home/someone"))
    graph.initializer[0].doc_string = "/home/someone"
    graph.output[0].doc_string = "/home/someone"
    return model


@pytest.fixture
def named() -> onnx.ModelProto:
    model = named_graph(make_graph())
    onnx.checker.check_model(model, full_check=True)
    return model


def named_graph(model: onnx.ModelProto) -> onnx.ModelProto:
    return ir.to_proto(NameByModule({ROOT: ""})(ir.from_proto(model)).model)


def test_nodes_are_named_for_their_modules(named: onnx.ModelProto) -> None:
    names = [node.name for node in named.graph.node]
    assert names == [
        "frames.abs",
        "blocks.0.fc",
        "blocks.0.fc.add",
        "blocks.0.add",
        "blocks.0.add_2",
        "blocks.0.attn.scores",
        "blocks.0.attn.softmax",
        "blocks.0.attn.mix",
        "blocks.0.add_2_2",
        "norm",
    ]


def test_tensors_are_named_for_their_nodes_and_constants_for_their_first_reader(named: onnx.ModelProto) -> None:
    for node in named.graph.node[:-1]:
        assert list(node.output) == [node.name]
    assert [entry.name for entry in named.graph.initializer] == ["blocks.0.fc.weight", "blocks.0.fc.bias", "norm.weight"]
    constants = {entry.name for entry in named.graph.initializer}
    assert {value.name for value in named.graph.value_info} - constants == {node.name for node in named.graph.node[:-1]}
    assert named.graph.node[-1].input[2] == "blocks.0.fc.bias"


def test_inputs_and_outputs_keep_their_names(named: onnx.ModelProto) -> None:
    assert [value.name for value in (*named.graph.input, *named.graph.output)] == ["frames", "cls"]
    assert named.graph.node[-1].output[0] == "cls"


def test_names_do_not_move_with_the_exporter_s_counters(named: onnx.ModelProto) -> None:
    other = named_graph(make_graph(counter=731))
    assert other.SerializeToString(deterministic=True) == named.SerializeToString(deterministic=True)


def test_nothing_of_the_machine_remains(named: onnx.ModelProto) -> None:
    assert b"someone" not in named.SerializeToString()


def test_nodes_without_a_scope_get_a_name_too() -> None:
    model = make_graph()
    for node in model.graph.node:
        del node.metadata_props[:]
    model = named_graph(model)
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names) == 10
    assert all(names)
    onnx.checker.check_model(model, full_check=True)
