"""What is given for a checkpoint and is something else is named, with what to do about it."""

from __future__ import annotations

import json
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from edgec.checkpoint import identify, read
from edgec.checkpoint.location.source import locate
from edgec.errors import HeadError, UnreadableCheckpoint
from edgec.heads.reading import identify_heads, read_head


def refused(reference: object, *parts: str) -> None:
    for act in (read, identify):
        with pytest.raises(UnreadableCheckpoint) as caught:
            act(str(reference))
        for part in (*parts, "To do:"):
            assert part in str(caught.value)


FILES = {
    "model.gguf": (b"GGUF\x03\x00\x00\x00", "GGUF"),
    "model.h5": (b"\x89HDF\r\n\x1a\n\x00", "HDF5"),
    "model.tflite": (b"\x1c\x00\x00\x00TFL3", "TensorFlow Lite"),
    "model.onnx": (b"\x08\x08\x12\x07pytorch\x1a\x05", "ONNX"),
    "model.bin": (b"\x08\x08\x12\x07pytorch\x1a\x05", "ONNX"),
    "model.engine": (b"ftrt\x00\x00\x00\x00", "TensorRT plan"),
    "model.plan": (b"\x01\x02\x03\x80", "TensorRT plan"),
    "model.mlmodel": (b"\x08\x07\x12\xff", "Core ML"),
    "flax_model.msgpack": (b"\x81\xa6params", "Flax"),
    "graph.pb": (b"\n\x8f\x01\n", "TensorFlow"),
    "model.xml": (b'<?xml version="1.0"?>\n<net name="Model0" version="11">', "OpenVINO"),
    "model.npy": (b"\x93NUMPY\x01\x00", "NumPy array"),
    "model.pth.gz": (b"\x1f\x8b\x08\x00\x00\x00", "gzip"),
    "model.pth.zst": (b"\x28\xb5\x2f\xfd\x00", "zstd"),
    "model.pth.xz": (b"\xfd7zXZ\x00", "xz"),
    "picture.png": (b"\x89PNG\r\n\x1a\n", "picture"),
    "blob.incomplete": (b"\x00\x01\x02\x80", "unfinished download"),
    "__0_0.distcp": (b"PK\x03\x04", "distributed checkpoint"),
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_other_programs(name: str, tmp_path: Path) -> None:
    content, part = FILES[name]
    (tmp_path / name).write_bytes(content + bytes(64))
    refused(tmp_path / name, part)


def test_an_unfinished_download_of_something_sound(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1000)}, tmp_path / "whole")
    (tmp_path / "c0ffee.incomplete").write_bytes((tmp_path / "whole").read_bytes()[:2000])
    refused(tmp_path / "c0ffee.incomplete", "unfinished download", "run the download again")


def test_the_constants_of_an_openvino_model(tmp_path: Path) -> None:
    (tmp_path / "model.xml").write_text("<net/>")
    (tmp_path / "model.bin").write_bytes(b"\x01\x02\x03\x80" * 9)
    refused(tmp_path / "model.bin", "constants of an OpenVINO model")


def _zip(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "content")


ARCHIVES = {
    "TorchScript": ("net/data.pkl", "net/constants.pkl", "net/code/__torch__.py"),
    "torch.export": ("model/archive_format", "model/models/model.json"),
    "Keras": ("config.json", "metadata.json", "model.weights.h5"),
    "Core ML": ("Net.mlpackage/Manifest.json",),
    "other files": ("robot/config.json", "robot/model.safetensors"),
}


@pytest.mark.parametrize("part", ARCHIVES)
def test_archives_of_other_programs(part: str, tmp_path: Path) -> None:
    _zip(tmp_path / "model.zip", *ARCHIVES[part])
    refused(tmp_path / "model.zip", part)


