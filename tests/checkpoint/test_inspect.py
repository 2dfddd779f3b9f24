"""`edgec inspect`, as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgec.cli.inspect import inspect
from edgec.errors import InputSizeError, UnreadableCheckpoint


def run(*arguments: str) -> str:
    result = CliRunner().invoke(inspect, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_json_holds_everything() -> None:
    told = json.loads(run("demo", "--json", "--input-size", "480x640"))
    assert (told["architecture"], told["kind"], told["form"], told["stored_dtype"]) == ("vitt16", "ViT", "huggingface", "float16")
    assert (told["tokens"], told["grid"], told["registers"], told["features"]) == (1205, [30, 40], 4, 192)
    assert told["parameters"] == 5_489_664
    assert told["normalisation"]["reason"] == "preprocessor_config.json: image_mean, image_std say so"
    assert "heads: config.json: num_attention_heads says 3" in told["statements"]
    assert told["licence"]["spdx"] == "Apache-2.0"
    assert len(told["sha256"]) == 64
    assert {"level": "note", "text": "stored in float16; computed in float32"} in told["findings"]


def test_the_text_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgec.checkpoint import identify

    text = run("demo")
    assert "vitt16 (ViT): width 192, depth 12, heads 3, MLP 768, patch 16" in text
    assert "201 tokens, patches 14x14, 2.6 GFLOPs" in text
    assert "4 registers" in text
    assert identify("demo").sha256 in text
    assert "LVD-1689M: mean 0.485 0.456 0.406" in text
    assert "Apache License 2.0 (Apache-2.0)" in text


def test_random_weights_and_seeds() -> None:
    text = run("random:convnext_tiny", "--seed", "5")
    assert "convnext_tiny (ConvNeXt): widths 96-192-384-768" in text
    assert "no registers" in text
    assert "random weights: latency is real" in text
    assert run("random:vitt16", "--json", "--seed", "5") != run("random:vitt16", "--json")


def test_errors_are_left_to_the_command_line(tmp_path: Path) -> None:
    with pytest.raises(InputSizeError, match="225"):
        run("random:vitt16", "--input-size", "225")
    with pytest.raises(UnreadableCheckpoint):
        run(str(tmp_path / "nothing"))
