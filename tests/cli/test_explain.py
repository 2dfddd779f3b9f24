"""`edgec explain`, on an artefact that was really built."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgec.artefact.contents import build_manifest_files
from edgec.artefact.golden import write_golden
from edgec.artefact.reading import open_artefact
from edgec.errors import ArtefactError
from edgec.records.explanation import EXPLANATION
from edgec.report.pictures import CAPTIONS, Layout
from edgec.running.compared import features_on, golden_features, golden_heads
from tests.support.commands import edgec, python
from tests.support.forging import written

Said = Callable[..., tuple[int, str, str]]
HEAT = CAPTIONS[3]


def relist(artefact: Path, **fields: Any) -> None:
    """After a change of files or of the manifest's fields: list the files anew."""
    path = artefact / "manifest.json"
    manifest = {**json.loads(path.read_text()), **fields}
    manifest["files"] = [file.model_dump() for file in build_manifest_files(artefact)]
    path.write_text(written(manifest))


@pytest.fixture
def int8(artefact: Path) -> Path:
    """The artefact with an explanation as a deep int8 model has it, with everything in it that can be long."""
    operations = [{"name": "patch_embed", "kind": "embedding", "precision": "bf16", "reason": "pixels", "macs": 10}]
    leaves = ("attn.q", "attn.k", "attn.v", "attn.scores", "attn.mix", "attn.proj", "mlp.gate", "mlp.up", "mlp.down")
    for block in range(32):
        for leaf in leaves:
            attention = leaf in ("attn.scores", "attn.mix")
            operations.append(
                {
                    "name": f"blocks.{block}.{leaf}",
                    "kind": "attention" if attention else "linear",
                    "precision": "bf16" if attention else ("int8-per-token" if leaf in ("attn.proj", "mlp.down") else "int8"),
                    "reason": "a reason that is told in a sentence of rather more than eighty characters, and " * 2,
                    "macs": 100,
                    "smoothed": leaf.startswith("mlp"),
                    "sensitivity": None if attention else block / 1e5,
                }
            )
    taken = [entry["name"] for entry in operations if entry["precision"] == "int8-per-token"]
    exception = {"operations": taken[::3], "precision": "int8-per-token", "reason": "massive tokens " * 9, "lost_with": 0.001}
    massive = {"channel": 1023, "token": "patch 30,39", "frame": f"{'folder/' * 12}x.jpg", "value": -1234.5, "ratio": 99.9}
    explanation = {
        "schema_version": 1,
        "evidence": "measured on host",
        "int8_macs_share": 0.9,
        "operations": operations,
        "exceptions": [exception],
        "massive": [{"operation": "blocks.31.mlp.down", **massive}],
    }
    (artefact / EXPLANATION).write_text(json.dumps(explanation))
    relist(artefact)
    return artefact