def test_numpy_archives_and_tar_archives(tmp_path: Path) -> None:
    np.savez(tmp_path / "weights.npz", a=np.ones(3))
    refused(tmp_path / "weights.npz", "NumPy")
    save_file({"a": torch.ones(1)}, tmp_path / "model.safetensors")
    with tarfile.open(tmp_path / "model.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
        archive.add(tmp_path / "model.safetensors", "model.safetensors")
    refused(tmp_path / "model.tar", "tar archive", "model.safetensors")


FOLDERS = {
    "distributed checkpoint": (".metadata", "__0_0.distcp", "__1_0.distcp"),
    "DeepSpeed": ("zero_to_fp32.py", "latest"),
    "DeepSpeed ": ("mp_rank_00_model_states.pt", "zero_pp_rank_0_mp_rank_00_optim_states.pt"),
    "SavedModel": ("saved_model.pb", "keras_metadata.pb"),
    "model of TensorFlow": ("config.json", "tf_model.h5"),
    "model of Flax": ("config.json", "flax_model.msgpack"),
    "Orbax": ("_CHECKPOINT_METADATA", "_METADATA"),
    "ONNX": ("model.onnx",),
}


@pytest.mark.parametrize("part", FOLDERS)
def test_folders_of_other_programs(part: str, tmp_path: Path) -> None:
    for name in FOLDERS[part]:
        (tmp_path / name).write_bytes(b"content")
    refused(tmp_path, part.strip())


def cached(root: Path, *commits: str, main: str | None = None) -> Path:
    """A repository in Hugging Face's cache, with the demo's files under each commit."""
    repository = root / "models--robots--tiny-backbone"
    (repository / "blobs").mkdir(parents=True)
    for commit in commits:
        folder = repository / "snapshots" / commit
        folder.mkdir(parents=True)
        for file in locate("demo").path.iterdir():
            (repository / "blobs" / file.name).write_bytes(file.read_bytes())
            (folder / file.name).symlink_to(Path("../../blobs") / file.name)
    (repository / "snapshots").mkdir(exist_ok=True)
    (repository / "refs").mkdir()
    if main is not None:
        (repository / "refs" / "main").write_text(main)
    return repository


def test_a_repository_in_the_hub_cache_means_its_main_commit(tmp_path: Path) -> None:
    repository = cached(tmp_path, "a" * 40, "b" * 40, main="b" * 40)
    checkpoint = read(str(repository))
    assert checkpoint.name == "tiny-backbone"
    assert checkpoint.sha256 == read("demo").sha256
    assert locate(str(repository)).path == repository / "snapshots" / ("b" * 40)


def test_a_repository_with_one_commit_means_that(tmp_path: Path) -> None:
    assert locate(str(cached(tmp_path, "a" * 40))).path.name == "a" * 40


@pytest.mark.parametrize("main", [None, "../../elsewhere", "gone", "\0", "/"])
def test_a_repository_that_does_not_say_lists_its_commits(main: str | None, tmp_path: Path) -> None:
    refused(cached(tmp_path, "a" * 40, "b" * 40, main=main), "a" * 40, "b" * 40, "which of its commits")


def test_a_download_that_did_not_finish(tmp_path: Path) -> None:
    refused(cached(tmp_path), "snapshots is empty")
    folder = tmp_path / "snapshot"
    folder.mkdir()
    (folder / "model.safetensors").symlink_to("../blobs/c0ffee")
    refused(folder, "link to a file that is not there", "../blobs/c0ffee")
    refused(folder / "model.safetensors", "link to a file that is not there")


def test_a_folder_of_snapshots_that_links_to_itself(tmp_path: Path) -> None:
    repository = cached(tmp_path)
    (repository / "snapshots" / ("c" * 40)).symlink_to(repository)
    refused(repository, "holds no checkpoint")


def test_an_index_given_itself_means_its_folder(tmp_path: Path) -> None:
    for file in locate("demo").path.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").rename(tmp_path / "part.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "part.safetensors"}}))
    assert read(str(index)).sha256 == read(str(tmp_path)).sha256
    assert read(str(index)).name == tmp_path.name


@pytest.mark.parametrize(
    ("weight_map", "part"),
    [
        ({f"t{number}": f"{number}.safetensors" for number in range(100_000)}, "more files than any checkpoint"),
        ({"a": "model.safetensors.index.json"}, "names an index"),
        ({"a": "/etc/passwd"}, "not a file in its folder"),
        ({"a": ".."}, "not a file in its folder"),
        ({"a": ""}, "not a file in its folder"),
        ({"a": "n" * 300}, "is not there"),
        ({"a": "\0"}, "is not there"),
        ({"a": "one.safetensors", "b": "two.safetensors"}, "are of the same file"),
    ],
    ids=["100,000 shards", "itself", "absolute", "parent", "nothing", "long", "zero", "twice"],
)
def test_a_forged_index_is_refused(weight_map: dict[str, str], part: str, tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "one.safetensors")
    (tmp_path / "two.safetensors").symlink_to("one.safetensors")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    refused(tmp_path, part)
    refused(tmp_path / "model.safetensors.index.json", part)


def _pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def _loop(path: Path) -> Path:
    path.symlink_to(path)
    return path


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: Path("/dev/zero"),
        lambda folder: _pipe(folder / "pipe.pth"),
        lambda folder: _loop(folder / "loop.pth"),
        lambda folder: folder / ("n" * 300),
        lambda folder: folder.joinpath(*["n"] * 3000),
        lambda folder: Path("~nosuchuser/x.pth"),
        lambda folder: folder / "a\0b.pth",
    ],
    ids=["device", "pipe", "loop", "long name", "long path", "no user", "zero"],
)
def test_names_that_are_no_files(make: Callable[[Path], Path], tmp_path: Path) -> None:
    path = make(tmp_path)
    refused(path)
    with pytest.raises(HeadError) as caught:
        identify_heads([f"floor={path}"])
    assert caught.value.remedy
    with pytest.raises(HeadError):
        read_head("floor", path)


def test_a_head_whose_name_leaves_no_room_for_another(tmp_path: Path) -> None:
    """A name of 254 letters is a file's; with `.data` behind it, it is none."""
    path = tmp_path / f"{'n' * 249}.onnx"
    path.write_bytes(b"\x01")
    assert len(identify_heads([f"floor={path}"])[0][1]) == 64


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(b"\x80")
    (tmp_path / "weights.pth").chmod(0)
    refused(tmp_path / "weights.pth", "Permission denied")
