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

from edgec.evidence import Evidence
from edgec.fidelity.cosines import cosines
from edgec.fidelity.metrics import compare
from edgec.latency.statistics import summary
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
    np.savez(tmp_path / "good.npz", features=array)
    read = device("npy").read_npz(tmp_path / "good.npz")["features"]
    assert read.shape == (2, 3, 4)
    assert list(read.row(1)) == array[1].ravel().tolist()
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
