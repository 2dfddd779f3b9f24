"""What we compute from Hugging Face's files against `transformers` itself."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from edgec.checkpoint import read
from edgec.errors import MismatchedWeights
from edgec.model.spec import FAMILY, ConvNextSpec, Size, VitSpec

SMALL = VitSpec(64, 2, 2, 128)
SMALL_CONVNEXT = ConvNextSpec((1, 1, 2, 1), (8, 16, 24, 32))


@pytest.mark.parametrize("arch", FAMILY)
def test_every_architecture_agrees_with_transformers(arch: str, kit: SimpleNamespace, tmp_path: Path) -> None:
    spec = kit.TRUE_WIDTHS[arch]
    model = kit.huggingface_model(spec)
    model.save_pretrained(tmp_path)
    checkpoint = read(str(tmp_path))
    assert (checkpoint.spec, checkpoint.form, checkpoint.stored_dtype) == (spec, "huggingface", "float32")
    for size in kit.SIZES:
        pixels = kit.pixels(size)
        kit.assert_same(kit.our_features(checkpoint, pixels), kit.huggingface_features(model, pixels))


@pytest.mark.parametrize("spec", [VitSpec(128, 2, 2, 256, mlp="swiglu"), SMALL_CONVNEXT], ids=["vit", "convnext"])
@pytest.mark.parametrize("prefix", ["", "model.", "backbone.encoder."])
def test_a_bare_file_needs_no_config(spec: VitSpec | ConvNextSpec, prefix: str, kit: SimpleNamespace, tmp_path: Path) -> None:
    model = kit.huggingface_model(spec)
    state = {f"{prefix}{name}": tensor for name, tensor in model.state_dict().items()}
    save_file(state, tmp_path / "weights.safetensors")
    checkpoint = read(str(tmp_path / "weights.safetensors"))
    assert checkpoint.spec == spec
    pixels = kit.pixels(Size(64, 96))
    kit.assert_same(kit.our_features(checkpoint, pixels), kit.huggingface_features(model, pixels))


def test_heads_are_not_guessed_where_the_familys_do_not_fit(kit: SimpleNamespace, tmp_path: Path) -> None:
    save_file(kit.huggingface_model(VitSpec(96, 1, 3, 64)).state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(MismatchedWeights, match="a width of 96 is divided into"):
        read(str(tmp_path / "weights.safetensors"))


def test_the_variants_of_names_mean_the_same(kit: SimpleNamespace, tmp_path: Path) -> None:
    model = kit.huggingface_model(SMALL)
    state = model.state_dict()
    assert any(name.startswith("model.layer.") for name in state)
    torch.save(state, tmp_path / "a.pth")
    torch.save({name.removeprefix("model."): tensor for name, tensor in state.items()}, tmp_path / "b.pth")
    first, second = read(str(tmp_path / "a.pth")), read(str(tmp_path / "b.pth"))
    assert first.weights.keys() == second.weights.keys()
    assert all(torch.equal(first.weights[name], second.weights[name]) for name in first.weights)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_as_the_float32_it_stands_for(dtype: torch.dtype, kit: SimpleNamespace, tmp_path: Path) -> None:
    model = kit.huggingface_model(SMALL).to(dtype)
    model.save_pretrained(tmp_path)
    checkpoint = read(str(tmp_path))
    assert checkpoint.stored_dtype == str(dtype).removeprefix("torch.")
    assert any("stored in" in finding.text for finding in checkpoint.findings)
    again = type(model).from_pretrained(tmp_path, dtype=torch.float32).eval()
    pixels = kit.pixels(Size(64, 96))
    kit.assert_same(kit.our_features(checkpoint, pixels), kit.huggingface_features(again, pixels))


def test_the_config_decides_heads_epsilon_and_rope(kit: SimpleNamespace, tmp_path: Path) -> None:
    spec = VitSpec(96, 2, 3, 128, registers=2, patch=8, norm_eps=1e-3)
    model = kit.huggingface_model(spec, patch_size=8, layer_norm_eps=1e-3, rope_theta=37.0)
    model.save_pretrained(tmp_path)
    checkpoint = read(str(tmp_path))
    assert checkpoint.spec == spec
    pixels = kit.pixels(Size(64, 96))
    kit.assert_same(kit.our_features(checkpoint, pixels), kit.huggingface_features(model, pixels))


def test_a_model_without_registers(kit: SimpleNamespace, tmp_path: Path) -> None:
    model = kit.huggingface_model(VitSpec(64, 1, 2, 128, registers=0))
    model.save_pretrained(tmp_path)
    checkpoint = read(str(tmp_path))
    assert checkpoint.spec.registers == 0
    pixels = kit.pixels(Size(64, 96))
    kit.assert_same(kit.our_features(checkpoint, pixels), kit.huggingface_features(model, pixels))


def test_a_nonzero_key_bias_is_kept_as_rope_rotates_it(kit: SimpleNamespace, tmp_path: Path) -> None:
    model = kit.huggingface_model(SMALL, key_bias=True)
    with torch.no_grad():
        model.model.layer[1].attention.k_proj.bias.mul_(20)
    model.save_pretrained(tmp_path)
    checkpoint = read(str(tmp_path))
    assert isinstance(checkpoint.spec, VitSpec)
    assert checkpoint.spec.key_bias
    assert any(finding.level == "warning" and "K has a bias" in finding.text for finding in checkpoint.findings)
    pixels = kit.pixels(Size(64, 96))
    expected = kit.huggingface_features(model, pixels)
    kit.assert_same(kit.our_features(checkpoint, pixels), expected)
    with torch.no_grad():
        for layer in model.model.layer:
            layer.attention.k_proj.bias.zero_()
    assert (kit.huggingface_features(model, pixels)["patches"] - expected["patches"]).abs().max() > 1e-3


def test_missing_biases_and_layer_scales_are_neutral(kit: SimpleNamespace, tmp_path: Path) -> None:
    model = kit.huggingface_model(SMALL, query_bias=False, value_bias=False, proj_bias=False, mlp_bias=False)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lambda1" in name:
                parameter.fill_(1)
    model.save_pretrained(tmp_path / "model")
    state = {name: tensor for name, tensor in model.state_dict().items() if "lambda1" not in name}
    save_file(state, tmp_path / "model" / "model.safetensors")
    checkpoint = read(str(tmp_path / "model"))
    assert any("taken as neutral" in finding.text for finding in checkpoint.findings)
    pixels = kit.pixels(Size(64, 96))
    kit.assert_same(kit.our_features(checkpoint, pixels), kit.huggingface_features(model, pixels))


def test_shards_and_pickles_read_like_one_safetensors(kit: SimpleNamespace, tmp_path: Path) -> None:
    model = kit.huggingface_model(SMALL)
    model.save_pretrained(tmp_path / "whole")
    model.save_pretrained(tmp_path / "shards", max_shard_size="100KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    (tmp_path / "pickle").mkdir()
    (tmp_path / "pickle" / "config.json").write_bytes((tmp_path / "whole" / "config.json").read_bytes())
    torch.save(model.state_dict(), tmp_path / "pickle" / "pytorch_model.bin")
    whole, *others = (read(str(tmp_path / name)) for name in ("whole", "shards", "pickle"))
    for other in others:
        assert other.spec == whole.spec
        assert all(torch.equal(other.weights[name], whole.weights[name]) for name in whole.weights)
    assert len({whole.sha256, *(other.sha256 for other in others)}) == 3
