"""What files, containers and folders state is obeyed, or refused by name: held against the authors' own code."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from edgec.checkpoint import identify, read
from edgec.checkpoint.author import find_author
from edgec.errors import AmbiguousCheckpoint, CheckpointError, MismatchedWeights, UnknownForm, UnreadableCheckpoint
from edgec.model.camera import assemble
from edgec.model.spec import ConvNextSpec, Size, VitSpec

SMALL = VitSpec(192, 2, 3, 768)
SIZE = Size(32, 64)


def frames() -> Any:
    return torch.randint(0, 256, (1, 32, 64, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8).numpy()


def assert_parity(reference: Path, **choice: str) -> None:
    """edgec's model of the checkpoint and the class that its folder names agree on frames, preprocessing included."""
    checkpoint = read(str(reference), **choice)
    author = find_author(str(reference), checkpoint.normalisation)
    with torch.no_grad():
        ours = assemble(checkpoint, SIZE, folded=False)(torch.from_numpy(frames()))
    for name, expected in author.run(frames()).items():
        assert ours[name].shape == expected.shape
        assert expected.std() > 0.1
        assert abs(ours[name].numpy() - expected).max() < 1e-3 * abs(expected).max(), name


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def folder(kit: SimpleNamespace, tmp_path: Path) -> Path:
    """A Hugging Face folder whose heads, rotary base and epsilon are nobody's habit."""
    model = kit.huggingface_model(SMALL)
    model.config.num_attention_heads, model.config.rope_theta, model.config.layer_norm_eps = 6, 30.0, 1e-3
    model.save_pretrained(tmp_path / "m")
    preprocessor = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.5, 0.75], "do_rescale": True, "rescale_factor": 1 / 255}
    (tmp_path / "m" / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return tmp_path / "m"


def test_a_file_given_instead_of_its_folder_means_the_same(folder: Path) -> None:
    whole, file = read(str(folder)), read(str(folder / "model.safetensors"))
    assert whole.spec == file.spec
    assert (file.spec.heads, file.spec.norm_eps) == (6, 1e-3)  # type: ignore[union-attr]
    assert torch.equal(whole.weights["rope_periods"], file.weights["rope_periods"])
    assert whole.normalisation.mean == file.normalisation.mean == (0.5, 0.5, 0.5)
    for reference in (folder, folder / "model.safetensors"):
        assert_parity(reference)


def test_files_next_to_a_file_are_in_its_key(folder: Path) -> None:
    before = identify(str(folder / "model.safetensors"))
    edit(folder / "config.json", rope_theta=31.0)
    after = identify(str(folder / "model.safetensors"))
    assert before.sha256 == after.sha256
    assert before.key != after.key
    (folder / "other.json").write_text('{"num_attention_heads": 6}')
    chosen = {identify(str(folder), config=each).key for each in (None, "none", str(folder / "other.json"))}
    assert len(chosen) == 3


def test_keys_that_transformers_reads_with_defaults(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    for key in ("num_attention_heads", "rope_theta", "layer_norm_eps"):
        config.pop(key, None)
    config.pop("rope_parameters", None)
    (folder / "config.json").write_text(json.dumps(config))
    assert read(str(folder)).spec.heads == 6  # type: ignore[union-attr]  # transformers' default, though heads of 64 would be 3
    assert_parity(folder)


@pytest.mark.parametrize("nested", ["backbone_config", "encoder_config"])
def test_the_configuration_inside_a_larger_models(nested: str, folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    expected = read(str(folder))
    (folder / "config.json").write_text(json.dumps({"model_type": "chmv2", nested: config, "head_hidden_size": 8}))
    checkpoint = read(str(folder / "model.safetensors"))
    assert checkpoint.spec == expected.spec
    assert torch.equal(checkpoint.weights["rope_periods"], expected.weights["rope_periods"])


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"model_type": "eomt_dinov3"}, "EoMT"),
        ({"model_type": "dinov2"}, "another kind"),
        ({"quantization_config": {"quant_method": "torchao"}}, "quantised already"),
        ({"auto_map": {"AutoModel": "modeling.Mine"}}, "code of its own"),
        ({"hidden_act": "gelu_pytorch_tanh"}, "activation"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 30.0}}, "rotary"),
        ({"num_channels": 4}, "disagree"),
        ({"pruned_heads": {"0": [1]}}, "prunes"),
    ],
)
def test_what_changes_the_model_is_refused_by_name(changes: dict[str, object], part: str, folder: Path) -> None:
    edit(folder / "config.json", **changes)
    for reference in (folder, folder / "model.safetensors"):
        with pytest.raises(CheckpointError) as caught:
            read(str(reference))
        assert part in str(caught.value)
        assert caught.value.evidence


