"""ONNX files below protobuf's limit and above it; the limit is lowered, so that files stay small."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from edgec.graph import files
from edgec.graph.files import load, save, serialised, weight_bytes
from edgec.graph.session import features_of, open_session
from tests.support.models import VIT, exported
from tests.support.onnx_graphs import constants


@pytest.fixture
def _low_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LIMIT", 10_000)


def test_a_small_model_is_one_file(tmp_path: Path) -> None:
    made = exported(VIT)
    assert save(made.graph, tmp_path / "hub.onnx") == ("hub.onnx",)
    assert [path.name for path in tmp_path.iterdir()] == ["hub.onnx"]
    assert (tmp_path / "hub.onnx").read_bytes() == made.content
    assert serialised(load(tmp_path / "hub.onnx")) == made.content


def test_all_weights_are_counted() -> None:
    made = exported(VIT)
    assert weight_bytes(made.graph) == sum(value.nbytes for value in constants(made.hub).values())


@pytest.mark.usefixtures("_low_limit")
def test_a_large_model_has_its_weights_beside_it(tmp_path: Path) -> None:
    made = exported(VIT)
    hub = made.graph
    names = save(hub, tmp_path / "model.onnx")
    assert names == ("model.onnx", "model.onnx.data")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert serialised(hub) == made.content
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in names:
        shutil.move(tmp_path / name, moved / name)
    back = load(moved / "model.onnx")
    assert {name: value.tobytes() for name, value in constants(back).items()} == {
        name: value.tobytes() for name, value in constants(hub).items()
    }


@pytest.mark.usefixtures("_low_limit")
def test_a_large_model_runs_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = exported(VIT)
    features = features_of(open_session(made.graph), made.frames)
    np.testing.assert_allclose(features["cls"], made.expected["cls"], atol=1e-4 * np.abs(made.expected["cls"]).max())
    assert not list(tmp_path.iterdir())
