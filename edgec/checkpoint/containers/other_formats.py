"""Files and folders that are not checkpoints that edgec reads: each is named, with what to do about it."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from edgec.errors import UnreadableCheckpoint
from edgec.records.report import SWEEP
from edgec.text import counted, listed, shown
from edgec.untrusted import is_file

AGAIN = "download or copy it again, and compare its SHA-256 with the publisher's"
_WEIGHTS = "give the PyTorch weights that it was made from: .pth, .pt, .bin or .safetensors"
_UNPACK = "unpack it and give the checkpoint inside"
_CONVERT = "convert it to PyTorch with transformers' from_pretrained(…, {}=True) and save_pretrained, and give that folder"
_BEGINNINGS = (
    (0, b"GGUF", "a GGUF file of llama.cpp", _WEIGHTS),
    (0, b"lmgg", "a GGML file", _WEIGHTS),
    (0, b"tjgg", "a GGML file", _WEIGHTS),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras and TensorFlow write it", _CONVERT.format("from_tf")),
    (4, b"TFL3", "a TensorFlow Lite model", _WEIGHTS),
    (4, b"ET1", "an ExecuTorch program", _WEIGHTS),
    (0, b"ftrt", "a TensorRT plan", _WEIGHTS),
    (0, b"ptrt", "a TensorRT plan", _WEIGHTS),
    (0, b"\x93NUMPY", "a NumPy array", "save the backbone's state_dict with torch.save"),
    (0, b"\x1f\x8b", "compressed with gzip", _UNPACK),
    (0, b"BZh", "compressed with bzip2", _UNPACK),
    (0, b"\xfd7zXZ", "compressed with xz", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "compressed with zstd", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (0, b"Rar!", "a RAR archive", _UNPACK),
    (0, b"PK\x05\x06", "an empty zip archive", AGAIN),
    (0, b"\x89PNG", "a picture", "give a file of weights"),
    (0, b"\xff\xd8\xff", "a picture", "give a file of weights"),
    (0, b"%PDF", "a PDF document", "give a file of weights"),
)
_TAKES_ONNX = f"`edgec check` says what TensorRT makes of it, and a head may be one: --head NAME=PATH; to build, {_WEIGHTS}"
_TAKES_IR = f"`edgec verify`, `run` and `bench` take the artefact's folder that it is in; to build, {_WEIGHTS}"
_TAKES_ARTEFACT = (
    "`edgec verify`, `run`, `bench`, `explain`, `compare` and `deploy` take it; to build, give the checkpoint that it is from"
)
_TAKES_REPORT = "`edgec compare` and `edgec report` take it; to build, give a file of weights"
_OWN_DOCUMENTS = (
    (b'"build_key"', "the manifest of an artefact", "give the folder that it is in to `edgec verify`, `run` or `bench`"),
    (b'"fps"', "the report of a sweep", "give the folder that it is in to `edgec report`"),
    (b'"schema_version"', "a report of edgec", _TAKES_REPORT),
)
"""By a key near the beginning of edgec's JSON files: what each is, and what takes it."""
_SUFFIXES = {
    ".edgec-bundle": ("a signed bundle of an artefact", "`edgec verify` and `edgec deploy` take it, with --trust KEY.pub"),
    ".onnx": ("an ONNX model", _TAKES_ONNX),
    ".engine": ("a TensorRT plan", _WEIGHTS),
    ".plan": ("a TensorRT plan", _WEIGHTS),
    ".trt": ("a TensorRT plan", _WEIGHTS),
    ".mlmodel": ("a Core ML model", _WEIGHTS),
    ".msgpack": ("weights of Flax", _CONVERT.format("from_flax")),
    ".pb": ("a TensorFlow graph", _CONVERT.format("from_tf")),
    ".index": ("a part of a TensorFlow checkpoint", _CONVERT.format("from_tf")),
}
UNFINISHED = (".incomplete", ".part", ".partial", ".crdownload", ".aria2", ".tmp", ".download")
_ONNX = re.compile(rb"\x08[\x01-\x20](\x12.(pytorch|tf2onnx|onnx|keras|skl2onnx|edgec)|:|\x1a)", re.DOTALL)
_TORCH_TAR = ("sys_info", "pickle", "tensors", "storages")
_DCP = "python -m torch.distributed.checkpoint.format_utils dcp_to_torch {} weights.pth"