def test_unread_keys_are_reported(folder: Path) -> None:
    edit(folder / "config.json", attention_sinks=4)
    assert any("attention_sinks" in finding.text and finding.level == "warning" for finding in read(str(folder)).findings)


def test_a_bias_that_the_authors_code_drops(kit: SimpleNamespace, tmp_path: Path) -> None:
    kit.huggingface_model(SMALL, key_bias=True).save_pretrained(tmp_path)
    assert read(str(tmp_path)).spec.key_bias  # type: ignore[union-attr]
    edit(tmp_path / "config.json", key_bias=False)
    with pytest.raises(MismatchedWeights, match="key_bias"):
        read(str(tmp_path))


@pytest.mark.parametrize(
    ("processor", "mean", "std"),
    [
        ({"image_mean": [0.4, 0.4, 0.4], "image_std": [0.2, 0.2, 0.2], "rescale_factor": 1 / 127.5}, 0.2, 0.1),
        ({"image_mean": [100, 100, 100], "image_std": [50, 50, 50], "do_rescale": False}, 100 / 255, 50 / 255),
        ({"do_normalize": False}, 0.0, 1.0),
        ({"do_normalize": False, "do_rescale": False}, 0.0, 1 / 255),
        ({"image_mean": 0.5, "image_std": 0.5}, 0.5, 0.5),
    ],
)
def test_a_processors_arithmetic_is_obeyed(processor: dict[str, object], mean: float, std: float, folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    normalisation = read(str(folder)).normalisation
    assert normalisation.mean == pytest.approx((mean,) * 3)
    assert normalisation.std == pytest.approx((std,) * 3)


def test_processors_of_transformers_5_and_two_that_differ(folder: Path) -> None:
    inner = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.3, 0.2, 0.1], "image_processor_type": "DINOv3ViTImageProcessor"}
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": inner}))
    with pytest.raises(AmbiguousCheckpoint) as caught:
        read(str(folder))
    assert "processor_config.json" in str(caught.value)
    assert "preprocessor_config.json" in str(caught.value)
    (folder / "preprocessor_config.json").unlink()
    assert read(str(folder)).normalisation.mean == (0.1, 0.2, 0.3)


def test_config_replaces_all_other_statements(folder: Path, tmp_path: Path) -> None:
    chosen = tmp_path / "mine.json"
    chosen.write_text('{"num_attention_heads": 3, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.3, 0.2, 0.1]}')
    checkpoint = read(str(folder), config=str(chosen))
    assert checkpoint.spec.heads == 3  # type: ignore[union-attr]
    assert checkpoint.normalisation.mean == (0.1, 0.2, 0.3)
    assert read(str(folder), config="none").normalisation.reason == "assumed, nothing says otherwise"
    chosen.write_text('{"robot": "arm"}')
    with pytest.raises(UnreadableCheckpoint, match="has no key that edgec knows"):
        read(str(folder), config=str(chosen))


def timm_folder(timm: ModuleType, model: nn.Module, where: Path, **changes: object) -> Path:
    """As timm's own `save_for_hf` writes it."""
    timm.models._hub.save_for_hf(model, where, safe_serialization=True)  # type: ignore[attr-defined]
    edit(where / "config.json", **changes)
    return where


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_heads": 6},
        {"rope_temperature": 30},
        {"num_heads": 6, "embed_dim": 384, "depth": 1, "global_pool": "token"},
        {"num_reg_tokens": 0, "depth": 1},
        {"mlp_ratio": 2, "depth": 1},
        {"depth": 1, "swiglu_mlp": True, "swiglu_align_to": 8},
    ],
)
def test_timms_arguments_are_obeyed(arguments: dict[str, object], timm: ModuleType, kit: SimpleNamespace, tmp_path: Path) -> None:
    arguments = {"depth": 2, **arguments}
    model = kit.randomise(timm.create_model("vit_tiny_patch16_dinov3_qkvb", num_classes=3, **arguments))
    path = timm_folder(timm, model, tmp_path / "timm", model_args=arguments)
    for reference in (path, path / "model.safetensors"):
        assert_parity(reference)


def test_an_architectures_own_heads(timm: ModuleType, kit: SimpleNamespace, tmp_path: Path) -> None:
    model = kit.randomise(timm.create_model("vit_base_patch16_dinov3_qkvb", num_classes=0, embed_dim=384, depth=1))
    path = timm_folder(timm, model, tmp_path / "timm", model_args={"embed_dim": 384, "depth": 1})
    assert read(str(path)).spec.heads == 12  # type: ignore[union-attr]  # of 32, as vit_base has them
    assert_parity(path)


