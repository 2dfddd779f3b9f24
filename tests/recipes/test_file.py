"""What a recipe says, what counts instead, and how one is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgec.errors import RequestError
from edgec.frames.raw import parse
from edgec.model.spec import Size
from edgec.recipes.file import NAME, Recipe, here, json_schema, read, recipe_for
from edgec.request import BuildRequest

WHOLE = """
checkpoint = "random:vits16"
targets = ["cpu", "own/board.toml"]
sizes = [64, "64x96"]
calibration = "frames"
validation = "demo"
topic = "/front"
raw_format = "nv12,width=64,height=48"
layers = [5, 2, 5]
precision = "int8"
output = "built"
boards = ["robot@r1", "FLEET.toml"]
[heads]
floor = "heads/floor.onnx"
[budgets]
min_fidelity = 0.9
min_iou = 0.8
[bundle]
key = "release.key"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With all that the recipe above names."""
    for name in ("frames", "own", "heads"):
        (tmp_path / name).mkdir()
    for name in ("own/board.toml", "heads/floor.onnx"):
        (tmp_path / name).touch()
    return tmp_path


def recipe(folder: Path, text: str) -> Path:
    path = folder / NAME
    path.write_text(text, encoding="utf-8")
    return path


def requests(folder: Path, text: str, **given: Any) -> list[BuildRequest]:
    return read(recipe(folder, text)).requests(given)


def test_a_build_for_each_target_and_size(folder: Path) -> None:
    built = requests(folder, WHOLE)
    board = str(folder / "own" / "board.toml")
    pairs = [(request.target, str(request.size)) for request in built]
    assert pairs == [("cpu", "64x64"), ("cpu", "64x96"), (board, "64x64"), (board, "64x96")]
    assert built[0].output == folder / "built" / "random-vits16-cpu-64x64-floor.edgec"
    assert len({request.output for request in built}) == 4
    for request in built:
        assert (request.calibration, request.validation) == (str(folder / "frames"), "demo")
        assert request.reading.topic == "/front"
        assert request.reading.raw == parse("nv12,width=64,height=48")
        assert request.heads == (f"floor={folder / 'heads' / 'floor.onnx'}",)
        assert (request.min_fidelity, request.min_iou, request.min_agreement) == (0.9, 0.8, None)
        assert (request.layers, request.precision, request.checkpoint) == ((2, 5), "int8", "random:vits16")


def test_the_defaults_are_those_of_the_command(folder: Path) -> None:
    (request,) = requests(folder, 'checkpoint = "demo"\n')
    plain = BuildRequest("demo")
    for name in vars(plain).keys() - {"output", "recipe"}:
        assert getattr(request, name) == getattr(plain, name), name


def test_what_is_given_counts_instead_and_is_written_down(folder: Path) -> None:
    given = {"target": "jetson", "size": Size(32, 48), "more_sizes": (), "min_fidelity": 0.5, "topic": "/rear", "seed": 3}
    (request,) = requests(folder, WHOLE, **given)
    assert (request.target, request.size, request.min_fidelity, request.seed) == ("jetson", Size(32, 48), 0.5, 3)
    assert request.reading.topic == "/rear"
    assert request.reading.raw == parse("nv12,width=64,height=48")
    assert request.recipe is not None
    assert request.recipe.name == NAME
    assert request.recipe.overridden == ("min_fidelity", "topic")
    settings = json.loads(request.recipe.settings)
    assert settings["calibration"] == "frames"
    assert settings["budgets"] == {"min_fidelity": 0.9, "min_iou": 0.8}
    assert not settings.keys() & {"targets", "sizes", "output", "boards", "bundle"}


def test_an_output_is_of_one_artefact(folder: Path) -> None:
    output = folder / "one.edgec"
    (request,) = requests(folder, WHOLE, output=output, target="cpu", size=Size(32, 48))
    assert request.output == output
    with pytest.raises(RequestError, match="asks for 4 artefacts, and one output is given"):
        requests(folder, WHOLE, output=output)


def test_where_artefacts_go_and_what_signs_them(folder: Path) -> None:
    opened = read(recipe(folder, WHOLE))
    assert opened.boards == ("robot@r1", str(folder / "FLEET.toml"))
    assert opened.key == str(folder / "release.key")
    token = "pkcs11:token=a;object=b"
    assert read(recipe(folder, f'checkpoint = "demo"\nbundle = {{ key = "{token}" }}\n')).key == token
    assert read(recipe(folder, 'checkpoint = "demo"\n')).key is None


@pytest.mark.parametrize(
    ("text", "evidence"),
    [
        ("checkpoint = [,\n", "line 1"),
        ("sizes = [64]\n", "checkpoint: it must be given"),
        ('checkpoint = "demo"\ncalibrtion = "x"\n', "calibrtion: there is no such key; is calibration meant?"),
        ('checkpoint = "demo"\nmin_fidelity = 0.9\n', "min_fidelity: there is no such key"),
        (
            'checkpoint = "demo"\n[budgets]\nmin_fidelty = 0.9\n',
            "budgets.min_fidelty: there is no such key; is min_fidelity meant?",
        ),
        ('checkpoint = "demo"\nsizes = ["64y"]\n', "sizes.0: '64y' is not an input size"),
        ('checkpoint = "demo"\nsizes = []\n', "sizes: "),
        ('checkpoint = "demo"\ntargets = ["cpu", "cpu"]\n', "targets: cpu is given more than once"),
        ('checkpoint = "demo"\ntargets = "cpu"\n', "targets: "),
        ('checkpoint = "demo"\nprecision = "int3"\n', "precision: "),
        ('checkpoint = "demo"\nbatch = 0\n', "batch: "),
        ('checkpoint = "demo"\nraw_format = "nv12"\n', "raw_format: "),
        ('checkpoint = "demo"\n[heads]\n"Floor 1" = "x.onnx"\n', "heads.Floor 1: a head's name is small letters"),
        ('checkpoint = "demo"\n[budgets]\nmin_fidelity = nan\n', "min_fidelity = nan"),
        ('checkpoint = "demo"\n[budgets]\nmin_fidelity = 1.5\n', "budgets.min_fidelity: "),
        ('checkpoint = "demo"\n[bundle]\n', "bundle.key: it must be given"),
        ('checkpoint = "here.pth"\n', "checkpoint: nothing is at "),
        ('checkpoint = "demo"\ncalibration = "nowhere"\n', "calibration: nothing is at "),
        ('checkpoint = "demo"\n[heads]\nfloor = "x.onnx"\n', "heads.floor: nothing is at "),
        ('checkpoint = "demo"\ntargets = ["my.toml"]\n', "target: nothing is at "),
        ('checkpoint = "demo"\ntargets = ["a/x.toml", "b/x.toml"]\n', "targets: two artefacts would be "),
    ],
)
def test_each_mistake_has_one_clear_error(folder: Path, text: str, evidence: str) -> None:
    for name in ("a", "b"):
        (folder / name).mkdir()
        (folder / name / "x.toml").touch()
    with pytest.raises(RequestError, match=NAME) as caught:
        requests(folder, text)
    assert evidence in str(caught.value)
    assert len(caught.value.evidence) == 1
    assert caught.value.remedy


def test_what_is_given_on_the_command_line_need_not_be_there_in_the_recipe(folder: Path) -> None:
    (request,) = requests(folder, 'checkpoint = "demo"\ncalibration = "nowhere"\n', calibration="demo")
    assert request.calibration == "demo"


def test_which_recipe_a_command_means(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert here() is None
    with pytest.raises(RequestError, match="No checkpoint is given") as caught:
        recipe_for(None)
    assert "edgec init" in caught.value.remedy
    path = recipe(folder, 'checkpoint = "demo"\n')
    for named in (recipe_for(None), recipe_for(NAME), recipe_for(str(path)), here()):
        assert named is not None
        assert named.path == path
    assert recipe_for("demo") is None
    assert recipe_for("model.pth") is None
    with pytest.raises(RequestError, match="There is no recipe at"):
        recipe_for("other.toml")


def test_the_schema_has_every_key() -> None:
    schema = json_schema()
    assert schema["properties"].keys() == Recipe.model_fields.keys()
    assert schema["required"] == ["checkpoint"]
    assert schema["additionalProperties"] is False
    assert {each["type"] for each in schema["properties"]["sizes"]["items"]["anyOf"]} == {"integer", "string"}
