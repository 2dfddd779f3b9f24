"""Meta's form. The weights are a `transformers` model's under Meta's names, and must compute what that model computes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from edgec.checkpoint import Checkpoint, read
from edgec.errors import AmbiguousCheckpoint
from edgec.model.spec import FAMILY, ConvNextSpec, Size, VitSpec

SMALL = VitSpec(64, 2, 2, 128)
SMALL_CONVNEXT = ConvNextSpec((1, 1, 2, 1), (8, 16, 24, 32))


def read_state(state: object, path: Path) -> Checkpoint:
    torch.save(state, path)
    return read(str(path))


def texts(checkpoint: Checkpoint, level: str) -> str:
    return "\n".join(finding.text for finding in checkpoint.findings if finding.level == level)


@pytest.mark.parametrize("arch", FAMILY)
def test_every_architecture_agrees_with_transformers(arch: str, kit: SimpleNamespace, tmp_path: Path) -> None:
    spec = kit.TRUE_WIDTHS[arch]
    if arch in ("vitt16", "vits16"):
        spec = VitSpec(spec.width, 3, spec.heads, spec.mlp_width)
    model = kit.huggingface_model(spec)
    checkpoint = read_state(kit.meta_state(model), tmp_path / "any.pth")
    assert (checkpoint.spec, checkpoint.form) == (spec, "meta")
    assert "unexpected" not in texts(checkpoint, "warning")
    for size in kit.SIZES:
        pixels = kit.pixels(size)
        kit.assert_same(kit.our_features(checkpoint, pixels), kit.huggingface_features(model, pixels))


def test_the_stored_periods_are_used_and_tell_the_heads(kit: SimpleNamespace, tmp_path: Path) -> None:
    model = kit.huggingface_model(VitSpec(96, 2, 2, 128))
    state = kit.meta_state(model, torch.bfloat16)
    checkpoint = read_state(state, tmp_path / "any.pth")
    assert isinstance(checkpoint.spec, VitSpec)
    assert checkpoint.spec.heads == 2
    assert torch.equal(checkpoint.weights["rope_periods"], state["rope_embed.periods"].float())
    pixels = kit.pixels(Size(160, 96))
    ours = kit.our_features(checkpoint, pixels)
    exact = kit.huggingface_features(model, pixels)
    model.rope_embeddings.inv_freq.copy_(1 / state["rope_embed.periods"].float())
    kit.assert_same(ours, kit.huggingface_features(model, pixels))
    assert (ours["patches"] - exact["patches"]).abs().max() > 1e-3


def test_these_comparisons_would_notice_q_and_k_exchanged(kit: SimpleNamespace, tmp_path: Path) -> None:
    model = kit.huggingface_model(SMALL)
    state = kit.meta_state(model)
    for name in [name for name in state if name.endswith("qkv.weight")]:
        q, k, v = state[name].chunk(3)
        state[name] = torch.cat([k, q, v])
    pixels = kit.pixels(Size(64, 96))
    ours = kit.our_features(read_state(state, tmp_path / "any.pth"), pixels)
    assert (ours["patches"] - kit.huggingface_features(model, pixels)["patches"]).abs().max() > 0.1


def test_without_periods_those_of_metas_files_are_used(kit: SimpleNamespace, tmp_path: Path) -> None:
    model = kit.huggingface_model(VitSpec(128, 1, 2, 128))
    state = kit.meta_state(model)
    expected = state.pop("rope_embed.periods").to(torch.bfloat16).float()
    checkpoint = read_state(state, tmp_path / "any.pth")
    assert torch.equal(checkpoint.weights["rope_periods"], expected)
    assert "no rotary periods" in texts(checkpoint, "warning")


@pytest.mark.parametrize("spec", [SMALL, SMALL_CONVNEXT], ids=["vit", "convnext"])
@pytest.mark.parametrize(
    ("wrap", "prefix"),
    [
        (lambda state: {"teacher": {f"backbone.{name}": tensor for name, tensor in state.items()}}, "teacher.backbone."),
        (lambda state: {"model": {f"module._orig_mod.{name}": tensor for name, tensor in state.items()}}, "model."),
        (lambda state: {"state_dict": state, "epoch": 3, "lr": [0.1]}, "state_dict."),
        (lambda state: {f"student.backbone.{name}": tensor for name, tensor in state.items()}, "student.backbone."),
        (lambda state: {f"encoder.{name}": tensor for name, tensor in state.items()}, "encoder."),
    ],
    ids=["teacher", "wrappers", "state_dict", "student", "encoder"],
)
def test_training_checkpoints(
    spec: VitSpec | ConvNextSpec, wrap: object, prefix: str, kit: SimpleNamespace, tmp_path: Path
) -> None:
    model = kit.huggingface_model(spec)
    checkpoint = read_state(wrap(kit.meta_state(model)), tmp_path / "any.pth")  # type: ignore[operator]
    assert (checkpoint.spec, checkpoint.form) == (spec, "meta-training")
    assert f"the backbone is under {prefix}" in texts(checkpoint, "note")
    pixels = kit.pixels(Size(64, 96))
    kit.assert_same(kit.our_features(checkpoint, pixels), kit.huggingface_features(model, pixels))


def test_the_teacher_can_be_chosen_and_heads_are_ignored(kit: SimpleNamespace, tmp_path: Path) -> None:
    teacher, student = (kit.meta_state(kit.randomise(kit.huggingface_model(SMALL), seed)) for seed in (1, 2))

    def under(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
        return {f"{prefix}{name}": tensor for name, tensor in state.items()}

    state = under("student.backbone.", student) | under("gram_teacher.backbone.", student) | under("teacher.backbone.", teacher)
    state |= {"teacher.dino_head.mlp.0.weight": torch.ones(2, 2), "teacher.ibot_head.last_layer.weight": torch.ones(2)}
    with pytest.raises(AmbiguousCheckpoint, match="several sets of weights"):
        read_state(state, tmp_path / "any.pth")
    checkpoint = read(str(tmp_path / "any.pth"), weights="teacher")
    assert torch.equal(checkpoint.weights["norm.weight"], teacher["norm.weight"])
    notes = texts(checkpoint, "note")
    assert "student.backbone" in notes
    assert "teacher.dino_head (1)" in notes
    assert "warning" not in {finding.level for finding in checkpoint.findings if "licence" not in finding.text}


def test_a_nan_bias_mask_is_read_as_the_mask_that_was_meant(kit: SimpleNamespace, tmp_path: Path) -> None:
    model = kit.huggingface_model(SMALL)
    state = kit.meta_state(model)
    for name in [name for name in state if name.endswith("bias_mask")]:
        state[name] = torch.full_like(state[name], float("nan"))
    checkpoint = read_state(state, tmp_path / "any.pth")
    assert texts(checkpoint, "warning").count("bias_mask is NaN") == 1
    pixels = kit.pixels(Size(64, 96))
    kit.assert_same(kit.our_features(checkpoint, pixels), kit.huggingface_features(model, pixels))


def test_a_mask_of_booleans_masks(kit: SimpleNamespace, tmp_path: Path) -> None:
    state = kit.meta_state(kit.huggingface_model(SMALL))
    for name in [name for name in state if name.endswith("bias_mask")]:
        state[name] = state[name].bool()
    checkpoint = read_state(state, tmp_path / "any.pth")
    assert isinstance(checkpoint.spec, VitSpec)
    assert not checkpoint.spec.key_bias


def test_without_registers_nothing_is_said_of_them(kit: SimpleNamespace, tmp_path: Path) -> None:
    model = kit.huggingface_model(VitSpec(64, 1, 2, 128, registers=0))
    state = kit.meta_state(model)
    del state["storage_tokens"]
    checkpoint = read_state(state, tmp_path / "any.pth")
    assert checkpoint.spec.registers == 0
    assert "storage_tokens" not in texts(checkpoint, "note")
    pixels = kit.pixels(Size(64, 96))
    kit.assert_same(kit.our_features(checkpoint, pixels), kit.huggingface_features(model, pixels))


def test_without_a_mask_the_key_bias_counts(kit: SimpleNamespace, tmp_path: Path) -> None:
    model = kit.huggingface_model(SMALL, key_bias=True)
    with torch.no_grad():
        for layer in model.model.layer:
            layer.attention.k_proj.bias.fill_(0.7)
    state = {name: tensor for name, tensor in kit.meta_state(model).items() if not name.endswith("bias_mask")}
    state = {name: tensor for name, tensor in state.items() if "k_proj" not in name}
    checkpoint = read_state(state, tmp_path / "any.pth")
    assert isinstance(checkpoint.spec, VitSpec)
    assert checkpoint.spec.key_bias
    pixels = kit.pixels(Size(64, 96))
    kit.assert_same(kit.our_features(checkpoint, pixels), kit.huggingface_features(model, pixels))


def test_a_separate_norm_of_cls_and_registers_is_used(kit: SimpleNamespace, tmp_path: Path) -> None:
    model = kit.huggingface_model(SMALL)
    state = kit.meta_state(model)
    state |= {"cls_norm.weight": torch.full((64,), 2.0), "cls_norm.bias": torch.full((64,), -1.0)}
    checkpoint = read_state(state, tmp_path / "any.pth")
    assert isinstance(checkpoint.spec, VitSpec)
    assert checkpoint.spec.separate_cls_norm
    pixels = kit.pixels(Size(64, 96))
    ours, theirs = kit.our_features(checkpoint, pixels), kit.huggingface_features(model, pixels)
    for name in ("cls", "registers"):
        unnormed = (theirs[name] - state["norm.bias"]) / state["norm.weight"]
        torch.testing.assert_close(ours[name], 2 * unnormed - 1, atol=1e-4, rtol=0)
    torch.testing.assert_close(ours["patches"], theirs["patches"], atol=1e-4, rtol=0)


def test_a_local_norm_is_ignored_and_a_false_copy_is_reported(kit: SimpleNamespace, tmp_path: Path) -> None:
    state = kit.meta_state(kit.huggingface_model(SMALL))
    state |= {"local_cls_norm.weight": torch.ones(64), "local_cls_norm.bias": torch.ones(64)}
    checkpoint = read_state(state, tmp_path / "any.pth")
    assert "local_cls_norm" in texts(checkpoint, "note")
    assert checkpoint.normalisation.name == "SAT-493M"
    state = kit.meta_state(kit.huggingface_model(SMALL_CONVNEXT))
    assert "norms.3" not in texts(read_state(state, tmp_path / "any.pth"), "warning")
    state["norms.3.weight"] = state["norms.3.weight"] + 1
    assert "norms.3.weight should be a copy" in texts(read_state(state, tmp_path / "any.pth"), "warning")