def panel(path: Path, column: str, *, row: int = 0, count: int = 1) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Of a picture of frames of 2 x 3 patches."""
    with Image.open(path) as picture:
        layout = Layout(2, 3, count)
        assert picture.format == "PNG"
        assert picture.size == layout.size
        return np.asarray(picture.convert("RGB").crop(layout.box(row, CAPTIONS.index(column))))


def test_a_build_explains_itself(workplace: Path, say: Said) -> None:
    artefact = workplace / "made.edgec"
    code, out, err = say("explain", artefact)
    assert (code, err) == (0, "")
    report = json.loads((artefact / "report.json").read_text())
    explanation = json.loads((artefact / EXPLANATION).read_text())
    said = " ".join(out.split())
    assert said.startswith(f"Chosen: {report['chosen']}. {report['chosen']} ")
    assert f"{explanation['int8_macs_share']:.1%} of the multiply-accumulates in int8" in said
    for operation in explanation["operations"]:
        assert operation["kind"] in said
        assert operation["precision"].removesuffix("-per-token") in said
    assert "block" in said
    assert "elsewhere: patch_embed" in said
    assert ("Fidelity was first lost at" in said) != ("No stage lost more than" in said)
    assert ("Exceptions from static int8" in said) == bool(explanation["exceptions"])


def test_it_fits_eighty_columns_and_needs_no_torch(int8: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from edgec.cli import run; assert run(['explain', sys.argv[1]]) == 0\n"
        "assert not {'torch', 'matplotlib', 'PIL', 'onnxruntime', 'openvino'} & set(sys.modules), 'heavy'"
    )
    done = python(code, int8, cwd=tmp_path, env={"COLUMNS": "80"})
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    head = next(index for index, line in enumerate(lines) if line.startswith("block "))
    assert lines[head].split() == ["block", "q", "k", "v", "scores", "mix", "proj", "gate", "up", "down"]
    for block, line in enumerate(lines[head + 1 : head + 33]):
        assert line.split() == [str(block), "i8", "i8", "i8", "bf16", "bf16", "tok", "i8+", "i8+", "tok+"]
    said = " ".join(done.stdout.split())
    assert "bought: not measured" in said
    assert "blocks.31.attn.q int8 0.0003100" in said
    assert "1023 -1234 99.9x" in said


def test_json_says_the_same(int8: Path, say: Said) -> None:
    code, out, _ = say("explain", int8, "--json")
    assert code == 0
    document = json.loads(out)
    assert document["explanation"] == json.loads((int8 / EXPLANATION).read_text()) | {
        "operations": document["explanation"]["operations"],
        "exceptions": document["explanation"]["exceptions"],
    }
    assert len(document["explanation"]["operations"]) == 1 + 32 * 9
    assert len(document["most_sensitive"]) == 10
    assert {name.split(".")[1] for name in document["most_sensitive"][:7]} == {"31"}
    assert sum(kind["count"] for kind in document["kinds"]) == 1 + 32 * 9
    assert document["pictures"] == []
    assert document["first_loss"] is None or document["first_loss"]["after"] < document["first_loss"]["before"]


def test_an_artefact_of_an_early_version_is_named_as_such(artefact: Path, say: Said) -> None:
    (artefact / EXPLANATION).unlink()
    relist(artefact)
    code, out, err = say("explain", artefact)
    assert (code, out) == (8, "")
    assert "holds no explanation" in err
    assert "To do: build it again" in err


def test_a_changed_explanation_is_refused(artefact: Path, say: Said) -> None:
    text = (artefact / EXPLANATION).read_text()
    (artefact / EXPLANATION).write_text(text.replace("patch_embed", "patch_embad"))
    code, _, err = say("explain", artefact)
    assert code == 8
    assert f"changed: {EXPLANATION}" in err
    (artefact / EXPLANATION).write_text(text.replace('"operations"', '"other"', 1))
    relist(artefact)
    code, _, err = say("explain", artefact)
    assert code == 8
    assert "The explanation at" in err


def test_pictures_of_the_golden_frames(workplace: Path, tmp_path: Path, say: Said) -> None:
    artefact = workplace / "made.edgec"
    code, out, err = say("explain", artefact, "--pictures", tmp_path / "drawn")
    assert (code, err) == (0, "")
    golden = open_artefact(artefact).golden
    names = [path.name for path in sorted((tmp_path / "drawn").iterdir())]
    count = len(golden.frames)
    assert names == [*(f"{number + 1:02d}-golden-frame-{number}.png" for number in range(count)), "sheet.png"]
    assert f"{count + 1} pictures in" in out
    for row, name in enumerate(names[:-1]):
        for column in CAPTIONS:
            alone, on_sheet = (
                panel(tmp_path / "drawn" / name, column),
                panel(tmp_path / "drawn" / "sheet.png", column, row=row, count=count),
            )
            np.testing.assert_array_equal(alone, on_sheet)
        shown = panel(tmp_path / "drawn" / name, "frame").mean(axis=(0, 1))
        np.testing.assert_allclose(shown, golden.frames[row].mean(axis=(0, 1)), atol=6)


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_pictures_show_damage_and_nothing_else(artefact: Path, tmp_path: Path, say: Said, noise: float) -> None:
    golden = open_artefact(artefact).golden
    random = np.random.default_rng(0)
    shipped = {
        name: value + noise * random.standard_normal(value.shape).astype(np.float32)
        for name, value in golden.expected_float32.items()
    }
    write_golden(artefact, golden.frames, golden.expected_float32, shipped)
    relist(artefact)
    assert say("explain", artefact, "--pictures", tmp_path / "drawn")[0] == 0
    for path in (tmp_path / "drawn").glob("0*.png"):
        different = (panel(path, "float32") != panel(path, "shipped")).any(axis=-1)
        assert different.mean() > 0.5 if noise else not different.any()
        assert panel(path, HEAT).max() > 150 if noise else panel(path, HEAT).max() < 60


def test_frames_of_a_set_are_run_in_the_runtime_and_in_pytorch(workplace: Path, tmp_path: Path, say: Said) -> None:
    """The golden frames themselves, so that what must come out is known; with a damaged one among them."""
    opened = open_artefact(workplace / "made.edgec")
    folder = tmp_path / "set"
    folder.mkdir()
    for number, frame in enumerate(opened.golden.frames):
        Image.fromarray(frame).save(folder / f"scene {'abcdefgh'[number]}.png")
    whole = (folder / "scene a.png").read_bytes()
    (folder / "scene z.png").write_bytes(whole[: len(whole) // 2])
    compared, skipped = features_on(opened, str(folder), str(workplace / "checkpoint"))
    assert [name for name, _ in skipped] == ["scene z.png"]
    np.testing.assert_array_equal(compared.frames, opened.golden.frames)
    np.testing.assert_allclose(compared.float32, opened.golden.expected_float32["patches"], atol=1e-5)
    np.testing.assert_allclose(compared.shipped, opened.golden.expected_shipped["patches"], atol=1e-3)

    drawing = ("--pictures", tmp_path / "drawn", "--frames", folder, "--checkpoint", workplace / "checkpoint")
    code, out, err = say("explain", opened.directory, *drawing, "--json")
    assert code == 0
    assert "frame left out: scene z.png" in err
    drawn = [Path(path).name for path in json.loads(out)["pictures"]]
    assert drawn == [*(f"{number + 1:02d}-scene-{'abcdefgh'[number]}.png" for number in range(len(compared.names))), "sheet.png"]


def test_six_frames_of_many_evenly_spread(workplace: Path) -> None:
    compared, skipped = features_on(
        open_artefact(workplace / "made.edgec"), str(workplace / "frames"), str(workplace / "checkpoint")
    )
    assert skipped == ()
    assert compared.names == tuple(f"scene {letter}.png" for letter in "adgjmp")


def test_another_checkpoint_is_refused(workplace: Path, tmp_path: Path, say: Said) -> None:
    other = Path(shutil.copytree(workplace / "checkpoint", tmp_path / "checkpoint"))
    (other / "preprocessor_config.json").write_text("{}")
    drawing = ("--pictures", tmp_path / "drawn", "--frames", workplace / "frames", "--checkpoint", other)
    code, _, err = say("explain", workplace / "made.edgec", *drawing)
    assert code == 2
    assert "is not the checkpoint that this artefact was built from" in err
    assert json.loads((workplace / "made.edgec" / "manifest.json").read_text())["checkpoint"]["sha256"] in err
    assert not (tmp_path / "drawn").exists()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--frames", "set"], "add --pictures DIR"),
        (["--checkpoint", "x"], "add --pictures DIR"),
        (["--pictures", "drawn", "--frames", "set"], "belong together"),
        (["--pictures", "drawn", "--checkpoint", "x"], "belong together"),
    ],
)
def test_options_that_need_each_other(workplace: Path, say: Said, options: list[str], text: str) -> None:
    code, out, err = say("explain", workplace / "made.edgec", *options)
    assert (code, out) == (2, "")
    assert text in err


def test_a_runtime_that_is_not_there(artefact: Path, workplace: Path, tmp_path: Path, say: Said) -> None:
    relist(artefact, runtime="nowhere")
    arguments = ["--pictures", tmp_path / "drawn", "--frames", workplace / "frames", "--checkpoint", workplace / "checkpoint"]
    assert say("explain", artefact, *arguments)[0] == 5
    assert say("explain", artefact, "--pictures", tmp_path / "drawn")[0] == 0


def test_a_model_without_patches_has_nothing_to_draw(workplace: Path) -> None:
    opened = open_artefact(workplace / "made.edgec")
    manifest = opened.manifest.model_copy(update={"outputs": opened.manifest.outputs[:1]})
    with pytest.raises(ArtefactError, match="gives no patches"):
        golden_features(replace(opened, manifest=manifest))


def test_a_folder_that_is_no_artefact(tmp_path: Path) -> None:
    done = edgec("explain", tmp_path, cwd=tmp_path)
    assert done.returncode == 8
    assert done.stderr.startswith("edgec: ")
    assert "Traceback" not in done.stderr


@pytest.fixture
def headed(artefact: Path) -> Path:
    """The artefact with a mask and a classifier in its manifest, its golden frames and its report, as a build writes them."""
    opened = open_artefact(artefact)
    golden, manifest = opened.golden, opened.manifest
    count, height, width = golden.frames.shape[:3]
    labels = np.zeros((count, height, width), np.int32)
    labels[:, height // 2 :] = 1
    tipped = labels.copy()
    tipped[0, 0, 0] = 1
    scores = np.tile(np.array([[2.0, 1.0]], np.float32), (count, 1))
    ours, theirs = {"floor": labels, "kind": scores}, {"floor": tipped, "kind": scores[:, ::-1]}
    write_golden(artefact, golden.frames, golden.expected_float32 | ours, golden.expected_shipped | theirs)
    heads = [
        {"name": "floor", "kind": "segmentation", "output": "labels", "outputs": ["floor"], "classes": ["floor", "wall"]},
        {"name": "kind", "kind": "linear", "output": "scores", "outputs": ["kind"], "classes": ["cat", "dog"]},
    ]
    heads = [{**head, "reads": ["patches"], "sha256": "0" * 64} for head in heads]
    outputs = [output.model_dump() for output in manifest.outputs] + [
        {"name": "floor", "dtype": "int32", "shape": [1, height, width], "role": "labels"},
        {"name": "kind", "dtype": "float32", "shape": [1, 2], "role": "scores"},
    ]
    report = json.loads((artefact / "report.json").read_text())
    masks = {"pixel_agreement": 0.999, "mean_iou": 0.99, "iou": [0.99, 0.99]}
    for candidate in report["candidates"]:
        if candidate["fidelity"]:
            candidate["fidelity"]["tasks"] = [{"head": "floor", "output": "labels", "masks": masks}]
    (artefact / "report.json").write_text(written({**report, "heads": heads, "min_iou": 0.9}))
    relist(artefact, heads=heads, outputs=outputs)
    return artefact


def test_heads_are_listed_and_drawn(headed: Path, tmp_path: Path, say: Said) -> None:
    code, out, err = say("explain", headed, "--pictures", tmp_path / "drawn")
    assert (code, err) == (0, "")
    said = " ".join(out.split())
    assert "Heads, held against themselves in float32" in said
    assert "mean IoU 0.99000" in said
    assert "mean IoU at least 0.9" in said
    names = {path.name for path in (tmp_path / "drawn").iterdir()}
    assert names >= {"sheet.png", "head-1-floor.png", "head-2-kind.png"}
    with Image.open(tmp_path / "drawn" / "head-1-floor.png") as sheet:
        marked = (np.asarray(sheet.convert("RGB")) == (255, 0, 255)).all(axis=2)
    assert marked[:, : marked.shape[1] * 3 // 4].sum() == 0
    assert marked.sum() > 100
    assert json.loads(say("explain", headed, "--json")[1])["heads"][0]["masks"]["mean_iou"] == 0.99


def test_without_features_there_is_no_pca_and_a_note_says_so(headed: Path, tmp_path: Path, say: Said) -> None:
    opened = open_artefact(headed)
    golden = opened.golden
    remaining = {"floor", "kind"}
    ours, theirs = (
        {name: value for name, value in each.items() if name in remaining}
        for each in (golden.expected_float32, golden.expected_shipped)
    )
    write_golden(headed, golden.frames, ours, theirs)
    relist(headed, outputs=[output.model_dump() for output in opened.manifest.outputs if output.name in remaining])
    code, _, err = say("explain", headed, "--pictures", tmp_path / "drawn")
    assert code == 0
    assert "features are not drawn: the artefact gives only its heads' outputs" in err
    assert {path.name for path in (tmp_path / "drawn").iterdir()} == {"head-1-floor.png", "head-2-kind.png"}
    code, _, err = say("report", headed, "-o", tmp_path / "page.html")
    assert code == 0, err
    page = (tmp_path / "page.html").read_text()
    assert "gives no features, but its heads" in page
    assert page.count("<figcaption>shipped</figcaption>") == len(golden.frames)


def test_a_head_that_gives_nothing_is_refused(headed: Path) -> None:
    opened = open_artefact(headed)
    ghost = opened.manifest.heads[0].model_copy(update={"outputs": ("ghost",)})
    with pytest.raises(ArtefactError, match="names a head without an output"):
        golden_heads(replace(opened, manifest=opened.manifest.model_copy(update={"heads": (ghost,)})))


def test_heads_of_other_frames_are_not_drawn_and_a_note_says_so(headed: Path, workplace: Path, tmp_path: Path, say: Said) -> None:
    drawing = ("--pictures", tmp_path / "drawn", "--frames", workplace / "frames", "--checkpoint", workplace / "checkpoint")
    code, _, err = say("explain", headed, *drawing)
    assert code == 0
    assert "heads are not drawn" in err
    assert not [path for path in (tmp_path / "drawn").iterdir() if path.name.startswith("head")]
