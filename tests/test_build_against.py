"""`edgec build --against`: the class that the folder names runs on the frames, and what edgec read must compute the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgec.building import build
from edgec.errors import CheckpointError, RequestError
from edgec.request import BuildRequest
from tests.support.files import save_checkpoint, save_profile
from tests.support.frames import draw_pictures
from tests.support.models import SMALL


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> BuildRequest:
    folder = tmp_path_factory.mktemp("against")
    save_checkpoint(folder / "checkpoint")
    draw_pictures(folder / "frames")
    save_profile(folder / "plain.toml", {"fp32": ["onnxruntime"]})
    return BuildRequest(
        str(folder / "checkpoint"),
        against=True,
        target=str(folder / "plain.toml"),
        calibration=str(folder / "frames"),
        size=SMALL,
        iterations=5,
        output=folder / "made.edgec",
    )


def test_the_authors_class_agrees_and_the_report_says_so(ask: BuildRequest) -> None:
    result = build(ask)
    first = result.report.stages[0]
    assert first.stage.startswith("against transformers ")
    assert first.stage.endswith("DINOv3ViTModel")
    assert first.patch_cosine_p01 == pytest.approx(1.0, abs=1e-5)


def test_a_checkpoint_that_was_misread_is_not_built(ask: BuildRequest, tmp_path: Path) -> None:
    """Believing another epsilon than the folder's: what edgec then computes is not what the author's code does."""
    config = tmp_path / "mine.json"
    config.write_text('{"layer_norm_eps": 0.5}')
    output = tmp_path / "made.edgec"
    with pytest.raises(CheckpointError, match="computes another 'cls' than transformers") as caught:
        build(replace(ask, config=str(config), output=output))
    assert "largest difference" in str(caught.value)
    assert not output.exists()


def test_against_without_the_author_s_code(ask: BuildRequest, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="nothing to compare"):
        build(replace(ask, checkpoint="random:vitt16", calibration="random", output=tmp_path / "made.edgec"))