def test_timms_convnext(timm: ModuleType, kit: SimpleNamespace, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"depths": (1, 1, 1, 1), "norm_eps": 1e-3}
    model = kit.randomise(timm.create_model("convnext_tiny.dinov3_lvd1689m", num_classes=0, **arguments))
    path = timm_folder(timm, model, tmp_path / "timm", model_args=arguments)
    checkpoint = read(str(path))
    assert isinstance(checkpoint.spec, ConvNextSpec)
    assert checkpoint.spec.norm_eps == 1e-3
    assert_parity(path)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"architecture": "eva02_tiny_patch14_224"}, "not DINOv3's"),
        ({"architecture": "vit_small_patch16_rope_ape_224"}, "not DINOv3's"),
        ({"architecture": "naflexvit_base_patch16_gap"}, "not DINOv3's"),
        ({"model_args": {"rope_type": "cat"}}, "rope_type"),
        ({"model_args": {"qk_norm": True}}, "qk_norm"),
        ({"model_args": {"some_new_trick": 1}}, "some_new_trick"),
        ({"model_args": {"num_heads": 5}}, "5 heads"),
        ({"model_args": {"mlp_ratio": 3}}, "mlp_ratio"),
        ({"model_args": [1]}, "model_args"),
        ({"pretrained_cfg": {"mean": [1, 2], "std": [1, 1, 1]}}, "pretrained_cfg"),
        ({"pretrained_cfg": {"input_size": [4, 224, 224]}}, "input_size"),
    ],
)
def test_statements_of_timm_that_edgec_cannot_obey_are_refused(
    changes: dict[str, object], part: str, timm: ModuleType, kit: SimpleNamespace, tmp_path: Path
) -> None:
    model = kit.randomise(timm.create_model("vit_tiny_patch16_dinov3_qkvb", num_classes=0, depth=1))
    path = timm_folder(timm, model, tmp_path / "timm", **changes)
    with pytest.raises(CheckpointError) as caught:
        read(str(path))
    assert part in str(caught.value)


def meta_state(kit: SimpleNamespace, spec: VitSpec = SMALL, prefix: str = "") -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in kit.meta_state(kit.huggingface_model(spec)).items()}


def without_periods(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.endswith("periods")}


LIGHTLY = {"model_class_path": "lightly_train.EoMT", "model_init_args": {"model_name": "dinov3/vitt16-eomt"}}


@pytest.mark.parametrize(
    ("said", "mean"),
    [
        ({**LIGHTLY, "model_init_args": {"image_normalize": {"mean": (0.1, 0.2, 0.3), "std": (0.3, 0.2, 0.1)}}}, (0.1, 0.2, 0.3)),
        ({**LIGHTLY, "model_init_args": {"image_normalize": "none"}}, (0.0, 0.0, 0.0)),
        ({**LIGHTLY, "model_init_args": {"image_normalize": None}}, (0.0, 0.0, 0.0)),
        ({"cfg": {"MODEL": {"PIXEL_MEAN": [127.5] * 3, "PIXEL_STD": [51.0] * 3}}}, (0.5, 0.5, 0.5)),
        ({"hyper_parameters": {"data": {"pixel_mean": [127.5] * 3, "pixel_std": [51.0] * 3}}}, (0.5, 0.5, 0.5)),
        ({"args": Namespace(model="vit_tiny_patch16_dinov3", mean=[0.1, 0.2, 0.3], std=[1, 1, 1])}, (0.1, 0.2, 0.3)),
    ],
)
def test_normalisation_inside_a_training_file(
    said: dict[str, object], mean: tuple[float, ...], kit: SimpleNamespace, tmp_path: Path
) -> None:
    torch.save({"train_model": meta_state(kit, prefix="backbone."), **said}, tmp_path / "last.pt")
    assert read(str(tmp_path / "last.pt")).normalisation.mean == pytest.approx(mean)


@pytest.mark.parametrize(
    "said",
    [{"cfg": {"INPUT": {"FORMAT": "BGR"}}}, {"data_preprocessor": {"bgr_to_rgb": False}}, {"args": {"channel_order": "bgr"}}],
)
def test_bgr_is_refused(said: dict[str, object], kit: SimpleNamespace, tmp_path: Path) -> None:
    torch.save({"model": meta_state(kit), **said}, tmp_path / "last.pt")
    with pytest.raises(UnknownForm, match="in the order BGR"):
        read(str(tmp_path / "last.pt"))


def test_a_robots_joints_are_not_pixels(kit: SimpleNamespace, tmp_path: Path) -> None:
    stats = {"observation.state": {"mean": [1.0, 2.0, 3.0], "std": [0.1, 0.1, 0.1]}}
    torch.save({"model": meta_state(kit), "stats": stats}, tmp_path / "last.pt")
    assert read(str(tmp_path / "last.pt")).normalisation.reason == "assumed, nothing says otherwise"


