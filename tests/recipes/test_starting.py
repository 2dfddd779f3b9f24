"""What `edgec init` sees in a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from edgec.model.spec import Size
from edgec.recipes.file import NAME, read
from edgec.recipes.starting import Start, look, written


def safetensors(path: Path, **metadata: str) -> Path:
    """A file without tensors, which says this of itself."""
    header = json.dumps({"__metadata__": metadata} if metadata else {}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    return path


def picture(path: Path, size: tuple[int, int] = (640, 480)) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", size, "green").save(path)


def test_a_folder_of_everything(tmp_path: Path) -> None:
    safetensors(tmp_path / "robot.safetensors")
    safetensors(tmp_path / "Floor 2.safetensors", kind="segmentation")
    (tmp_path / "heads").mkdir()
    (tmp_path / "heads" / "depth.onnx").touch()
    (tmp_path / "heads" / "depth.toml").touch()
    picture(tmp_path / "images" / "a.png")
    picture(tmp_path / "validation" / "a.png")
    (tmp_path / "old.edgec").mkdir()
    for name in ("release.key", "release.pub", "FLEET.toml"):
        (tmp_path / name).touch()
    (tmp_path / "release").touch()
    start = look(tmp_path)
    assert start == Start(
        checkpoint="robot.safetensors",
        calibration="images",
        validation="validation",
        heads={"floor": "Floor 2.safetensors", "depth": "heads/depth.onnx"},
        size=Size(480, 640),
        camera=Size(480, 640),
        key="release",
        boards=("FLEET.toml",),
    )


def test_what_it_writes_is_a_recipe_that_says_so(tmp_path: Path) -> None:
    start = Start(
        checkpoint='odd "name"\x7f.pth',
        calibration="frames",
        heads={"floor": "f.onnx"},
        key="release",
        boards=("FLEET.toml",),
        others={"checkpoints": ("other.pth",)},
    )
    path = tmp_path / NAME
    for each in (start, Start()):
        path.write_text(written(each), encoding="utf-8")
        recipe = read(path).recipe
        assert (recipe.checkpoint, recipe.calibration, recipe.heads) == (each.checkpoint, each.calibration, each.heads)
        assert recipe.sizes == (str(each.size),)
        assert (recipe.bundle.key if recipe.bundle else None, recipe.boards) == (each.key, each.boards)


def test_an_empty_folder_starts_with_the_demo(tmp_path: Path) -> None:
    assert look(tmp_path) == Start()
    assert Start().checkpoint == "demo"


def test_several_of_a_kind_are_named(tmp_path: Path) -> None:
    for name in ("b.pth", "a.pth"):
        (tmp_path / name).touch()
    start = look(tmp_path)
    assert (start.checkpoint, start.others) == ("a.pth", {"checkpoints": ("b.pth",)})
    assert 'checkpoint = "a.pth"   # or "b.pth"' in written(start)


@pytest.mark.parametrize(
    ("camera", "size"),
    [((1920, 1080), Size(480, 848)), ((640, 480), Size(480, 640)), ((100, 90), Size(96, 96)), ((8, 8), Size(16, 16))],
)
def test_the_size_follows_the_camera(tmp_path: Path, camera: tuple[int, int], size: Size) -> None:
    picture(tmp_path / "frames" / "a.png", camera)
    assert look(tmp_path).size == size


def test_what_is_damaged_is_no_reason_to_stop(tmp_path: Path) -> None:
    (tmp_path / "half.safetensors").write_bytes(b"\xff" * 20)
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "a.png").write_bytes(b"no picture")
    (tmp_path / "loop").symlink_to("loop")
    start = look(tmp_path)
    assert (start.checkpoint, start.calibration, start.camera) == ("half.safetensors", "frames", None)
