"""Words of many trainers, in all their places and spellings: obeyed, or refused by name, and nothing else is touched."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from edgec.checkpoint import read
from edgec.errors import CheckpointError, MismatchedWeights
from edgec.model.spec import VitSpec

SMALL, NARROW_HEADS = VitSpec(192, 1, 3, 384), VitSpec(192, 1, 6, 384)
HALF = (0.5, 0.5, 0.5)
PIXELS = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3}
PLAIN = {"mean": [0.5] * 3, "std": [0.25] * 3}
NUMPYS = {"mean": [[[0.5]]] * 3, "std": [[[0.25]]] * 3}
YAML = "data:\n  image_mean: [0.5, 0.5, 0.5]\n  image_std: [0.25, 0.25, 0.25]\n"
OPENMMLAB = (
    "model = dict(\n    type=Classifier,\n    neck=dict(mean=[1.0], std=[1]))\n"
    "data_preprocessor = dict(mean=[127.5, 127.5, 127.5], std=[63.75, 63.75, 63.75], bgr_to_rgb=True)\n"
)
NOTHING = "assumed, nothing says otherwise"


@pytest.fixture(scope="module")
def state(kit: SimpleNamespace) -> dict[str, Tensor]:
    return dict(kit.meta_state(kit.huggingface_model(SMALL)))


def saved(path: Path, state: dict[str, Tensor], **said: object) -> str:
    torch.save({"state_dict": {f"backbone.{name}": tensor for name, tensor in state.items()}, **said}, path)
    return str(path)


@pytest.mark.parametrize(
    "said",
    [
        {"hparams": {"norm_mean": [0.5] * 3, "norm_std": [0.25] * 3}},
        {"hparams": {"img_mean": [0.5] * 3, "img_std": [0.25] * 3}},
        {"config": {"IMAGENET_MEAN": [0.5] * 3, "IMAGENET_STD": [0.25] * 3}},
        {"config": {"rgb_means": [0.5] * 3, "rgb_stds": [0.25] * 3}},
        {"config": {"mean_rgb": [0.5] * 3, "std_rgb": [0.25] * 3}},
        {"config": {"image_mean": [127.5] * 3, "image_std": [63.75] * 3}},
        {"cfg": {"img_norm_cfg": PLAIN}},
        {"args": {"mean": "0.5,0.5,0.5", "std": "0.25 0.25 0.25"}},
        {"args": {"mean": ["0.5"] * 3, "std": ["0.25"] * 3}},
        {"dataset_stats": {"observation.images.top": NUMPYS, "observation.state": {"mean": [1, 2, 3], "std": [1, 1, 1]}}},
        {"transforms": [{"type": "Resize"}, {"type": "Normalize", **PLAIN}]},
        {"cfg": {"test_pipeline": [{"type": "Normalize", **PLAIN}]}},
        {"hyper_parameters": {"dataset": PIXELS}},
        {"config": {"augmentation": {"normalize": PLAIN}}},
        {"hyper_parameters": {"image_mean": torch.tensor(HALF), "image_std": torch.tensor([0.25] * 3)}},
        {"hyper_parameters": {"config": json.dumps({"data": PIXELS})}},
        {"config": json.dumps(json.dumps(PIXELS))},
        {"config": YAML},
        {"config": repr(PIXELS)},
        {"meta": {"cfg": OPENMMLAB}},
        {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": PIXELS}}}}}}}}},
    ],
)
def test_normalisation_in_any_spelling(said: dict[str, object], state: dict[str, Tensor], tmp_path: Path) -> None:
    normalisation = read(saved(tmp_path / "last.ckpt", state, **said)).normalisation
    assert normalisation.mean == pytest.approx(HALF)
    assert normalisation.std == pytest.approx((0.25,) * 3)


@pytest.mark.parametrize(
    ("said", "mean", "std"),
    [
        ({"hyper_parameters": {"normalize": "clip"}}, 0.48145466, 0.26862954),
        ({"hyper_parameters": {"normalization": "inception"}}, 0.5, 0.5),
        ({"hyper_parameters": {"data": {"image_normalize": False}}}, 0.0, 1.0),
        ({"cfg": {"MODEL": {"PIXEL_MEAN": [123.675, 116.28, 103.53], "PIXEL_STD": [1.0, 1.0, 1.0]}}}, 123.675 / 255, 1 / 255),
    ],
)
def test_normalisation_by_name_and_of_bytes(
    said: dict[str, object], mean: float, std: float, state: dict[str, Tensor], tmp_path: Path
) -> None:
    normalisation = read(saved(tmp_path / "last.ckpt", state, **said)).normalisation
    assert (normalisation.mean[0], normalisation.std[0]) == (pytest.approx(mean), pytest.approx(std))


@pytest.mark.parametrize(
    "said",
    [
        {"stats": {"observation.state": {"mean": [0.4, 0.3, 0.2], "std": [0.2, 0.2, 0.2]}, "action": PLAIN}},
        {"args": {"num_queries": 100, "nheads": 8, "dim_feedforward": 1024, "backbone": "dinov3"}},
        {"hyper_parameters": {"normalization": "layernorm", "lr": 1e-3, "decoder": {"num_heads": 8}}},
        {"model": {"layers": [{"num_heads": 8}]}, "note": "line: one\nline two"},
    ],
)
def test_values_about_something_else_are_not_statements(
    said: dict[str, object], state: dict[str, Tensor], tmp_path: Path
) -> None:
    checkpoint = read(saved(tmp_path / "last.ckpt", state, **said))
    assert checkpoint.normalisation.reason == NOTHING
    assert checkpoint.spec.heads == 3  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("said", "part"),
    [
        ({"cfg": {"img_norm_cfg": {**PLAIN, "to_rgb": False}}}, "in the order BGR"),
        ({"preprocessing": {"input_space": "BGR"}}, "in the order BGR"),
        ({"args": {"use_bgr": True}}, "in the order BGR"),
        ({"meta": {"cfg": OPENMMLAB.replace("True", "False")}}, "in the order BGR"),
        ({"args": {"image_normalize": "mine"}}, "image_normalize"),
        ({"config": {"image_mean": [0.5], "image_std": [0.5]}}, "image_mean"),
        ({"hyper_parameters": {"pos_embed_rope_normalize_coords": "max"}}, "normalize_coords"),
        ({"hyper_parameters": {"backbone": {"pos_embed_rope_max_period": 50.0}}}, "max_period"),
        ({"hyper_parameters": {"rope_rotate_half": False}}, "rotate_half"),
        ({"hyper_parameters": {"backbone_kwargs": {"act_layer": "relu"}}}, "act_layer"),
        ({"hyper_parameters": {"hidden_act": "quick_gelu"}}, "hidden_act"),
        ({"args": {"model": "eva02_tiny_patch14_224"}}, "eva02"),
        ({"args": {"arch": "dinov2_vits14"}}, "dinov2"),
        ({"args": {"model": "vit_small_patch16_rope_mixed_224"}}, "rope_mixed"),
        ({"cfg": {"train": {"normalize": PLAIN}, "val": {"normalize": {**PLAIN, "std": [0.5] * 3}}}}, "contradicts"),
    ],
)
def test_statements_that_edgec_cannot_obey_are_refused(
    said: dict[str, object], part: str, state: dict[str, Tensor], tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError) as caught:
        read(saved(tmp_path / "last.ckpt", state, **said))
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("mean", "shape", "heard"),
    [
        ("model.pixel_mean", (3, 1, 1), True),
        ("model.backbone.pixel_mean", (3, 1, 1), True),
        ("aggregator._resnet_mean", (1, 3, 1, 1), True),
        ("normalize_inputs.buffer_observation_images_top.mean", (3, 1, 1), True),
        ("image_mean", (3,), True),
        ("normalize_inputs.buffer_observation_state.mean", (3,), False),
        ("head.running_mean", (3,), False),
    ],
)
def test_buffers_of_the_models_own_normalisation(
    mean: str, shape: tuple[int, ...], heard: bool, state: dict[str, Tensor], tmp_path: Path
) -> None:
    tensors = {f"model.backbone.{name}": tensor for name, tensor in state.items()}
    tensors |= {mean: torch.full(shape, 127.5), mean.replace("mean", "std"): torch.full(shape, 63.75)}
    save_file(tensors, tmp_path / "m.safetensors")
    checkpoint = read(str(tmp_path / "m.safetensors"))
    assert (checkpoint.normalisation.mean == HALF) == heard
    assert not any("unexpected" in finding.text for finding in checkpoint.findings)


FILES: dict[str, Any] = {
    "model_config.json": PIXELS,
    "hparams.json": {"data": PIXELS},
    "hparams.yml": YAML,
    "train_config.json": {"transform": PLAIN},
    "w.yaml": YAML,
    "config.toml": "image_mean = [0.5, 0.5, 0.5]\nimage_std = [0.25, 0.25, 0.25]\n",
    "dataset_stats.json": {"image": NUMPYS},
    "normalization.json": PLAIN,
    "video_preprocessor_config.json": PIXELS,
    ".hydra/config.yaml": YAML,
    "../config.yaml": YAML,
    "../hparams.yaml": YAML,
    "../.hydra/config.yaml": YAML,
    "../preprocessor_config.json": PIXELS,
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_trainers_leave(name: str, state: dict[str, Tensor], tmp_path: Path) -> None:
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    reference = saved(folder / "w.pth", state)
    said = folder / name
    said.parent.mkdir(exist_ok=True)
    said.write_text(FILES[name] if isinstance(FILES[name], str) else json.dumps(FILES[name]))
    normalisation = read(reference).normalisation
    assert (normalisation.mean, normalisation.std) == (HALF, (0.25,) * 3)
    assert said.name in normalisation.reason


def test_a_pipelines_processor_and_files_of_others(state: dict[str, Tensor], tmp_path: Path) -> None:
    (tmp_path / "encoder").mkdir()
    reference = saved(tmp_path / "encoder" / "w.pth", state)
    for name, text in {"config.json": '{"theme": "dark"}', "tokenizer_config.json": "no JSON", "package.json": "{"}.items():
        (tmp_path / "encoder" / name).write_text(text)
    assert read(reference).normalisation.reason == NOTHING
    (tmp_path / "encoder" / "train_args.json").write_text('{"loss": NaN}')
    assert "train_args.json" in read(reference).normalisation.reason
    (tmp_path / "encoder" / "train_args.json").unlink()
    (tmp_path / "feature_extractor").mkdir()
    (tmp_path / "feature_extractor" / "preprocessor_config.json").write_text(json.dumps(PIXELS))
    assert read(reference).normalisation.reason == NOTHING
    (tmp_path / "model_index.json").write_text("{}")
    assert read(reference).normalisation.mean == HALF


@pytest.mark.parametrize(
    "name",
    ["prompt_embeddings", "patch_embed.norm.weight", "norm_pre.weight", "rel_pos_bias", "register_tokens", "pos_embedding"],
)
def test_unknown_weights_that_would_compute_are_refused(name: str, state: dict[str, Tensor], tmp_path: Path) -> None:
    with pytest.raises(MismatchedWeights) as caught:
        read(saved(tmp_path / "a.pth", {**state, name: torch.ones(192)}))
    assert name in str(caught.value)


@pytest.mark.parametrize("key", ["offset", "rescale_offset"])
def test_processors_that_shift(key: str, state: dict[str, Tensor], tmp_path: Path) -> None:
    processor = {"do_normalize": False, "rescale_factor": 1 / 127.5, key: True, "image_processor_type": "X"}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    normalisation = read(saved(tmp_path / "a.pth", state)).normalisation
    assert (normalisation.mean, normalisation.std) == (pytest.approx(HALF), pytest.approx(HALF))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**PIXELS, "auto_map": {"AutoImageProcessor": "mine.P"}}))
    with pytest.raises(CheckpointError, match="code of its own"):
        read(str(tmp_path / "a.pth"))


def test_statements_about_a_student_hold_for_its_average(kit: SimpleNamespace, tmp_path: Path) -> None:
    spec = VitSpec(384, 12, 6, 1536)
    raw = kit.meta_state(kit.huggingface_model(spec, random=False))
    average = {name: tensor * 1.01 if name == "cls_token" else tensor for name, tensor in raw.items()}
    sets = {part: {f"backbone.{n}": t for n, t in each.items()} for part, each in (("student", raw), ("model_ema", average))}
    torch.save(sets, tmp_path / "run.pth")
    said = "student:\n  arch: vit_small\n  norm_layer: layernorm\n"
    (tmp_path / "config.yaml").write_text(said)
    assert read(str(tmp_path / "run.pth"), weights="model_ema").spec.norm_eps == 1e-6
    for more in ("untie_cls_and_patch_norms: true", "qkv_bias: false"):
        biased = {name: tensor + 1 if name.endswith("qkv.bias") else tensor for name, tensor in raw.items()}
        torch.save(biased, tmp_path / "alone.pth")
        (tmp_path / "config.yaml").write_text(f"{said}  {more}\n")
        with pytest.raises(MismatchedWeights, match=more.split(":")[0]):
            read(str(tmp_path / "alone.pth"))


def test_heads_as_texts_in_metadata(kit: SimpleNamespace, tmp_path: Path) -> None:
    state = kit.huggingface_model(NARROW_HEADS).state_dict()
    for said in ({"num_heads": "6"}, {"config": "num_heads: 6\nlr: 1e-3\n"}, {"config": json.dumps('{"num_heads": "6"}')}):
        save_file(state, tmp_path / "a.safetensors", metadata=said)
        assert read(str(tmp_path / "a.safetensors")).spec.heads == 6  # type: ignore[union-attr]
