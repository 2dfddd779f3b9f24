"""References, files and hashes: everything that is known of a checkpoint before it is opened."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from edgec.checkpoint import identify, read
from edgec.checkpoint.location.source import locate
from edgec.errors import MismatchedWeights, RequestError, UnknownForm, UnreadableCheckpoint

CONFIG = {"model_type": "dinov3_vit", "num_attention_heads": 3}


def edit_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


@pytest.fixture
def demo_copy(tmp_path: Path) -> Path:
    """The demo checkpoint in a directory that a test may change."""
    folder = tmp_path / "robot"
    folder.mkdir()
    for file in locate("demo").path.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def test_a_file_has_its_plain_sha256_and_its_stem_for_a_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.pth"
    save_file({"a": torch.zeros(750_000)}, path)
    identity = identify(str(path))
    assert identity.name == "mine"
    assert identity.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_directory_has_a_hash_over_what_is_read_of_it(demo_copy: Path) -> None:
    before = identify(str(demo_copy))
    assert before.name == "robot"
    assert before.sha256 == identify("demo").sha256
    (demo_copy / "training_log.txt").write_text("loss 3")
    assert identify(str(demo_copy)) == before
    edit_config(demo_copy, layer_norm_eps=1e-6)
    assert identify(str(demo_copy)).sha256 != before.sha256


def test_the_key_covers_names_and_licences_that_the_file_hash_does_not(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    save_file({"a": torch.zeros(1)}, path)
    first = identify(str(path))
    (tmp_path / "LICENSE.md").write_text("MIT License")
    second = identify(str(path))
    renamed = identify(str(path.rename(tmp_path / "b_sat493m.pth")))
    assert first.sha256 == second.sha256 == renamed.sha256
    assert len({first.key, second.key, renamed.key}) == 3


def test_a_changed_file_is_hashed_again(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    save_file({"a": torch.zeros(1)}, path)
    first = identify(str(path)).sha256
    save_file({"a": torch.zeros(2)}, path)
    assert identify(str(path)).sha256 != first


def test_read_and_identify_agree(demo_copy: Path) -> None:
    for reference, seed in (("demo", 0), (str(demo_copy), 0), (str(demo_copy / "model.safetensors"), 0), ("random:vitt16", 7)):
        checkpoint, identity = read(reference, seed=seed), identify(reference, seed=seed)
        assert (checkpoint.name, checkpoint.sha256) == (identity.name, identity.sha256)


def test_identify_needs_no_torch() -> None:
    script = (
        "import sys; from edgec.checkpoint import identify, read; "
        "identify('demo'); identify('random:vits16'); "
        "sys.exit('torch' in sys.modules or 'safetensors' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_references_to_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnreadableCheckpoint, match="no checkpoint at"):
        read(str(tmp_path / "nothing.pth"))
    with pytest.raises(UnreadableCheckpoint, match="holds no checkpoint"):
        read(str(tmp_path))
    with pytest.raises(UnreadableCheckpoint):
        read("\0")
    with pytest.raises(RequestError, match="no architecture 'vitg99'") as caught:
        identify("random:vitg99")
    assert "vits16" in str(caught.value)


def test_a_directory_with_one_file_of_weights_means_that_file(tmp_path: Path) -> None:
    weights = read("demo").weights
    assert weights
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "final.safetensors").write_bytes((locate("demo").weights[0]).read_bytes())
    checkpoint = read(str(tmp_path / "one"))
    assert checkpoint.name == "one"
    assert all(torch.equal(checkpoint.weights[name], weights[name]) for name in weights)
    (tmp_path / "one" / "epoch3.pth").write_bytes(b"x")
    with pytest.raises(UnreadableCheckpoint, match="2 files of weights") as caught:
        read(str(tmp_path / "one"))
    assert "epoch3.pth" in str(caught.value)


def test_a_hugging_face_directory_without_config(demo_copy: Path) -> None:
    (demo_copy / "config.json").unlink()
    with pytest.raises(UnreadableCheckpoint, match=r"no config\.json"):
        read(str(demo_copy))
    assert read(str(demo_copy / "model.safetensors")).spec == read("demo").spec


@pytest.mark.parametrize("text", ["", "[1, 2]", "{", "\x00\xff", "[" * 100_000])
def test_configs_that_are_not_json(text: str, demo_copy: Path) -> None:
    (demo_copy / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(UnreadableCheckpoint, match=r"config\.json"):
        read(str(demo_copy))


@pytest.mark.parametrize(
    ("changes", "kind", "part"),
    [
        ({"hidden_size": 384}, MismatchedWeights, "hidden_size"),
        ({"num_hidden_layers": 11}, MismatchedWeights, "num_hidden_layers"),
        ({"intermediate_size": 1}, MismatchedWeights, "intermediate_size"),
        ({"patch_size": [14, 14]}, MismatchedWeights, "patch_size"),
        ({"num_register_tokens": 0}, MismatchedWeights, "num_register_tokens"),
        ({"use_gated_mlp": True}, MismatchedWeights, "use_gated_mlp"),
        ({"num_attention_heads": 5}, MismatchedWeights, "5 heads"),
        ({"num_attention_heads": "3"}, UnreadableCheckpoint, "num_attention_heads"),
        ({"num_attention_heads": 2.5}, UnreadableCheckpoint, "whole number"),
        ({"layer_norm_eps": -1}, UnreadableCheckpoint, "layer_norm_eps"),
        ({"layer_norm_eps": None}, UnreadableCheckpoint, "layer_norm_eps"),
        ({"rope_theta": float("inf")}, UnreadableCheckpoint, "Infinity"),
        ({"hidden_act": "relu"}, UnknownForm, "activation"),
        ({"model_type": "dinov2"}, UnknownForm, "another kind"),
    ],
)
def test_configs_that_contradict_the_weights(
    changes: dict[str, object], kind: type[Exception], part: str, demo_copy: Path
) -> None:
    edit_config(demo_copy, **changes)
    with pytest.raises(kind) as caught:
        read(str(demo_copy))
    assert part in str(caught.value)


def test_indices_that_point_elsewhere(demo_copy: Path) -> None:
    (demo_copy / "model.safetensors").rename(demo_copy / "part.safetensors")
    index = demo_copy / "model.safetensors.index.json"
    for weight_map, part in (
        ({"a": "../../secret.pth"}, "not a file in its folder"),
        ({"a": 3}, "not a file in its folder"),
        ({}, "no weight_map"),
        ({"a": "gone.safetensors"}, "is not there"),
    ):
        index.write_text(json.dumps({"weight_map": weight_map}))
        with pytest.raises(UnreadableCheckpoint, match=part):
            read(str(demo_copy))
    index.write_text(json.dumps({"weight_map": {"a": "part.safetensors"}}))
    assert read(str(demo_copy)).spec == read("demo").spec
    index.write_text(json.dumps({"weight_map": {"a": "part.safetensors", "b": "again.safetensors"}}))
    save_file({"norm.weight": torch.ones(192)}, demo_copy / "again.safetensors")
    with pytest.raises(UnreadableCheckpoint, match="repeats a tensor"):
        read(str(demo_copy))
