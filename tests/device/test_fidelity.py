"""The program's own arithmetic against numpy's and edgec's, and what it reads against what is written."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest

from edgec.fidelity.cosines import cosines
from edgec.fidelity.metrics import compare
from edgec.fidelity.tasks import TaskMeter
from edgec.latency.statistics import summary
from edgec.records.evidence import Evidence
from edgec.records.fidelity import Output, TaskFidelity
from tests.device.robot import _content


@pytest.fixture
def device(program: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The program's modules, imported here for the sake of their functions."""
    monkeypatch.syspath_prepend(program)
    import importlib

    def load(name: str) -> ModuleType:
        return importlib.import_module(f"edgec_device.{name}")

    yield load
    for name in [name for name in sys.modules if name.split(".")[0] == "edgec_device"]:
        del sys.modules[name]


def test_figures_are_edgec_s(device: Any) -> None:
    random = np.random.default_rng(0)
    fidelity = device("fidelity")
    for noise in (0.0, 1e-4, 0.3, 5.0):
        shapes = {"cls": (3, 64), "patches": (3, 7, 9, 64)}
        expected = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
        actual = {name: (array + noise * random.normal(size=array.shape)).astype(np.float32) for name, array in expected.items()}
        if noise == 5.0:
            actual["patches"][0, 0, 0] = np.nan
            actual["patches"][1, 2, 3] = 0
            actual["cls"][1, 5] = np.inf
            expected["patches"][2, 0, 0] = actual["patches"][2, 0, 0] = 0
        theirs = {name: fidelity.cosines(expected[name].ravel().tolist(), actual[name].ravel().tolist(), 64) for name in expected}
        for name, values in theirs.items():
            assert values == pytest.approx(cosines(expected[name], actual[name]).ravel().tolist(), abs=1e-12)
        ours = compare(expected, actual, "x", Evidence.SIMULATED)
        assert fidelity.figures(theirs["cls"], theirs["patches"]) == pytest.approx(
            {name: getattr(ours, name) for name in ("cls_cosine_mean", "patch_cosine_mean", "patch_cosine_p01")}, abs=2e-6
        )


SHAPES = {"scores": (3, 5), "labels": (3, 6, 8), "logits": (3, 5, 6, 8), "depth": (3, 6, 8), "values": (3, 4, 5, 7)}


@pytest.mark.parametrize("spoilt", [False, True])
@pytest.mark.parametrize("noise", [0.0, 0.1, 5.0])
@pytest.mark.parametrize("role", SHAPES)
def test_what_heads_keep_is_edgec_s(device: Any, role: Output, noise: float, spoilt: bool) -> None:
    random, shape = np.random.default_rng(0), SHAPES[role]
    expected = random.normal(2, 1, shape).astype(np.float32)
    actual = (expected + noise * random.normal(size=shape)).astype(np.float32)
    if role == "labels":
        expected, actual = (np.clip(np.rint(each), 0, 4).astype(np.float32) for each in (expected, actual))
    if spoilt:
        actual[0].flat[:2] = np.nan, np.inf
        actual[1].flat[3] = 900
        actual[2].flat[0] = -7
    ours = TaskMeter("head", role, classes=5 if role == "labels" else 0)
    ours.add(expected, actual)
    theirs = device("tasks").Meter(device("bundle").Tensor("head", "float32", shape, role, 5))
    for one, other in zip(expected, actual, strict=True):
        theirs.add(one.ravel().tolist(), other.ravel().tolist())
    wanted, found = ours.summary().model_dump(mode="json", exclude_none=True), theirs.summary()
    (part,) = set(wanted) - {"head", "output"}
    assert set(found) == {"head", "output", part}
    for name, value in wanted[part].items():
        assert found[part][name] == pytest.approx(value, rel=2e-5, abs=2e-6), name
    assert TaskFidelity.model_validate(found)
    assert device("tasks").told(found).startswith("head ")


def test_labels_of_which_nobody_says_how_many_there_are(device: Any) -> None:
    expected, actual = np.array([[[0, 1], [1, 2]]], np.float32), np.array([[[0, 9], [1, 1e9]]], np.float32)
    ours = TaskMeter("head", "labels")
    ours.add(expected, actual)
    theirs = device("tasks").Meter(device("bundle").Tensor("head", "int32", (1, 2, 2), "labels"))
    theirs.add(expected.ravel().tolist(), actual.ravel().tolist())
    assert TaskFidelity.model_validate(theirs.summary()) == ours.summary()


