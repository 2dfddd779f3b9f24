"""What people build heads of, exported by PyTorch: each target computes it as PyTorch does, or refuses it before anything is
exported, naming operation and head."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from numpy.typing import NDArray

from edgec.errors import UnsupportedOperation
from edgec.graph.session import features_of, open_session
from edgec.heads import Head, check_heads, read_head
from edgec.heads.attach import apart, attach
from edgec.heads.fitting import feature_shapes
from edgec.lowering import registry
from edgec.lowering.tensorrt.check import check_graph
from edgec.lowering.tensorrt.simulation import RoundHalves
from edgec.lowering.tensorrt.writing import typed_model
from edgec.precision.static import uniform
from tests.support.models import SMALL, VIT, exported
from tests.support.torch_heads import export, heads

TORCH = heads()
NEWER = (
    *("normalize", "expand", "repeat", "interleave", "index", "index_two", "gather", "best_tokens", "grid", "grid_border"),
    *("grid_nearest", "deformed", "mish", "group_norm", "circular", "bicubic", "einsum", "attention", "gelu"),
    *("pixel_unshuffle", "chunks", "where"),
)
"""Also by PyTorch's newer exporter, which takes a second or two each."""
WAYS = {**{f"{name}_17": (name, False, 17) for name in TORCH}, **{f"{name}_20": (name, True, 20) for name in NEWER}}
REFUSED: dict[str, dict[str, str]] = {
    "coreml": {
        "grid_nearest_17": "GridSample with mode nearest",
        "grid_nearest_20": "GridSample with mode nearest",
        "grid_reflection_17": "padding reflection",
        "ceil_pool_17": "ceil_mode",
        "assigned_17": "no translation of ScatterND",
        "lstm_17": "no translation of LSTM",
    },
    "tensorrt": {},
    "onnxruntime": {},
}
VERSIONS = ("8.6", "10.3", "10.16", "11.4")
"""Of the boards that `--target jetson` means."""


@dataclass(frozen=True)
class Made:
    folder: Path

    @cached_property
    def heads(self) -> dict[str, Head]:
        actual = {}
        for name, (which, dynamo, opset) in WAYS.items():
            path = export(TORCH[which], self.folder / f"{name}.onnx", dynamo=dynamo, opset=opset)
            actual[name] = read_head(name, path)
        return actual

    def expected(self, name: str) -> NDArray[Any]:
        head, given = TORCH[WAYS[name][0]], exported(VIT).expected
        with torch.inference_mode():
            return head(*(torch.from_numpy(given[each]) for each in head.reads)).numpy()

    @cached_property
    def alone(self) -> dict[str, ir.Model]:
        """Each as a graph of its own."""
        shapes = feature_shapes(VIT, SMALL)
        return {name: apart([head], shapes, SMALL)[name] for name, head in self.heads.items()}

    @cache  # noqa: B019 - there is one of these
    def _merged(self, names: tuple[str, ...]) -> ir.Model:
        return attach(exported(VIT).graph, [self.heads[name] for name in names])

    def hub(self, runtime: str) -> ir.Model:
        """With all heads that the runtime takes."""
        return self._merged(tuple(name for name in self.heads if name not in REFUSED[runtime])).clone()

    def differing(self, actual: dict[str, NDArray[Any]]) -> dict[str, float]:
        """By head, how far it is from PyTorch, of those that are further than float32 explains."""
        errors = {}
        for name in self.heads.keys() & actual.keys():
            expected = self.expected(name)
            assert actual[name].shape == expected.shape, name
            error = np.linalg.norm(actual[name] - expected) / np.linalg.norm(expected)
            if not error < 1e-4:
                errors[name] = float(error)
        return errors


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("torch"))


def test_merged_they_compute_what_pytorch_does(made: Made) -> None:
    check_heads(list(made.heads.values()), VIT, SMALL)
    actual = features_of(open_session(made.hub("onnxruntime")), exported(VIT).frames)
    assert actual.keys() >= made.heads.keys()
    assert made.differing(actual) == {}


def test_no_merged_head_computes_shapes(made: Made) -> None:
    kinds = {node.op_type for node in made.hub("onnxruntime").graph}
    assert not kinds & {"Expand", "Shape", "Range", "ConstantOfShape", "GatherND", "Einsum", "If", "SequenceAt"}


def test_lowered_for_tensorrt_they_compute_the_same(made: Made) -> None:
    typed, _ = typed_model(made.hub("tensorrt"), uniform("fp32"))
    assert [finding.rule.id for finding in check_graph(ir.to_proto(typed), VERSIONS) if finding.is_error] == []
    actual = features_of(open_session(RoundHalves()(typed).model, optimise=False), exported(VIT).frames)
    assert made.differing(actual) == {}


def test_in_a_core_ml_package_they_compute_the_same(made: Made, tmp_path: Path) -> None:
    pytest.importorskip("coremltools")
    lowering = registry.get("coreml")
    model = lowering.lower(made.hub("coreml"), uniform("fp32"), tmp_path)
    assert made.differing(lowering.load(model)(exported(VIT).frames)) == {}


@pytest.mark.parametrize("runtime", REFUSED)
def test_an_operation_that_a_target_lacks_is_reported_for_the_head_alone(made: Made, runtime: str) -> None:
    """Before there is a backbone's graph: exactly those that the whole graph would be refused for."""
    if runtime == "coreml":
        pytest.importorskip("coremltools")
    refused: dict[str, UnsupportedOperation] = {}
    for name, graph in made.alone.items():
        try:
            registry.get(runtime).check_head(graph.clone(), VERSIONS)
        except UnsupportedOperation as error:
            refused[name] = error
    assert refused.keys() == REFUSED[runtime].keys()
    for name, words in REFUSED[runtime].items():
        assert words in str(refused[name])
        assert f"heads.{name}." in str(refused[name]), "the node is named"
        assert f"the head {name}" in refused[name].remedy


def test_each_operation_of_tensorrt_s_table_is_of_its_version(made: Made) -> None:
    """A graph with what no version reads is refused by the operation's name."""
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("cls", "own")]
    graph = helper.make_graph([helper.make_node("Det", ["cls"], ["own"], name="heads.own.det0")], "own", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    with pytest.raises(UnsupportedOperation, match=r"TensorRT .*8\.6.* does not take it") as caught:
        registry.get("tensorrt").check_head(ir.from_proto(model), VERSIONS)
    assert "Det" in str(caught.value)