def lone_shard(path: Path) -> UnreadableCheckpoint:
    """The error for one file of a distributed checkpoint."""
    return UnreadableCheckpoint(
        f"{shown(path)} is one shard of a distributed checkpoint (DCP), of which every process wrote its own.",
        evidence="its name ends in .distcp",
        remedy=f"make one file of its folder: {_DCP.format(shown(path.parent))}",
    )


def file_of_another_kind(path: Path, head: bytes, size: int) -> UnreadableCheckpoint | None:
    """The error that names a file's format, by its first 512 bytes and its name; None if the format is unknown."""
    name = shown(path)
    if path.suffix.lower() in UNFINISHED:
        return UnreadableCheckpoint(
            f"{name} is an unfinished download.", evidence=f"{size:,} bytes are there", remedy="run the download again"
        )
    if head.startswith(b"version https://git-lfs"):
        return UnreadableCheckpoint(
            f"{name} is a Git LFS pointer, not the weights.",
            evidence=f"{counted(size, 'byte')} of text",
            remedy="run `git lfs pull` in the repository that it came from",
        )
    if head[257:262] == b"ustar" and path.suffix.lower() not in _SUFFIXES:
        return _tar(name, head)
    for place, beginning, what, remedy in _BEGINNINGS:
        if head[place:].startswith(beginning):
            return UnreadableCheckpoint(
                f"{name} is {what}, not a checkpoint.", evidence=f"begins with the bytes {head[:8].hex(' ')}", remedy=remedy
            )
    if path.suffix.lower() in _SUFFIXES:
        what, remedy = _SUFFIXES[path.suffix.lower()]
        return UnreadableCheckpoint(f"{name} is {what}, not a checkpoint.", evidence="its name says so", remedy=remedy)
    if _ONNX.match(head):
        return UnreadableCheckpoint(f"{name} is an ONNX model, not a checkpoint.", remedy=_TAKES_ONNX)
    return _text(path, head) or _openvino_weights(path)


def _tar(name: str, head: bytes) -> UnreadableCheckpoint:
    first = head[:100].rstrip(b"\0").decode("utf-8", "replace")
    if first.removeprefix("./") in _TORCH_TAR:
        return UnreadableCheckpoint(
            f"{name} is in the tar format of PyTorch before 1.0, which cannot be read without running its pickles.",
            remedy="load it where you trust it and save the state_dict with torch.save, or as safetensors",
        )
    return UnreadableCheckpoint(
        f"{name} is a tar archive, not a checkpoint.", evidence=f"its first record is {shown(first, 80)}", remedy=_UNPACK
    )


def _text(path: Path, head: bytes) -> UnreadableCheckpoint | None:
    start = head.lstrip().lower()
    if start.startswith((b"<?xml", b"<net")) and (b"<net" in start or path.suffix.lower() == ".xml"):
        return UnreadableCheckpoint(f"{shown(path)} is an OpenVINO model, not a checkpoint.", remedy=_TAKES_IR)
    if start.startswith(b"{") and b'"edgec_version"' in head:
        what, remedy = next((what, remedy) for key, what, remedy in _OWN_DOCUMENTS if key in head or key == b'"schema_version"')
        return UnreadableCheckpoint(f"{shown(path)} is {what}, not a checkpoint.", remedy=remedy)
    text = head.decode("utf-8", "replace")
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return UnreadableCheckpoint(
            f"{shown(path)} is a web page, not the weights.",
            evidence=f"begins with {shown(text, 40)}",
            remedy="download it again, signed in where the site asks for it",
        )
    # The last character may be cut.
    if all(character.isprintable() or character.isspace() for character in text.rstrip("\ufffd")):
        return UnreadableCheckpoint(
            f"{shown(path)} is a text file, not a checkpoint.",
            evidence=f"begins with {shown(text, 60)}",
            remedy="give a file written by torch.save or a .safetensors file",
        )
    return None


