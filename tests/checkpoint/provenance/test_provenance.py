"""Normalisation, licence and hashes: what names and neighbouring files may decide, and what is said where they disagree."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from edgec.checkpoint import Checkpoint, read
from edgec.checkpoint.location.source import locate
from edgec.checkpoint.provenance.published import check_hashed_name, published
from edgec.errors import AmbiguousCheckpoint, UnreadableCheckpoint
from edgec.model.normalisation import LVD, SAT

DEMO = locate("demo")
LICENCE_TEXT = "# DINOv3 License\n\n(the agreement, as a user puts it beside the weights)\n"


def place(path: Path) -> Path:
    """The demo's weights under another name, with nothing beside them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(DEMO.weights[0].read_bytes())
    return path


def directory(path: Path, **preprocessor: object) -> Path:
    place(path / "model.safetensors")
    (path / "config.json").write_bytes((DEMO.path / "config.json").read_bytes())
    if preprocessor:
        (path / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return path


def warnings(checkpoint: Checkpoint) -> str:
    return "\n".join(finding.text for finding in checkpoint.findings if finding.level == "warning")


@pytest.mark.parametrize(
    ("name", "expected", "reason"),
    [
        ("mine.safetensors", "LVD-1689M", "assumed, nothing says otherwise"),
        ("dinov3_vitl16_pretrain_sat493m.safetensors", "SAT-493M", "says sat493m"),
        ("vit_large_patch16_dinov3.sat493m/model.safetensors", "SAT-493M", "says sat493m"),
        ("dinov3_vits16_pretrain_lvd1689m.safetensors", "LVD-1689M", "says lvd1689m"),
        ("models--facebook--dinov3-vitl16-pretrain-sat493m/snapshots/0abc/model.safetensors", "SAT-493M", "says sat493m"),
        ("runs-sat493m/dinov3_vits16_pretrain_lvd1689m.safetensors", "LVD-1689M", "says lvd1689m"),
    ],
)
def test_names_decide_the_normalisation_and_say_so(name: str, expected: str, reason: str, tmp_path: Path) -> None:
    checkpoint = read(str(place(tmp_path / name)))
    assert checkpoint.normalisation.name == expected
    assert (checkpoint.normalisation.mean, checkpoint.normalisation.std) == (SAT if expected == "SAT-493M" else LVD)
    assert reason in checkpoint.normalisation.reason
    assert checkpoint.form == "huggingface"


def test_a_preprocessor_decides_and_a_contradicting_name_stops(tmp_path: Path) -> None:
    agreed = read(str(directory(tmp_path / "plain", image_mean=SAT[0], image_std=SAT[1])))
    assert (agreed.normalisation.name, agreed.normalisation.reason) == (
        "SAT-493M",
        "preprocessor_config.json: image_mean, image_std say so",
    )
    assert "normalisation" not in warnings(agreed)
    contradicted = directory(tmp_path / "x-sat493m", image_mean=LVD[0], image_std=LVD[1])
    with pytest.raises(AmbiguousCheckpoint) as caught:
        read(str(contradicted))
    assert "the name x-sat493m says sat493m" in str(caught.value)
    chosen = tmp_path / "chosen.json"
    chosen.write_text(json.dumps({"image_mean": LVD[0], "image_std": LVD[1]}))
    settled = read(str(contradicted), config=str(chosen))
    assert settled.normalisation.name == "LVD-1689M"
    assert "chosen.json: image_mean, image_std is believed, but the name x-sat493m says sat493m" in warnings(settled)
    own = read(str(directory(tmp_path / "own", image_mean=[0.5] * 3, image_std=[0.25] * 3)))
    assert (own.normalisation.name, own.normalisation.mean) == ("its own", (0.5, 0.5, 0.5))


def test_a_preprocessor_that_does_something_else_to_pixels(tmp_path: Path) -> None:
    none = read(str(directory(tmp_path / "none", do_normalize=False)))
    assert (none.normalisation.mean, none.normalisation.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    scaled = read(str(directory(tmp_path / "scaled", do_rescale=False, image_mean=LVD[0], image_std=LVD[1])))
    assert scaled.normalisation.mean == pytest.approx([each / 255 for each in LVD[0]])
    for number, bad in enumerate(({"image_mean": [1, 2], "image_std": [1, 1, 1]}, {"image_mean": [0] * 3, "image_std": [0] * 3})):
        with pytest.raises(UnreadableCheckpoint):
            read(str(directory(tmp_path / str(number), **bad)))


def test_timms_configuration_tells_normalisation_and_licence(tmp_path: Path) -> None:
    folder = directory(tmp_path / "timm")
    pretrained = {"mean": SAT[0], "std": SAT[1], "license": "dinov3-license"}
    (folder / "config.json").write_text(json.dumps({"architecture": "vit_tiny_patch16_dinov3", "pretrained_cfg": pretrained}))
    checkpoint = read(str(folder))
    assert checkpoint.normalisation.reason == "config.json: pretrained_cfg.mean, std say so"
    assert checkpoint.licence.spdx == "LicenseRef-DINOv3"


def test_nothing_beside_the_checkpoint_leaves_the_licence_unknown(tmp_path: Path) -> None:
    checkpoint = read(str(place(tmp_path / "mine.safetensors")))
    assert (checkpoint.licence.name, checkpoint.licence.reason) == ("unknown", "nothing beside the checkpoint says it")
    assert "licence unknown" in warnings(checkpoint)


def test_the_demo_carries_its_attribution() -> None:
    licence = read("demo").licence
    assert licence.spdx == "Apache-2.0"
    assert "Distilled from DINOv2 ViT-S/14 (Apache-2.0, Meta Platforms)" in licence.notice
    assert "not Meta's DINOv3 weights" in licence.notice


def test_metas_name_implies_its_licence_and_a_missing_text_is_reported(tmp_path: Path) -> None:
    path = place(tmp_path / "dinov3_vits16_pretrain_lvd1689m.safetensors")
    checkpoint = read(str(path))
    assert checkpoint.licence.spdx == "LicenseRef-DINOv3"
    assert "2025-08-19" in checkpoint.licence.text
    assert "provide a copy" in checkpoint.licence.text
    assert "put LICENSE.md there before you pass the artefact on" in warnings(checkpoint)
    (tmp_path / "LICENSE.md").write_text(LICENCE_TEXT)
    checkpoint = read(str(path))
    assert checkpoint.licence.text == LICENCE_TEXT
    assert "LICENSE.md" not in warnings(checkpoint)
    (tmp_path / "LICENSE.md").write_text("Apache License\nVersion 2.0, January 2004")
    checkpoint = read(str(path))
    assert checkpoint.licence.spdx == "LicenseRef-DINOv3"
    assert "says otherwise" in warnings(checkpoint)


@pytest.mark.parametrize(
    ("file", "text", "spdx"),
    [
        ("LICENSE", "MIT License", "MIT"),
        ("LICENSE.txt", "Apache License\n    Version 2.0", "Apache-2.0"),
        ("LICENSE.md", LICENCE_TEXT, "LicenseRef-DINOv3"),
        ("licence.md", "For the robots of our company only.", "LicenseRef-Checkpoint"),
    ],
)
def test_a_licence_beside_the_weights_is_read_and_kept(file: str, text: str, spdx: str, tmp_path: Path) -> None:
    path = place(tmp_path / "mine.safetensors")
    (tmp_path / file).write_text(text)
    licence = read(str(path)).licence
    assert (licence.spdx, licence.text) == (spdx, text)
    assert file in licence.reason


def test_a_hash_in_the_name_is_compared_with_the_file(tmp_path: Path) -> None:
    content = DEMO.weights[0].read_bytes()
    own = hashlib.sha256(content).hexdigest()
    assert "damaged or edited" not in warnings(read(str(place(tmp_path / f"dinov3_x_pretrain_lvd1689m-{own[:8]}.pth"))))
    text = warnings(read(str(place(tmp_path / "dinov3_vits16_pretrain_lvd1689m-08c60483.pth"))))
    assert f"the name says 08c60483, the file is {own[:8]}: damaged or edited" in text


def test_metas_files_are_known_by_their_hash_whatever_they_are_called() -> None:
    known = published("eadcf0ff" + "0" * 56)
    assert known is not None
    assert (known.name, known.trained_on) == ("dinov3_vitl16", "sat493m")
    assert published("0" * 64) is None
    assert check_hashed_name("weights-epoch12.pth", "0" * 64) is None
