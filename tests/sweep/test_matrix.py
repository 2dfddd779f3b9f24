"""What a matrix says, and how one is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgec.errors import RequestError
from edgec.sweep.matrix import read

BASE = 'checkpoints = ["demo", "models/robot.pth"]\ntargets = ["cpu", "own/board.toml"]\nsizes = [64, "64x96"]\n'


def matrix(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "matrix.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_combination_is_a_cell_and_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    parsed = read(matrix(tmp_path, BASE + 'calibration = "frames"\nvalidation = "demo"\nmin_fidelity = 0.9\n'))
    assert len({cell.name for cell in parsed.cells}) == 8
    last = parsed.cells[-1]
    assert last.name == "robot-board-64x96-auto"
    assert last.request.checkpoint == str(tmp_path / "models/robot.pth")
    assert last.request.target == str(tmp_path / "own/board.toml")
    assert (last.request.calibration, last.request.validation) == (str(tmp_path / "frames"), "demo")
    assert last.request.min_fidelity == 0.9
    assert parsed.cells[0].request.checkpoint == "demo"
    assert parsed.fps == 30


def test_options_come_before_the_file(tmp_path: Path) -> None:
    parsed = read(matrix(tmp_path, BASE + "fps = 10\n"), fps=60, min_fidelity=0.5)
    assert parsed.fps == 60
    assert {cell.request.min_fidelity for cell in parsed.cells} == {0.5}


def test_cells_are_left_out_and_added(tmp_path: Path) -> None:
    more = 'exclude = [{ target = "own/board.toml", size = [64, "64x96"] }]\n'
    more += 'include = [{ checkpoint = "robot", target = "jetson", size = 224, precision = "int8" }]\n'
    parsed = read(matrix(tmp_path, BASE + more))
    assert [cell.target for cell in parsed.cells] == ["cpu"] * 4 + ["jetson"]
    assert parsed.cells[-1].request.checkpoint == str(tmp_path / "models/robot.pth")


def test_cells_that_share_their_first_stages(tmp_path: Path) -> None:
    cells = read(matrix(tmp_path, BASE)).cells
    assert len({cell.hub for cell in cells}) == 4


@pytest.mark.parametrize(
    ("text", "evidence"),
    [
        ("checkpoints = [,\n", "line 1"),
        ('targets = ["cpu"]\nsizes = [64]\n', "checkpoints: Field required"),
        (BASE + "jobs = 2\n", "jobs: there is no such key"),
        (BASE.replace("64,", '"64y",'), "sizes.0: '64y' is not an input size"),
        (BASE.replace("64,", "true,"), "sizes.0: a size is a number"),
        (BASE.replace("64,", "96, 96,"), "sizes: 96x96 is given more than once"),
        (BASE.replace('["cpu"', '["cpu", "cpu"'), "targets: cpu is given more than once"),
        (BASE + "min_fidelity = nan\n", "min_fidelity = nan"),
        (BASE + "fps = 0\n", "fps: "),
        (BASE + 'precisions = ["int3"]\n', "precisions.0: "),
        (BASE + 'exclude = [{ target = "jetson" }]\n', "exclude.0: no cell has target jetson"),
        (BASE + "exclude = [{}]\n", "exclude: an entry without a key"),
        (BASE + 'exclude = [{ checkpoint = ["demo", "robot"] }]\n', "exclude leaves nothing"),
        (BASE + 'exclude = [{ model = "demo" }]\n', "exclude.0.model: there is no such key; there are checkpoint"),
        (BASE + f"sizes = {list(range(16, 16 * 300, 16))}\n".replace("sizes", "iterations = 4\n#"), "iterations: "),
        (BASE.replace("sizes = [64, ", f"sizes = [{', '.join(map(str, range(16, 5000, 16)))}, "), "1252 cells"),
        (BASE.replace('"demo", ', '"other/robot.safetensors", '), "would both be called 'robot'"),
        (BASE.replace('"cpu", ', '"other/board.toml", '), "two cells would be demo-board-64x64-auto.edgec"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, evidence: str) -> None:
    with pytest.raises(RequestError) as caught:
        read(matrix(tmp_path, text))
    assert any(evidence in fact for fact in caught.value.evidence), caught.value
    assert "matrix.toml" in caught.value.what
    assert caught.value.remedy


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * (2 << 20), b"a = " + b"[" * 100_000])
def test_what_is_no_matrix_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "matrix.toml").write_bytes(content)
    with pytest.raises(RequestError, match=r"matrix\.toml"):
        read(tmp_path / "matrix.toml")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="cannot be read"):
        read(tmp_path / "none.toml")


def test_names_make_folders_whatever_they_are(tmp_path: Path) -> None:
    text = 'checkpoints = { "../<b> x" = "a.pth", "random:vits16" = "random:vits16" }\ntargets = ["cpu"]\nsizes = [32]\n'
    assert [cell.name for cell in read(matrix(tmp_path, text)).cells] == ["b-x-cpu-32x32-auto", "random-vits16-cpu-32x32-auto"]


def test_weights_and_config_hold_for_all_cells(tmp_path: Path) -> None:
    path = tmp_path / "matrix.toml"
    text = 'checkpoints = ["demo"]\ntargets = ["cpu"]\nsizes = [224]\nweights = "student"\n'
    for config, expected in (('"mine.json"', str(tmp_path / "mine.json")), ('"none"', "none")):
        path.write_text(f"{text}config = {config}\n")
        (cell,) = read(path).cells
        assert (cell.request.weights, cell.request.config) == ("student", expected)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sizes": [224, 256] * 20_000}, "given more than once"),
        ({"targets": [f"t{number}" for number in range(300)], "sizes": list(range(32, 32 + 16 * 300, 16))}, "cells before any"),
        ({"exclude": [{"size": 224}] * 20_000}, "at most 256"),
        ({"exclude": [{"target": [f"t{number}" for number in range(20_000)]}]}, "no cell has"),
    ],
    ids=["repeated", "product", "rules", "a long rule"],
)
def test_a_large_matrix_is_refused_at_once(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    table = {"checkpoints": ["demo"], "targets": ["cpu"], "sizes": [224], **change}
    path = tmp_path / "m.toml"
    path.write_text("\n".join(f"{key} = {_toml(value)}" for key, value in table.items()))
    with pytest.raises(RequestError) as caught:
        read(path)
    text = str(caught.value)
    assert said in text
    assert len(text) < 2000


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + "}"
    return json.dumps(value) if not isinstance(value, list) else "[" + ", ".join(map(_toml, value)) + "]"
