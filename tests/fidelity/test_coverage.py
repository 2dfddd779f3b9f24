"""Coverage in feature space: of vectors made for it, and of pictures that a real model looks at."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgec.cli import run
from edgec.fidelity.coverage import Coverage, findings, measure_coverage


def unit(values: np.ndarray) -> np.ndarray:
    return (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float32)


def around(centres: np.ndarray, frames: int, seed: int) -> np.ndarray:
    """Patches near some of the centres, [frames, 16, D]."""
    random = np.random.default_rng(seed)
    chosen = centres[random.integers(0, len(centres), (frames, 16))]
    return unit(chosen + 0.05 * random.normal(size=chosen.shape))


def test_the_same_kind_of_patches_is_covered_and_another_is_not() -> None:
    random = np.random.default_rng(0)
    known, strange = random.normal(size=(6, 64)), random.normal(size=(6, 64))
    calibration = around(known, 20, 1)
    cls = unit(random.normal(size=(20, 64)))
    same = measure_coverage(calibration, around(known, 8, 2), cls)
    other = measure_coverage(calibration, np.concatenate([around(known, 4, 3), around(strange, 4, 4)]), cls)
    assert same.share < 0.15
    assert other.share == pytest.approx(0.5, abs=0.1)
    assert min(other.uncovered[4:]) > 0.9
    assert other.directions > 8


def test_one_scene_varies_in_few_directions() -> None:
    random = np.random.default_rng(0)
    calibration = around(random.normal(size=(6, 64)), 20, 1)
    line = unit(np.ones(64) + np.linspace(-1, 1, 20)[:, None] * random.normal(size=64))
    assert measure_coverage(calibration, calibration[:3], line).directions < 1.5


def test_findings_name_the_strange_frames() -> None:
    bad = findings(Coverage(0.9, (0.0, 0.9, 0.8), 5.0), ["a", "b", "c"])
    assert [(finding.level, finding.check, finding.frames) for finding in bad] == [("warning", "coverage", ("b", "c"))]
    assert "57%" in bad[0].text
    fine, few = findings(Coverage(0.9, (0.02, 0.04), 1.2), ["a", "b"])
    assert (fine.level, few.level) == ("note", "warning")
    assert "1.2 directions" in few.text


def test_lint_looks_at_features_when_given_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Photographs to calibrate on and noise to judge by: the demo model sees that they have nothing in common."""
    random = np.random.default_rng(0)
    (tmp_path / "judged").mkdir()
    for number in range(8):
        noise = random.integers(0, 256, (14, 14, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((240, 240), Image.Resampling.NEAREST).save(tmp_path / "judged" / f"{number}.png")
    demo = Path(__file__).parents[2] / "calibration" / "demo"
    manifest = tmp_path / "set.toml"
    manifest.write_text(
        f'''
name = "mixed"
[split]
sources = ["judged"]
[[sources]]
path = "{demo.as_posix()}/*.jpg"
[[sources]]
path = "judged"
'''
    )
    asked = ["calibration", "lint", str(manifest), "--input-size", "96", "--checkpoint", "demo", "--json"]
    assert run(asked) == 0
    actual = [finding for finding in json.loads(capsys.readouterr().out)["findings"] if finding["check"] == "coverage"]
    assert [finding["level"] for finding in actual] == ["warning"]
    assert run(["calibration", "lint", "demo", "--input-size", "96", "--checkpoint", "demo"]) == 0
    assert "look like nothing in the calibration frames" in " ".join(capsys.readouterr().out.split())


def test_a_bad_checkpoint_is_its_own_error(tmp_path: Path) -> None:
    assert run(["calibration", "lint", "demo", "--checkpoint", str(tmp_path / "nothing.pth")]) == 3