@pytest.mark.parametrize("count", [1, 2, 3, 100, 101])
def test_percentiles_are_numpy_s(device: Any, count: int) -> None:
    values = np.random.default_rng(count).normal(size=count)
    for percent in (0, 1, 50, 99.5, 100):
        assert device("fidelity").percentile(values.tolist(), percent) == pytest.approx(np.percentile(values, percent), abs=1e-12)


@pytest.mark.parametrize("count", [1, 2, 20, 333])
def test_latencies_are_summed_up_as_edgec_does(device: Any, count: int) -> None:
    samples = np.random.default_rng(count).gamma(2, size=count).tolist()
    assert device("bench").summary(samples) == pytest.approx(vars(summary(samples)), abs=1e-4)


def test_outputs_are_read_as_trtexec_writes_them(device: Any) -> None:
    text = (
        '[\n  { "name" : "nan_inf"\n  , "dimensions" : "1x2x3"\n  , "values" : [ 1, -nan, nan, inf, -inf, 1.5e-05 ]\n  }\n'
        ', { "name" : "scalar"\n  , "dimensions" : ""\n  , "values" : [ -2 ]\n  }\n]\n'
    )
    found = device("verify").read_outputs(text)
    assert found["nan_inf"].shape == (1, 2, 3)
    values = list(found["nan_inf"].values)
    assert [math.isnan(value) for value in values] == [False, True, True, False, False, False]
    assert values[3:] == [math.inf, -math.inf, 1.5e-05]
    assert (found["scalar"].shape, list(found["scalar"].values)) == ((), [-2.0])


@pytest.mark.parametrize("text", ["", "[", "3", "[1]", '[{"name": "x"}]', '[{"name": "x", "dimensions": "axb", "values": []}]'])
def test_outputs_that_are_none_are_refused(device: Any, text: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        device("verify").read_outputs(text)


def test_layers_are_those_that_onnx_sees(device: Any, tmp_path: Path) -> None:
    for stem, content in _content()[0].items():
        path = tmp_path / f"{stem}.onnx"
        path.write_bytes(content)
        graph = onnx.load_model_from_string(content).graph
        found = set(device("graph").float32_layers(path))
        norms = {node.name for node in graph.node if node.op_type in ("LayerNormalization", "Softmax")}
        products = {node.name for node in graph.node if node.op_type in ("MatMul", "Conv")}
        assert norms
        assert norms <= found
        assert found & products if stem == "int8" else products <= found
        quantised = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
        assert not [node.name for node in graph.node if node.name in found and quantised & set(node.input)]
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(ValueError, match=r"cut short|no graph"):
            device("graph").float32_layers(path)


def test_banners(device: Any) -> None:
    versions = {"8502": (8, 5, 2), "8601": (8, 6, 1), "100300": (10, 3, 0), "101602": (10, 16, 2), "110100": (11, 1, 0)}
    assert {digits: device("versions").from_banner(digits) for digits in versions} == versions


def test_golden_files_are_numpy_s(device: Any, tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    np.savez(tmp_path / "good.npz", features=array, labels=-array.astype(np.int32))
    read = device("npy").read_npz(tmp_path / "good.npz")
    for name, value in (("features", array), ("labels", -array)):
        assert read[name].shape == (2, 3, 4)
        assert list(read[name].row(1)) == value[1].ravel().tolist()
    error = device("errors").BundleError
    np.savez(tmp_path / "order.npz", features=np.asfortranarray(array))
    np.savez(tmp_path / "kind.npz", features=array.astype(np.float64))
    np.savez_compressed(tmp_path / "packed.npz", features=array)
    (tmp_path / "none.npz").write_text("no archive")
    for name in ("order", "kind", "packed", "none", "absent"):
        with pytest.raises(error):
            device("npy").read_npz(tmp_path / f"{name}.npz")


def test_json_holds_no_nan(device: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        device("files").write_json(tmp_path / "x.json", {"value": math.nan})
    device("files").write_json(tmp_path / "x.json", {"value": 1})
    assert json.loads((tmp_path / "x.json").read_text()) == {"value": 1}
