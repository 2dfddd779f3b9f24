"""Bytes from outside. Every kind of bad file is one clear EdgecError, and nothing in it is ever run."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from edgec.checkpoint import read
from edgec.checkpoint.weights.random import random_weights
from edgec.errors import (
    CheckpointError,
    EdgecError,
    MismatchedWeights,
    NonFiniteWeights,
    UnknownForm,
    UnreadableCheckpoint,
    UnsafeCheckpoint,
)
from edgec.model.spec import ConvNextSpec, VitSpec

SMALL = VitSpec(64, 3, 1, 128)
State = dict[str, Tensor]


def huggingface_state() -> State:
    """A sound little ViT under Hugging Face's names."""
    names = (
        ("blocks.", "layer."),
        (".ls1", ".layer_scale1.lambda1"),
        (".ls2", ".layer_scale2.lambda1"),
        ("attn.proj", "attention.o_proj"),
        ("attn.q", "attention.q_proj"),
        ("attn.k", "attention.k_proj"),
        ("attn.v", "attention.v_proj"),
        ("mlp.fc1", "mlp.up_proj"),
        ("mlp.fc2", "mlp.down_proj"),
        ("patch_embed", "embeddings.patch_embeddings"),
        ("cls_token", "embeddings.cls_token"),
        ("registers", "embeddings.register_tokens"),
    )
    state: State = {}
    for name, tensor in random_weights(SMALL, 0).items():
        if name != "rope_periods":
            new = name
            for ours, theirs in names:
                new = new.replace(ours, theirs)
            state[new] = tensor
    return state


def refused(path: Path, kind: type[EdgecError], *parts: str) -> EdgecError:
    """Reading `path` fails with exactly this kind of error, whose text has these parts."""
    with pytest.raises(EdgecError) as caught:
        read(str(path))
    assert type(caught.value) is kind, str(caught.value)
    for part in parts:
        assert part in str(caught.value)
    return caught.value


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


