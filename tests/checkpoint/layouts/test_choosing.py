"""Several sets of weights in one file or folder: the build stops, lists them, and says how to choose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from edgec.checkpoint import read
from edgec.errors import AmbiguousCheckpoint, UnknownForm
from edgec.model.spec import ConvNextSpec, VitSpec

STUDENT, TEACHER = VitSpec(192, 1, 3, 384), VitSpec(384, 2, 6, 768)
State = dict[str, Tensor]


@pytest.fixture
def states(kit: SimpleNamespace) -> tuple[State, State, State]:
    """A student, another of its form (its average, say), and a larger teacher; Meta's names."""
    raw, teacher = (kit.meta_state(kit.huggingface_model(spec)) for spec in (STUDENT, TEACHER))
    return raw, {name: tensor * 1.01 if tensor.is_floating_point() else tensor for name, tensor in raw.items()}, teacher


def under(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def test_a_distillation_does_not_ship_its_teacher(states: tuple[State, State, State], tmp_path: Path) -> None:
    raw, average, teacher = states
    file = {"student": under("backbone.", raw), "model_ema": under("backbone.", average), "teacher": under("backbone.", teacher)}
    torch.save(file, tmp_path / "run.pth")
    with pytest.raises(AmbiguousCheckpoint) as caught:
        read(str(tmp_path / "run.pth"))
    text = str(caught.value)
    for part in ("--weights student: ViT, 192 wide", "--weights model_ema: ViT, 192 wide", "--weights teacher: ViT, 384 wide"):
        assert part in text
    for choice, expected in (("student", raw), ("model_ema", average), ("ema", average), ("teacher", teacher)):
        weights = read(str(tmp_path / "run.pth"), weights=choice).weights
        assert torch.equal(weights["cls_token"], expected["cls_token"].float())
    with pytest.raises(AmbiguousCheckpoint, match="names none"):
        read(str(tmp_path / "run.pth"), weights="swa")


LAYOUTS: dict[str, Callable[[State, State], dict[str, Any]]] = {
    "timm": lambda raw, ema: {"state_dict": raw, "state_dict_ema": ema, "epoch": 3},
    "lightly-train": lambda raw, ema: {"train_model": under("model.", raw) | under("ema_model.model.", ema)},
    "lightning": lambda raw, ema: {"state_dict": under("model.", raw) | under("ema.module.", ema)},
    "averaged-model": lambda raw, ema: {"model": raw, "swa_model": under("module.", ema) | {"n_averaged": torch.tensor(3)}},
    "mmengine": lambda raw, ema: {"state_dict": under("backbone.", raw), "ema_state_dict": under("module.backbone.", ema)},
    "detectron": lambda raw, ema: {"model": raw, "ema_state": ema},
    "ema-pytorch": lambda raw, ema: under("online_model.", raw) | under("ema_model.", ema),
    "yolo": lambda raw, ema: {"model": raw, "ema": ema},
    "composer": lambda raw, ema: {"state": {"model": raw, "algorithms": {"EMA": {"ema_model": ema}}}},
    "top": lambda raw, ema: raw | under("ema.", ema),
    "diffusers": lambda raw, ema: {"model": raw, "ema": {"decay": 0.999, "shadow_params": list(ema.values())}},
    "torch-ema": lambda raw, ema: {
        "model": raw,
        "ema": {"num_updates": 3, "collected_params": None, "shadow_params": [*ema.values()]},
    },
    "ema-models": lambda raw, ema: {"model": raw, "ema_models": [ema]},
    "composer-list": lambda raw, ema: {"state": {"model": raw, "algorithms": [("EMA", {"ema_model": {"parameters": ema}})]}},
    "callback": lambda raw, ema: {"state_dict": raw, "callbacks": {"EMACallback": {"weights": list(ema.values())}}},
    "camel": lambda raw, ema: {"model": raw, "modelEma": list(ema.values())},
    "in-the-optimiser": lambda raw, ema: {"state_dict": raw, "optimizer_states": [{"ema": list(ema.values()), "state": {}}]},
    "without-dots": lambda raw, ema: under("model.", raw) | {"model_ema." + n.replace(".", ""): t for n, t in ema.items()},
    "of-what-was-trained": lambda raw, ema: {
        "model": raw,
        "ema": {name: tensor for name, tensor in ema.items() if name.startswith("blocks.0")},
    },
    "far-down": lambda raw, ema: {"model": raw, "a": {"b": {"c": {"d": {"e": {"f": {"g": {"ema": ema}}}}}}}},
    "target-encoder": lambda raw, ema: under("encoder.", raw) | under("target_encoder.", ema),
    "fsdp": lambda raw, ema: {"model": under("_fsdp_wrapped_module.", raw), "averaged": under("_orig_mod.", ema)},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_raw_weights_beside_averaged_ones(layout: str, states: tuple[State, State, State], tmp_path: Path) -> None:
    raw, average, _ = states
    torch.save(LAYOUTS[layout](raw, average), tmp_path / "run.pt")
    with pytest.raises(AmbiguousCheckpoint) as caught:
        read(str(tmp_path / "run.pt"))
    choices = [line.split(":")[0].removeprefix("--weights ") for line in caught.value.evidence if line.startswith("--weights")]
    assert choices
    tokens = [read(str(tmp_path / "run.pt"), weights=choice).weights["cls_token"] for choice in choices]
    assert any(torch.equal(token, raw["cls_token"].float()) for token in tokens)
    if len(choices) == 1:
        assert any("cannot read" in line for line in caught.value.evidence)
    else:
        assert any(torch.equal(token, average["cls_token"].float()) for token in tokens)


@pytest.mark.parametrize("student", ["resnet", "dinov2"])
def test_a_student_of_another_architecture_is_not_replaced_by_its_teacher(
    student: str, states: tuple[State, State, State], tmp_path: Path
) -> None:
    raw, _, teacher = states
    own = {f"layer{n}.0.conv1.weight": torch.zeros(4, 4, 3, 3) for n in range(1, 5)}
    own = own if student == "resnet" else raw | {"pos_embed": torch.zeros(1, 5, 192)}
    torch.save(under("student.", own) | under("teacher.", teacher), tmp_path / "run.pth")
    with pytest.raises(AmbiguousCheckpoint, match=r"student: .* of another architecture"):
        read(str(tmp_path / "run.pth"))
    assert read(str(tmp_path / "run.pth"), weights="teacher").spec.width == 384  # type: ignore[union-attr]


def test_heads_and_counters_beside_a_backbone_raise_no_question(states: tuple[State, State, State], tmp_path: Path) -> None:
    raw, _, _ = states
    head = {"dino_head.mlp.0.weight": torch.zeros(4, 4), "dino_head.last_layer.weight": torch.zeros(4, 4)}
    torch.save(
        {
            "teacher": under("backbone.", raw),
            "student": head,
            "ema": {"decay": torch.tensor(0.9), "head.weight": torch.zeros(2, 192)},
            "dino_loss": {"center_ema": torch.zeros(1, 64)},
            "optimizer": [{"state": {0: {"exp_avg": torch.zeros(192, 192)}}}],
        },
        tmp_path / "run.pth",
    )
    assert read(str(tmp_path / "run.pth")).spec.width == 192  # type: ignore[union-attr]


def test_a_shared_tensor_under_its_other_name(kit: SimpleNamespace, tmp_path: Path) -> None:
    state = kit.meta_state(kit.huggingface_model(ConvNextSpec((1, 1, 1, 1), (32, 64, 96, 128))))
    shared = {f"norm.{kind}": f"norms.3.{kind}" for kind in ("weight", "bias")}
    expected = [state.pop(name) for name in shared]
    save_file(state, tmp_path / "a.safetensors", metadata=shared)  # as safetensors' save_model does
    weights = read(str(tmp_path / "a.safetensors")).weights
    assert all(torch.equal(weights[name], tensor) for name, tensor in zip(shared, expected, strict=True))


def test_identical_copies_are_accepted(states: tuple[State, State, State], tmp_path: Path) -> None:
    raw, _, _ = states
    torch.save({"model": raw, "ema": dict(raw)}, tmp_path / "run.pt")
    checkpoint = read(str(tmp_path / "run.pt"))
    assert any("the same weights are stored as" in finding.text for finding in checkpoint.findings)


def test_weights_with_and_without_a_wrapper_are_refused(states: tuple[State, State, State], tmp_path: Path) -> None:
    raw, average, _ = states
    torch.save(raw | under("module.", average), tmp_path / "run.pt")
    with pytest.raises(UnknownForm, match="twice"):
        read(str(tmp_path / "run.pt"))


def test_an_adapter_beside_its_base(kit: SimpleNamespace, tmp_path: Path) -> None:
    kit.huggingface_model(STUDENT).save_pretrained(tmp_path)
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "."}')
    save_file({"base_model.model.layer.0.attention.q_proj.lora_A.weight": torch.zeros(2)}, tmp_path / "adapter_model.safetensors")
    for reference in (tmp_path, tmp_path / "model.safetensors"):
        with pytest.raises(UnknownForm, match="adapter"):
            read(str(reference))
        assert read(str(reference), weights="base").spec.width == 192  # type: ignore[union-attr]


def test_several_files_of_weights_in_a_folder(kit: SimpleNamespace, tmp_path: Path) -> None:
    model = kit.huggingface_model(STUDENT)
    model.save_pretrained(tmp_path)
    torch.save({"step": torch.zeros(1)}, tmp_path / "optimizer.pt")
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    assert read(str(tmp_path)).spec.width == 192  # type: ignore[union-attr]
    torch.save({name: tensor * 2 for name, tensor in model.state_dict().items()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(AmbiguousCheckpoint, match="differ"):
        read(str(tmp_path))
    (tmp_path / "pytorch_model.bin").rename(tmp_path / "model_ema.bin")
    with pytest.raises(AmbiguousCheckpoint, match="several sets") as caught:
        read(str(tmp_path))
    assert "model_ema.bin" in str(caught.value)
    assert torch.equal(read(str(tmp_path / "model_ema.bin")).weights["cls_token"], model.state_dict()["embeddings.cls_token"] * 2)