def _openvino_weights(path: Path) -> UnreadableCheckpoint | None:
    description = path.with_suffix(".xml")
    if path.suffix.lower() != ".bin" or not is_file(description):
        return None
    return UnreadableCheckpoint(
        f"{shown(path)} holds the constants of an OpenVINO model, not a checkpoint.",
        evidence=f"{shown(description.name)} is beside it",
        remedy=_TAKES_IR,
    )


def zip_of_another_kind(path: Path, records: Collection[str], pickle: str) -> UnreadableCheckpoint | None:
    """The error that names a zip archive's format; None if torch.save may have written it."""
    inside = {name.rsplit("/", 1)[-1] for name in records}
    if pickle and "constants.pkl" not in inside:
        return None
    remedy = _UNPACK
    if "constants.pkl" in inside:
        what, remedy = "a TorchScript archive", "load it with torch.jit.load where you trust it, and save its state_dict()"
    elif any(name.endswith("archive_format") for name in records) or {"model.json", "archive_version"} <= inside:
        what, remedy = "an exported program of torch.export", "give the weights that it was exported from"
    elif records and all(name.endswith(".npy") for name in records):
        what, remedy = "an archive of NumPy arrays", "save the backbone's state_dict with torch.save"
    elif {"config.json", "model.weights.h5"} <= inside:
        what, remedy = "a Keras model", _WEIGHTS
    elif any(".mlpackage/" in name or ".mlmodelc/" in name for name in records):
        what, remedy = "a Core ML model in a zip archive", _WEIGHTS
    else:
        what = "a zip archive of other files"
    return UnreadableCheckpoint(
        f"{shown(path)} is {what}, not a checkpoint of torch.save.",
        evidence=f"{counted(len(records), 'record')}: {listed(sorted(records)[:9])}",
        remedy=remedy,
    )


def folder_of_another_kind(path: Path, names: Collection[str]) -> UnreadableCheckpoint | None:
    """The error that names what a folder without known weights is, by the names in it; None if that is unknown."""
    name, present = shown(path), set(names)
    what, remedy = "", _WEIGHTS
    if ".metadata" in present or any(each.endswith(".distcp") for each in present):
        what, remedy = "a distributed checkpoint (DCP)", f"make one file of it: {_DCP.format(name)}"
    elif "zero_to_fp32.py" in present or any(re.fullmatch(r"(bf16_)?zero_pp_rank_.*|mp_rank_.*\.pt", each) for each in present):
        what, remedy = "a checkpoint of DeepSpeed", "make one file of it: python zero_to_fp32.py . weights.pth"
    elif "saved_model.pb" in present:
        what = "a SavedModel of TensorFlow"
    elif "tf_model.h5" in present:
        what, remedy = "a model of TensorFlow", _CONVERT.format("from_tf")
    elif "flax_model.msgpack" in present:
        what, remedy = "a model of Flax", _CONVERT.format("from_flax")
    elif present & {"_CHECKPOINT_METADATA", "_METADATA", "manifest.ocdbt"}:
        what = "a checkpoint of Orbax (JAX)"
    elif path.suffix in (".mlpackage", ".mlmodelc"):
        what = "a Core ML model"
    elif {"manifest.json", "golden"} <= present:
        what, remedy = "an artefact of edgec", _TAKES_ARTEFACT
    elif SWEEP in present:
        what, remedy = "the folder of a sweep", "`edgec report` and `edgec compare` take it; to build, give a checkpoint"
    elif "manifest.json" in present:
        what, remedy = "an artefact, or another folder with a manifest", "give the checkpoint that it was built from"
    else:
        for suffix, (known, advice) in _SUFFIXES.items():
            if any(each.endswith(suffix) for each in present):
                what, remedy = f"a folder with {known}", advice
                break
    if not what:
        return None
    return UnreadableCheckpoint(
        f"{name} is {what}, not a checkpoint that edgec reads.",
        evidence=f"it holds {listed(sorted(present)[:9])}",
        remedy=remedy,
    )
