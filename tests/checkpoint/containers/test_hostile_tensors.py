"""Tensors that are none: needed weights without values, without memory of their own, or of another kind than plain numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from edgec.checkpoint import read
from edgec.checkpoint.containers.tensors import TensorCopier
from edgec.checkpoint.weights.random import random_weights
from edgec.errors import HeadError, MismatchedWeights, UnknownForm
from edgec.heads.reading import read_head
from edgec.model.spec import VitSpec
from edgec.untrusted import Refused

pytestmark = pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
SMALL = VitSpec(64, 2, 1, 128)
NEEDED = ("blocks.1.norm2.bias", "blocks.1.attn.qkv.bias_mask")


def meta_state() -> dict[str, Tensor]:
    """A sound little ViT under Meta's names."""
    state: dict[str, Tensor] = {}
    weights = random_weights(SMALL, 0)
    for name, tensor in weights.items():
        new = name.replace("patch_embed", "patch_embed.proj").replace("registers", "storage_tokens")
        new = new.replace("rope_periods", "rope_embed.periods")
        state[f"{new}.gamma" if new.endswith((".ls1", ".ls2")) else new] = tensor
    for block in range(SMALL.depth):
        start = f"blocks.{block}.attn"
        parts = [state.pop(f"{start}.{part}.weight") for part in "qkv"]
        biases = [state.pop(f"{start}.{part}.bias", torch.zeros(SMALL.width)) for part in "qkv"]
        state[f"{start}.qkv.weight"], state[f"{start}.qkv.bias"] = torch.cat(parts), torch.cat(biases)
        state[f"{start}.qkv.bias_mask"] = torch.ones(3 * SMALL.width)
    return state


def negated(tensor: Tensor) -> Tensor:
    return torch.complex(torch.zeros_like(tensor), tensor).conj().imag


KINDS: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "expanded": (lambda tensor: torch.ones(1).expand(tensor.shape), "4 bytes that are read again and again"),
    "overlapping": (lambda tensor: torch.ones(len(tensor) // 2 + 1).as_strided(tensor.shape, (0,)), "again and again"),
    "sparse": (lambda tensor: tensor.to_sparse(), "a sparse tensor"),
    "quantised": (lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8), "a quantised tensor"),
    "meta": (lambda tensor: tensor.to("meta"), "a meta tensor"),
    "complex": (lambda tensor: tensor.to(torch.complex64), "complex64"),
    "negated": (negated, "neg"),
    "float8": (lambda tensor: tensor.to(torch.float8_e4m3fn), "float8_e4m3fn"),
}


@pytest.mark.parametrize("name", NEEDED)
@pytest.mark.parametrize("kind", KINDS)
def test_a_needed_tensor_that_is_not_plain_is_named_with_what_it_is(kind: str, name: str, tmp_path: Path) -> None:
    change, part = KINDS[kind]
    state = meta_state()
    state[name] = change(state[name])
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(MismatchedWeights) as caught:
        read(str(tmp_path / "weights.pth"))
    assert f"{name} is " in str(caught.value)
    assert part in str(caught.value)


def test_unusable_tensors_are_harmless_if_they_are_not_needed(tmp_path: Path) -> None:
    state = meta_state()
    ones = torch.ones(8)
    for kind, (change, _) in KINDS.items():
        state[f"training.{kind}"] = change(ones)
    torch.save(state, tmp_path / "weights.pth")
    assert read(str(tmp_path / "weights.pth")).spec == SMALL


def test_nested_tensors_are_named(tmp_path: Path) -> None:
    state = meta_state()
    with pytest.warns(UserWarning, match="nested"):
        state[NEEDED[0]] = torch.nested.nested_tensor([torch.ones(64)])
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(MismatchedWeights) as caught:
        read(str(tmp_path / "weights.pth"))
    assert NEEDED[0] in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float8_e5m2, torch.uint16, torch.bool, torch.complex64])
def test_types_of_safetensors_that_are_no_weights(dtype: torch.dtype, tmp_path: Path) -> None:
    state = meta_state()
    state[NEEDED[0]] = torch.zeros(64).to(dtype)
    save_file(state, tmp_path / "weights.safetensors")
    with pytest.raises(MismatchedWeights, match="1 tensor") as caught:
        read(str(tmp_path / "weights.safetensors"))
    assert f"{NEEDED[0]} is " in str(caught.value)


def test_one_storage_is_not_the_weights_of_many_blocks(tmp_path: Path) -> None:
    state = meta_state()
    state["blocks.1.mlp.fc1.weight"] = state["blocks.0.mlp.fc1.weight"]
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(MismatchedWeights, match="1 tensor") as caught:
        read(str(tmp_path / "weights.pth"))
    assert "blocks.1.mlp.fc1.weight is stored in the same 32,768 bytes" in str(caught.value)


def test_parts_of_one_storage_are_weights(tmp_path: Path) -> None:
    """As sharded training keeps them."""
    state = meta_state()
    flat = torch.cat([tensor.flatten() for tensor in state.values()])
    views, start = {}, 0
    for name, tensor in state.items():
        views[name] = flat[start : start + tensor.numel()].view(tensor.shape)
        start += tensor.numel()
    torch.save(views, tmp_path / "weights.pth")
    assert read(str(tmp_path / "weights.pth")).spec == SMALL


@pytest.mark.parametrize("width", [2**22, 2**20 + 64, 4096])
def test_claims_cost_no_memory(width: int, tmp_path: Path) -> None:
    """A kilobyte that claims to be a model of any width, block by block."""
    state = {name: torch.zeros(1).expand(tensor.shape) for name, tensor in meta_state().items()}
    state["patch_embed.proj.weight"] = torch.zeros(1).expand(width, 3, 16, 16)
    for name in state:
        if "norm" in name:
            state[name] = torch.zeros(1).expand(width)
        elif name.endswith("fc1.weight"):
            state[name] = torch.zeros(1).expand(4 * width, width)
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises((MismatchedWeights, UnknownForm)):
        read(str(tmp_path / "weights.pth"))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "overlapping"])
def test_heads_take_tensors_by_the_same_rules(kind: str, tmp_path: Path) -> None:
    change, part = KINDS[kind]
    torch.save({"weight": torch.ones(3, 8), "bias": change(torch.ones(3))}, tmp_path / "head.pth")
    with pytest.raises(HeadError) as caught:
        read_head("floor", tmp_path / "head.pth")
    assert "bias is no plain tensor" in str(caught.value)
    assert part in str(caught.value)


def test_copies_are_counted_against_the_storage() -> None:
    taking, stored = TensorCopier(), torch.arange(8.0)
    half = taking.float32(stored[:4])
    half.zero_()
    assert stored[0:4].tolist() == [0, 1, 2, 3]
    assert taking.float32(stored[4:]).tolist() == [4, 5, 6, 7]
    with pytest.raises(Refused, match="same 32 bytes"):
        taking.float32(stored[:1])


class Tagged(Tensor):
    """A class of its own."""


@pytest.mark.parametrize(
    "tensor",
    [torch.ones(3).to_sparse(), torch.ones(3, device="meta"), torch.ones(1).expand(9), torch.ones(2).as_subclass(Tagged)],
)
def test_copying_checks_tensors_from_any_source(tensor: Tensor) -> None:
    with pytest.raises(Refused, match="no plain tensor"):
        TensorCopier().float32(tensor)
