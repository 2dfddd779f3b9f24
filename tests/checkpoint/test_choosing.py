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
from edgec.model.spec import VitSpec

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
        assert any("shadow_params" in line for line in caught.value.evidence)
    else:
        assert any(torch.equal(token, average["cls_token"].float()) for token in tokens)


def test_copies_are_no_contradiction(states: tuple[State, State, State], tmp_path: Path) -> None:
    raw, _, _ = states
    torch.save({"model": raw, "ema": dict(raw)}, tmp_path / "run.pt")
    checkpoint = read(str(tmp_path / "run.pt"))
    assert any("the same weights stand under" in finding.text for finding in checkpoint.findings)


def test_a_name_twice_but_for_a_wrapper(states: tuple[State, State, State], tmp_path: Path) -> None:
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
