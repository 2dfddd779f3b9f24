"""`edgec init`, and `edgec build` without arguments, on a checkpoint and frames that are really there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edgec.artefact.reading import open_artefact
from edgec.recipes.file import NAME, json_schema

Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder, the current one; the cache has the stages of the workplace's artefact."""
    for name in ("checkpoint", "frames"):
        shutil.copytree(workplace / name, tmp_path / "robot" / name)
    shutil.copy(workplace / "board.toml", tmp_path / "robot")
    monkeypatch.setenv("EDGEC_CACHE_DIR", str(workplace / "cache"))
    monkeypatch.chdir(tmp_path / "robot")
    return tmp_path / "robot"


def test_from_a_folder_to_an_artefact(folder: Path, say: Said) -> None:
    code, out, err = say("init")
    assert (code, err) == (0, "")
    assert "Next: edgec build" in out
    assert say("init")[0] == 2
    recipe = (folder / NAME).read_text()
    assert 'checkpoint = "checkpoint"' in recipe
    assert 'calibration = "frames"' in recipe
    (folder / NAME).write_text(
        recipe.replace('["cpu"]', '["board.toml"]').replace('["96x96"]', '["32x48"]') + "\n# iterations are an option\n"
    )
    code, out, err = say("build", "--iterations", "5")
    assert code == 0, err
    made = folder / "checkpoint-board-32x48.edgec"
    assert f"wrote {made}" in out
    use = open_artefact(made).manifest.recipe
    assert use is not None
    assert (use.name, use.overridden) == (NAME, ())
    assert use.settings == {"checkpoint": "checkpoint", "calibration": "frames", "heads": {}, "budgets": {"min_fidelity": 0.99}}
    assert json.loads((made / "manifest.json").read_text())["recipe"]["name"] == NAME
    # Where it goes to is no part of the artefact; what it may lose is.
    (folder / NAME).write_text((folder / NAME).read_text().replace('# boards = ["robot@r1"]', 'boards = ["nobody@127.0.0.1:1"]'))
    code, out, _ = say("build", NAME, "--iterations", "5", "--json")
    assert (code, [each["reused"] for each in json.loads(out)]) == (0, [True])
    code, out, err = say("build", "--iterations", "5", "--min-fidelity", "0.5", "-o", "other.edgec")
    assert code == 0, err
    use = open_artefact(folder / "other.edgec").manifest.recipe
    assert use is not None
    assert use.overridden == ("min_fidelity",)


def test_a_build_without_a_recipe_has_none_in_its_manifest(artefact: Path) -> None:
    assert open_artefact(artefact).manifest.recipe is None
    assert "recipe" not in json.loads((artefact / "manifest.json").read_text())


def test_a_mistake_in_it_is_named_with_the_code_of_requests(folder: Path, say: Said) -> None:
    (folder / NAME).write_text('checkpoint = "demo"\nsize = 224\n')
    for words in (["build"], ["deploy", "made.edgec"], ["bundle", "made.edgec", "-o", "x.edgec-bundle"]):
        code, out, err = say(*words)
        assert (code, out) == (2, "")
        assert "size: there is no such key; is sizes meant?" in err


def test_boards_and_the_key_are_taken_from_it(folder: Path, artefact: Path, say: Said) -> None:
    for words in (["deploy", artefact], ["bundle", artefact, "-o", "x.edgec-bundle"]):
        code, _, err = say(*words)
        assert (code, "Missing" in err) == (2, True)
    (folder / NAME).write_text('checkpoint = "demo"\nboards = ["not a board"]\n[bundle]\nkey = "nowhere.key"\n')
    code, _, err = say("deploy", artefact)
    assert code == 2
    assert "not a board" in err
    code, _, err = say("bundle", artefact, "-o", "robot-1.0.0.edgec-bundle")
    assert code != 0
    assert "nowhere.key" in err


def test_the_schema_is_printed(say: Said) -> None:
    assert json.loads(say("schema", "recipe")[1]) == json_schema()
