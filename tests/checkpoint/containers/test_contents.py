"""What is read of a file is what torch reads of it, and what its writer said beside the tensors is heard."""

from __future__ import annotations

import argparse
import collections
import datetime
import pathlib
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from edgec.checkpoint.containers.files import load
from edgec.checkpoint.containers.tensors import reason_of
from edgec.errors import UnreadableCheckpoint, UnsafeCheckpoint

FORMATS: dict[str, dict[str, Any]] = {
    "zip": {},
    "zip of protocol 4": {"pickle_protocol": 4},
    "zip of protocol 5": {"pickle_protocol": 5},
    "before 1.6": {"_use_new_zipfile_serialization": False},
    "before 1.6, protocol 3": {"_use_new_zipfile_serialization": False, "pickle_protocol": 3},
}


def tensors_of_every_kind() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    plain = torch.randn(6, 4, generator=generator)
    flat = torch.randn(40, generator=generator)
    tagged = torch.nn.Parameter(torch.randn(3, generator=generator))
    tagged.is_first = True  # type: ignore[attr-defined]
    return {
        "plain": plain,
        "again": plain,
        "transposed": plain.t(),
        "rows": plain[2:5],
        "every other": plain[:, ::2],
        "slices.0": flat[:16].view(4, 4),
        "slices.1": flat[16:36].view(5, 4),
        "scalar": torch.tensor(3.5),
        "none": torch.ones(0, 3),
        "parameter": nn.Parameter(torch.randn(2, 2, generator=generator)),
        "tagged": tagged,
        **{
            str(dtype): (plain * 9).to(dtype)
            for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int8, torch.uint8)
        },
        "bool": plain > 0,
    }


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_tensors_are_those_that_torch_reads(options: dict[str, Any], tmp_path: Path) -> None:
    path, saved = tmp_path / "weights.pth", tensors_of_every_kind()
    torch.save({"model": saved, "epoch": 3}, path, **options)
    contents = load([path])
    expected = torch.load(path, weights_only=False)["model"]
    assert contents.tensors.keys() == {f"model.{name}" for name in saved}
    for name, tensor in expected.items():
        ours = contents.tensors[f"model.{name}"]
        assert (ours.dtype, ours.shape, ours.stride()) == (tensor.dtype, tensor.shape, tensor.stride()), name
        assert torch.equal(ours, tensor), name
    assert contents.statements == {"epoch": 3}


def test_safetensors_are_those_that_the_library_reads(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    saved = {name: tensor.detach().clone().contiguous() for name, tensor in tensors_of_every_kind().items()}
    for padding in ("", "x", "xyz"):  # tensors lie wherever the header ends
        save_file(saved, path, metadata={"format": "pt", "note": padding})
        contents = load([path])
        assert contents.tensors.keys() == saved.keys()
        assert all(torch.equal(contents.tensors[name], tensor) for name, tensor in saved.items())
        assert contents.statements == {"__metadata__": {"format": "pt", "note": padding}}


def test_writing_to_a_tensor_does_not_change_the_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.ones(1000)}, path)
    before = path.read_bytes()
    load([path]).tensors["a"].zero_()
    assert path.read_bytes() == before


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_what_trainers_store_becomes_statements(options: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    args = argparse.Namespace(arch="vit_small", lr=1e-3, out=pathlib.PosixPath("/runs/3"), none=None)
    torch.save(
        {
            "model": {"w": torch.ones(2)},
            "args": args,
            "more": types.SimpleNamespace(inner=args),
            "image_normalize": {"mean": (0.5, 0.4, 0.3), "std": np.array([0.1, 0.2, 0.3], np.float32).astype(np.float64)},
            "flags": [True, None, 2, "three", 4.5],
            "loss": np.float64(0.25),
            "steps": np.int64(7),
            "counts": collections.Counter("aab"),
            "logs": collections.defaultdict(list, {"a": [1]}),
            "ordered": collections.OrderedDict(x=1),
            "queue": collections.deque([1, 2]),
            "names": {"one"},
            "shape": torch.Size([1, 2]),
            "dtype": torch.float16,
            "device": torch.device("cuda", 1),
            "torch": torch.torch_version.TorchVersion("2.1.0"),
            "when": datetime.datetime(2026, 1, 1),
            "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1, "params": [0, 1]}]},
            "empty": {},
            "seed": 2**80,
            "history": list(range(5000)),
        },
        path,
        **options,
    )
    contents = load([path])
    said = {"arch": "vit_small", "lr": 1e-3, "out": "/runs/3", "none": None}
    assert contents.statements == {
        "args": said,
        "more": {"inner": said},
        "image_normalize": {"mean": [0.5, 0.4, 0.3], "std": pytest.approx([0.1, 0.2, 0.3])},
        "flags": [True, None, 2, "three", 4.5],
        "loss": 0.25,
        "steps": 7,
        "counts": {"a": 2, "b": 1},
        "logs": {"a": [1]},
        "ordered": {"x": 1},
        "queue": [1, 2],
        "names": ["one"],
        "shape": [1, 2],
        "dtype": "torch.float16",
        "device": "cuda:1",
        "torch": "2.1.0",
        "optimizer": {"param_groups": [{"lr": 0.1, "params": [0, 1]}]},
        "empty": {},
    }
    assert contents.tensors.keys() == {"model.w", "optimizer.state.0.step"}


def test_statements_of_shards_come_together(tmp_path: Path) -> None:
    paths = [tmp_path / "0.safetensors", tmp_path / "1.pth"]
    save_file({"a": torch.ones(1)}, paths[0], metadata={"format": "pt"})
    torch.save({"b": torch.ones(1), "epoch": 4}, paths[1])
    contents = load(paths)
    assert contents.tensors.keys() == {"a", "b"}
    assert contents.statements == {"__metadata__": {"format": "pt"}, "epoch": 4}


class Config(dict[str, int]):
    """A class of a trainer's own."""


def test_objects_of_a_trainers_own_classes_are_refused_by_name(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(1), "config": Config(a=1)}, tmp_path / "weights.pth")
    with pytest.raises(UnsafeCheckpoint, match=r"Config when it is opened"):
        load([tmp_path / "weights.pth"])


def test_a_tensor_without_values_has_its_shape_and_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"sparse": torch.eye(3).to_sparse(), "wide": torch.ones(1).expand(7, 9), "good": torch.ones(2)}, path)
    tensors = load([path]).tensors
    assert (tensors["sparse"].shape, tensors["wide"].shape) == ((3, 3), (7, 9))
    assert all(tensors[name].device.type == "meta" for name in ("sparse", "wide"))
    assert "sparse" in reason_of(tensors["sparse"])
    assert "expanded" in reason_of(tensors["wide"])
    assert not reason_of(tensors["good"])
    assert torch.equal(tensors["good"], torch.ones(2))


def test_one_name_of_two_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"a": {"b": torch.ones(1)}, "a.b": torch.zeros(1)}, tmp_path / "weights.pth")
    with pytest.raises(UnreadableCheckpoint, match="damaged") as caught:
        load([tmp_path / "weights.pth"])
    assert "two tensors named 'a.b'" in str(caught.value)
