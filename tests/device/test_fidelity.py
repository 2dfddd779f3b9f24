"""What the program reads against what is written: golden files, graphs, outputs, banners."""

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

from tests.device.robot import _content


@pytest.fixture
def device(program: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The program's modules, imported here for the sake of their functions."""
    monkeypatch.syspath_prepend(program)
    import importlib

    def load(name: str) -> ModuleType:
        return importlib.import_module(name if "." in name else f"edgec_device.{name}")

    yield load
    for name in [name for name in sys.modules if name.split(".")[0] in ("edgec_device", "edgec_jetson", "edgec_onboard")]:
        del sys.modules[name]


def test_outputs_are_read_as_trtexec_writes_them(device: Any) -> None:
    text = (
        '[\n  { "name" : "nan_inf"\n  , "dimensions" : "1x2x3"\n  , "values" : [ 1, -nan, nan, inf, -inf, 1.5e-05 ]\n  }\n'
        ', { "name" : "scalar"\n  , "dimensions" : ""\n  , "values" : [ -2 ]\n  }\n]\n'
    )
    found = device("edgec_jetson.steps").read_outputs(text)
    assert found["nan_inf"].shape == (1, 2, 3)
    values = list(found["nan_inf"].values)
    assert [math.isnan(value) for value in values] == [False, True, True, False, False, False]
    assert values[3:] == [math.inf, -math.inf, 1.5e-05]
    assert (found["scalar"].shape, list(found["scalar"].values)) == ((), [-2.0])


@pytest.mark.parametrize("text", ["", "[", "3", "[1]", '[{"name": "x"}]', '[{"name": "x", "dimensions": "axb", "values": []}]'])
def test_invalid_outputs_are_refused(device: Any, text: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        device("edgec_jetson.steps").read_outputs(text)


def test_layers_are_those_that_onnx_sees(device: Any, tmp_path: Path) -> None:
    for stem, content in _content()[0].items():
        path = tmp_path / f"{stem}.onnx"
        path.write_bytes(content)
        graph = onnx.load_model_from_string(content).graph
        found = set(device("edgec_jetson.graph").float32_layers(path))
        norms = {node.name for node in graph.node if node.op_type in ("LayerNormalization", "Softmax")}
        products = {node.name for node in graph.node if node.op_type in ("MatMul", "Conv")}
        assert norms
        assert norms <= found
        assert found & products if stem == "int8" else products <= found
        quantised = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
        assert not [node.name for node in graph.node if node.name in found and quantised & set(node.input)]
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(ValueError, match=r"cut short|no graph"):
            device("edgec_jetson.graph").float32_layers(path)


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
    error = device("edgec_onboard.errors").ArtefactError
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