class Payload:
    """Would create a file when unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.target),)


def _zip_save(value: object, path: Path) -> None:
    torch.save(value, path)


def _legacy_save(value: object, path: Path) -> None:
    torch.save(value, path, _use_new_zipfile_serialization=False)


def _pickle(protocol: int) -> Callable[[object, Path], None]:
    return lambda value, path: written(path, pickle.dumps(value, protocol)) and None


@pytest.mark.parametrize(
    "save",
    [_zip_save, _legacy_save, _pickle(2), _pickle(4), _pickle(5)],
    ids=["zip", "legacy", "pickle 2", "pickle 4", "pickle 5"],
)
@pytest.mark.parametrize("suffix", [".pth", ".bin", ".safetensors"])
def test_a_pickle_that_wants_to_run_code_is_named_and_not_run(
    save: Callable[[object, Path], None], suffix: str, tmp_path: Path
) -> None:
    target, path = tmp_path / "created", tmp_path / f"evil{suffix}"
    save({"norm.weight": torch.ones(2), "extra": Payload(target)}, path)
    refused(path, UnsafeCheckpoint, "mkdir", "not run")
    assert not target.exists()


def test_a_whole_module_is_unsafe_and_named(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "module.pth")
    refused(tmp_path / "module.pth", UnsafeCheckpoint, "torch.nn.modules.linear.Linear", "state_dict")


def test_the_old_tar_format_is_not_opened(tmp_path: Path) -> None:
    target = tmp_path / "created"
    with tarfile.open(tmp_path / "old.pth", "w") as archive:
        content = pickle.dumps(Payload(target))
        entry = tarfile.TarInfo("pickle")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    refused(tmp_path / "old.pth", UnreadableCheckpoint, "tar format")
    assert not target.exists()


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "empty (0 bytes)"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 86000000\n", "Git LFS pointer"),
        (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "web page"),
        (b"just some notes\n", "text file"),
        (b"\x00\x01\x02\x03" * 64, "no format of weights"),
        (b"\x1f\x8b\x08" + b"\x00" * 64, "compressed with gzip"),
        (b"PK\x03\x04", "damaged"),
        (b"\x80", "damaged"),
        (b"\x80\x02}q\x00", "damaged"),
        (b"\x80\x02]q\x00.", "damaged"),
    ],
    ids=["empty", "lfs", "html", "text", "noise", "gzip", "zip head", "pickle head", "cut pickle", "list"],
)
@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_files_that_are_no_weights_say_what_they_are(content: bytes, part: str, name: str, tmp_path: Path) -> None:
    refused(written(tmp_path / name, content), UnreadableCheckpoint, part)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.999])
@pytest.mark.parametrize("save", [_zip_save, _legacy_save, save_file], ids=["zip", "legacy", "safetensors"])
def test_truncated_files(share: float, save: Callable[[object, Path], None], tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    save(huggingface_state(), path)
    content = path.read_bytes()
    refused(written(path, content[: int(len(content) * share)]), UnreadableCheckpoint, "damaged")


def test_damage_anywhere_is_an_edgec_error_or_none(tmp_path: Path) -> None:
    """Bytes overwritten at many places: the reader either still reads, or says so; it never fails in another way."""
    state, refusals = huggingface_state(), 0
    for number, save in enumerate((_zip_save, _legacy_save, save_file)):
        path = tmp_path / f"{number}.pth"
        save(state, path)
        content = path.read_bytes()
        generator = torch.Generator().manual_seed(number)
        for _ in range(25):
            damaged = bytearray(content)
            # Half of the hits go to the first and last kilobytes, where the structure is.
            for _ in range(4):
                where = int(torch.randint(len(content), (), generator=generator))
                where = where if where % 2 else (where % 4096) * (1 if where % 4 else -1)
                damaged[where] = int(torch.randint(256, (), generator=generator))
            path.write_bytes(damaged)
            try:
                read(str(path))
            except CheckpointError:
                refusals += 1
    assert refusals > 20


def _safetensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


@pytest.mark.parametrize(
    "content",
    [
        _safetensors({}, length=1 << 60),
        _safetensors({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}),
        _safetensors({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, b"\x00" * 8),
        _safetensors({"a": {"dtype": "F32", "shape": [4], "data_offsets": [-4, 12]}}, b"\x00" * 16),
        _safetensors({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 16]}}, b"\x00" * 16),
        _safetensors({"__metadata__": [1], "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"\x00" * 4),
        _safetensors({"a": {"dtype": "X99", "shape": [1], "data_offsets": [0, 4]}}, b"\x00" * 4),
        _safetensors({"a": 3}),
        _safetensors(b'{"a": '),
        _safetensors({}),
    ],
    ids=["length", "outside", "short", "negative", "size", "metadata", "dtype", "entry", "json", "no tensors"],
)
def test_safetensors_with_false_headers(content: bytes, tmp_path: Path) -> None:
    refused(written(tmp_path / "weights.safetensors", content), UnreadableCheckpoint)


def test_a_header_length_that_begins_as_a_pickle_does(tmp_path: Path) -> None:
    path, state = tmp_path / "weights.safetensors", huggingface_state()
    for padding in range(0, 256, 8):
        save_file(state, path, metadata={"note": "x" * padding})
        with path.open("rb") as file:
            first = file.read(1)
        if first == b"\x80":
            break
    assert first == b"\x80"
    assert read(str(path)).spec == SMALL


def test_a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", b"\x00" * (8 << 20))
    refused(tmp_path / "bomb.pth", UnreadableCheckpoint, "compressed")


@pytest.mark.parametrize("value", [torch.ones(3), [torch.ones(3)], {"a": 1}, {}], ids=["tensor", "list", "numbers", "nothing"])
def test_torch_files_without_named_tensors(value: object, tmp_path: Path) -> None:
    torch.save(value, tmp_path / "weights.pth")
    refused(tmp_path / "weights.pth", UnreadableCheckpoint, "tensors")


def test_a_dictionary_that_holds_itself_is_read_once(tmp_path: Path) -> None:
    state: dict[str, object] = {"model": dict(huggingface_state())}
    state["again"] = state
    torch.save(state, tmp_path / "weights.pth")
    assert read(str(tmp_path / "weights.pth")).spec == SMALL


def _without_block(state: State) -> None:
    for name in [name for name in state if name.startswith("layer.1.")]:
        del state[name]


def _without_blocks(state: State) -> None:
    for name in [name for name in state if name.startswith("layer.")]:
        del state[name]


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda state: state.pop("norm.bias"), ("RMSNorm",)),
        (lambda state: state.pop("layer.1.norm1.weight"), ("layer.1.norm1.weight is missing", "needed 64")),
        (_without_block, ("Block 1 is missing",)),
        (_without_blocks, ("no blocks",)),
        (
            lambda state: state.update({"layer.0.mlp.up_proj.weight": torch.ones(127, 64)}),
            ("layer.0.mlp.up_proj.weight is 127x64", "needed 128x64"),
        ),
        (lambda state: state.update({"embeddings.cls_token": torch.ones(64)}), ("embeddings.cls_token is 64", "1x1x64")),
        (lambda state: state.update({"embeddings.register_tokens": torch.ones(4)}), ("registers",)),
        (lambda state: state.update({"embeddings.patch_embeddings.weight": torch.ones(64, 1, 16, 16)}), ("RGB",)),
        (lambda state: state.update({"embeddings.patch_embeddings.weight": torch.ones(64, 3, 16, 8)}), ("square",)),
        (lambda state: state.update({"embeddings.patch_embeddings.weight": torch.ones(0, 3, 16, 16)}), ("patch",)),
        (
            lambda state: state.update({"layer.2.norm2.bias": torch.ones(64, dtype=torch.int8)}),
            ("layer.2.norm2.bias is int8", "float32"),
        ),
        (lambda state: state.update({"layer.2.norm2.bias": torch.ones(64).to_sparse()}), ("no plain tensor",)),
        (lambda state: state.update({"layer.1.attention.q_norm.weight": torch.ones(64)}), ("does not have", "q_norm")),
        (lambda state: state.update({"layer.12345678901.norm1.weight": torch.ones(64)}), ("block number",)),
    ],
    ids=[
        "rms norm",
        "missing tensor",
        "missing block",
        "no block",
        "shape",
        "rank",
        "registers",
        "grey",
        "oblong",
        "empty",
        "integers",
        "sparse",
        "extra in block",
        "block number",
    ],
)
def test_weights_that_do_not_fit(change: Callable[[State], object], parts: tuple[str, ...], tmp_path: Path) -> None:
    state = huggingface_state()
    change(state)
    torch.save(state, tmp_path / "weights.pth")
    refused(tmp_path / "weights.pth", UnknownForm if "RMSNorm" in parts else MismatchedWeights, *parts)


def test_many_mistakes_are_reported_together_and_cut_at_eight(tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in huggingface_state().items() if "norm1" not in name and "norm2" not in name}
    torch.save(state, tmp_path / "weights.pth")
    error = refused(tmp_path / "weights.pth", MismatchedWeights, "12 tensors", "and 4 more")
    assert len(error.evidence) == 9


def test_nan_and_infinity_are_named_counted_and_placed(tmp_path: Path) -> None:
    state = huggingface_state()
    state["layer.1.mlp.up_proj.weight"][3, 5] = float("nan")
    state["layer.1.mlp.up_proj.weight"][9, 0] = float("inf")
    state["norm.weight"][7] = float("-inf")
    torch.save(state, tmp_path / "weights.pth")
    error = refused(tmp_path / "weights.pth", NonFiniteWeights, "1 NaN and 1 Inf of 8,192", "[3, 5]")
    assert [fact.split(":")[0] for fact in error.evidence] == ["layer.1.mlp.up_proj.weight", "norm.weight"]


def test_names_cannot_steer_a_terminal(tmp_path: Path) -> None:
    torch.save(huggingface_state() | {"\x1b[2Jfresh\nstart": torch.ones(1)}, tmp_path / "weights.pth")
    warnings = [finding.text for finding in read(str(tmp_path / "weights.pth")).findings if "unexpected" in finding.text]
    assert warnings == ["1 unexpected tensor ignored: \\x1b[2Jfresh\\nstart"]


def test_a_seven_billion_parameter_teacher_is_recognised_before_it_is_copied(tmp_path: Path) -> None:
    def claimed(*shape: int) -> Tensor:
        return torch.zeros(1).expand(shape)

    state = {"patch_embed.proj.weight": claimed(4096, 3, 16, 16), "storage_tokens": claimed(1, 4, 4096)}
    state |= {f"blocks.{block}.norm1.weight": claimed(4096) for block in range(40)}
    state |= {f"blocks.{block}.mlp.w1.weight": claimed(8192, 4096) for block in range(40)}
    state |= {"norm.weight": claimed(4096), "norm.bias": claimed(4096)}
    torch.save(state, tmp_path / "weights.pth")
    refused(tmp_path / "weights.pth", UnknownForm, "7B teacher", "6.7 billion")


def test_a_convnext_of_another_make(tmp_path: Path) -> None:
    def stored(name: str) -> str:
        name = name.replace(".blocks.", ".layers.").replace("dwconv", "depthwise_conv")
        name = name.replace("fc1", "pointwise_conv1").replace("fc2", "pointwise_conv2").replace(".norm.", ".layer_norm.")
        for stage in range(4):
            first, second = ("0", "1") if stage == 0 else ("1", "0")
            name = name.replace(f"stages.{stage}.downsample.", f"stages.{stage}.downsample_layers.{first}.")
            name = name.replace(f"stages.{stage}.downsample_norm.", f"stages.{stage}.downsample_layers.{second}.")
        return f"layer_norm.{name.removeprefix('norm.')}" if name.startswith("norm.") else name

    spec = ConvNextSpec((1, 1, 2, 1), (8, 16, 24, 32))
    state = {stored(name): tensor for name, tensor in random_weights(spec, 0).items()}
    torch.save(state, tmp_path / "good.pth")
    assert read(str(tmp_path / "good.pth")).spec == spec
    for name, change, part in (
        ("three.pth", lambda key: not key.startswith("stages.3.layers"), "3 stages"),
        ("hole.pth", lambda key: not key.startswith("stages.2.layers.0."), "Block 0 of stage 2 is missing"),
    ):
        torch.save({key: tensor for key, tensor in state.items() if change(key)}, tmp_path / name)
        refused(tmp_path / name, MismatchedWeights, part)
    torch.save(state | {"stages.0.layers.0.grn.weight": torch.ones(32)}, tmp_path / "v2.pth")
    refused(tmp_path / "v2.pth", MismatchedWeights, "grn.weight")