def test_a_processor_of_another_class_without_mean_and_std(folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text('{"image_processor_type": "ViTImageProcessor", "do_normalize": true}')
    with pytest.raises(UnreadableCheckpoint, match="without the mean and std"):
        read(str(folder))
    (folder / "preprocessor_config.json").write_text('{"image_processor_type": "DINOv3ViTImageProcessorFast"}')
    assert read(str(folder)).normalisation.name == "LVD-1689M"


def test_a_key_bias_that_nobody_mentions_is_dropped_by_transformers(kit: SimpleNamespace, tmp_path: Path) -> None:
    kit.huggingface_model(SMALL, key_bias=True).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["key_bias"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(MismatchedWeights, match="does not say"):
        read(str(tmp_path))


@pytest.mark.parametrize(
    "said",
    [
        {"hyper_parameters": {"model": {"num_heads": 6}}},
        {"config": {"backbone": {"num_attention_heads": 6}}},
        {"args": Namespace(arch="vit_tiny_patch16_dinov3", model_kwargs={"num_heads": 6})},
    ],
)
def test_heads_inside_a_training_file(said: dict[str, object], kit: SimpleNamespace, tmp_path: Path) -> None:
    torch.save({"state_dict": without_periods(meta_state(kit)), **said}, tmp_path / "last.ckpt")
    assert read(str(tmp_path / "last.ckpt")).spec.heads == 6  # type: ignore[union-attr]


def test_safetensors_metadata_is_read(kit: SimpleNamespace, tmp_path: Path) -> None:
    state = without_periods(meta_state(kit))
    save_file(state, tmp_path / "a.safetensors", metadata={"format": "pt", "config": '{"num_heads": 6}'})
    assert read(str(tmp_path / "a.safetensors")).spec.heads == 6  # type: ignore[union-attr]


def test_metas_training_configuration(kit: SimpleNamespace, tmp_path: Path) -> None:
    run = tmp_path / "run"
    place = run / "eval" / "12499"
    place.mkdir(parents=True)
    spec = VitSpec(384, 12, 6, 1536)
    model = kit.huggingface_model(spec, random=False)
    torch.save({"teacher": {f"backbone.{n}": t for n, t in kit.meta_state(model).items()}}, place / "teacher_checkpoint.pth")
    yaml = "student:\n  arch: vit_small\n  patch_size: 16\n  norm_layer: layernorm\n  n_storage_tokens: 0\n  ffn_layer: mlp\n"
    yaml += "crops:\n  rgb_mean: [0.1, 0.2, 0.3]\n  rgb_std: [0.3, 0.2, 1e-1]\n"
    (run / "config.yaml").write_text(yaml.replace("n_storage_tokens: 0", "n_storage_tokens: 4"))
    checkpoint = read(str(place / "teacher_checkpoint.pth"))
    assert checkpoint.spec.norm_eps == 1e-6
    assert checkpoint.normalisation.std == (0.3, 0.2, 0.1)
    (run / "config.yaml").write_text(yaml)
    with pytest.raises(MismatchedWeights, match="n_storage_tokens"):
        read(str(place / "teacher_checkpoint.pth"))
    (run / "config.yaml").write_text(yaml.replace("norm_layer: layernorm", "pos_embed_rope_normalize_coords: max"))
    with pytest.raises(UnknownForm, match="normalize_coords"):
        read(str(place / "teacher_checkpoint.pth"))


def test_a_base_that_the_stored_periods_contradict(kit: SimpleNamespace, tmp_path: Path) -> None:
    torch.save(meta_state(kit), tmp_path / "a.pth")
    assert read(str(tmp_path / "a.pth")).spec == SMALL.__class__(**{**SMALL.__dict__, "key_bias": False})
    (tmp_path / "config.json").write_text('{"rope_theta": 30}')
    with pytest.raises(MismatchedWeights, match="rotary periods disagree"):
        read(str(tmp_path / "a.pth"))


def test_a_name_against_a_processor_and_no_final_norm(folder: Path, kit: SimpleNamespace, tmp_path: Path) -> None:
    moved = folder.rename(tmp_path / "dinov3-sat493m")
    with pytest.raises(AmbiguousCheckpoint, match="normalised"):
        read(str(moved))
    state = {name: tensor for name, tensor in meta_state(kit).items() if not name.startswith("norm.")}
    torch.save(state, tmp_path / "headless.pth")
    with pytest.raises(UnknownForm, match="no final norm"):
        read(str(tmp_path / "headless.pth"))
