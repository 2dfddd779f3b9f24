"""device/bundle.json: what the artefact says to this program, checked before anything is believed."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Mapping, Sequence

from edgec_device.errors import BundleError
from edgec_device.files import is_plain_file, read_json, sha256_of
from edgec_device.versions import parse

SCHEMA_VERSION = 1
BUNDLE = "device/bundle.json"
GATES = ("cls_cosine_mean", "patch_cosine_mean", "patch_cosine_p01")
FEATURES = "features"
LABELS = "labels"
BOUNDS = {
    **dict.fromkeys(("scores", "logits", "depth", "values"), ("cosine", "difference")),
    LABELS: ("agreement",),
}
"""By what an output of a head is: what is said of how far an engine may be from float32 in it (edgec/artefact/bounds.py)."""
_RANKS = {"scores": 2, "labels": 3, "logits": 4, "depth": 3}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHOWN = 5
_WIDTH = 300


@dataclass(frozen=True)
class BoardProfile:
    profile: str
    title: str
    compatible: tuple[str, ...]
    compute_capability: str
    jetpack: tuple[str, ...]
    tensorrt: Mapping[str, str]


@dataclass(frozen=True)
class Variant:
    """One ONNX graph. `sha256` is its file's. `bounds` are by output of a head: see `BOUNDS`."""

    name: str
    path: str
    precision: str
    tensorrt: Mapping[str, str]
    sha256: str
    size_bytes: int
    bounds: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Tensor:
    """`role` is what an output is: features of the backbone, or what a head gives. `classes` is how many there are, where that is
    told."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    role: str = FEATURES
    classes: int = 0

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class File:
    path: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Bundle:
    """`root` is the folder that the paths are relative to. Variants are in the order in which they are tried."""

    root: Path
    name: str
    family: str
    build_key: str
    edgec_version: str
    boards: tuple[BoardProfile, ...]
    input: Tensor
    outputs: tuple[Tensor, ...]
    variants: tuple[Variant, ...]
    golden_frames: str
    golden_expected: str
    golden_count: int
    gate: Mapping[str, float]
    model: Mapping[str, Any]
    target: str
    precision_asked: str
    calibration: str
    files: tuple[File, ...]
    heads: tuple[Mapping[str, Any], ...] = ()
    """As edgec's report has them."""

    @property
    def key(self) -> str:
        """The build key, short enough for a file name."""
        return self.build_key[:16]

    @property
    def golden_sha256(self) -> list[str]:
        hashes = {file.path: file.sha256 for file in self.files}
        return [hashes[self.golden_frames], hashes[self.golden_expected]]

    @property
    def gives_features(self) -> bool:
        """Without, it is its heads' outputs alone that are verified."""
        return any(tensor.role == FEATURES for tensor in self.outputs)

    def variant(self, name: str) -> Variant | None:
        return next((variant for variant in self.variants if variant.name == name), None)


def read_bundle(root: Path) -> Bundle:
    """Raises `BundleError` for a bundle that is missing, not whole, or not of the form that this program knows."""
    path = root / BUNDLE
    document = read_json(path)
    if document is None:
        raise BundleError(
            "There is no bundle here.",
            evidence=[f"{path} is missing or not a JSON object"],
            remedy="run edgec-device.pyz where it lies in its artefact, or name the artefact with --bundle",
        )
    return parse_bundle(root, document, str(path))


def parse_bundle(root: Path, document: Any, origin: str) -> Bundle:
    """Raises `BundleError` for what is not of the form that this program knows. `origin`: where it is from."""
    if not isinstance(document, dict) or document.get("schema_version") != SCHEMA_VERSION:
        version = document.get("schema_version") if isinstance(document, dict) else None
        raise BundleError(
            "The bundle is of another version than this program.",
            evidence=[f"schema_version {repr(version)[:_WIDTH]}; this program reads {SCHEMA_VERSION}"],
            remedy="use the edgec-device.pyz that lies beside it",
        )
    try:
        return _bundle(root, document)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, OSError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise _damaged([origin, what[:_WIDTH]]) from error


def check_files(bundle: Bundle) -> None:
    """Raises `BundleError` unless every file is there, with the content that the bundle says."""
    problems = [problem for problem in (_problem(bundle.root, file) for file in bundle.files) if problem]
    if problems:
        more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise _damaged(problems[:_SHOWN] + more)


def _problem(root: Path, file: File) -> str:
    path = root / file.path
    if not is_plain_file(path):
        return f"{file.path} is missing, or no plain file"
    size = path.stat().st_size
    if size != file.size_bytes:
        return f"{file.path} has {size} bytes, not {file.size_bytes}"
    if sha256_of(path) != file.sha256:
        return f"{file.path} has other content than was built"
    return ""


def _damaged(evidence: Sequence[str]) -> BundleError:
    return BundleError("The bundle is damaged.", evidence=evidence, remedy="copy the artefact to the board again, whole")


def _bundle(root: Path, document: Mapping[str, Any]) -> Bundle:
    files = tuple(
        File(_inside(root, entry["path"]), _matching(_SHA256, entry["sha256"]), _whole(entry["size_bytes"], 0))
        for entry in _list(document["files"])
    )
    listed = {file.path: file for file in files}
    boards = tuple(_board(entry) for entry in _list(document["boards"]))
    heads = tuple(_object(entry) for entry in document.get("heads", []))
    classes = {name: len(head["classes"]) for head in heads for name in head["outputs"]}
    golden, given = document["golden"], _tensor(document["input"], {})
    outputs = tuple(_tensor(entry, classes) for entry in _list(document["outputs"]))
    variants = tuple(_variant(entry, listed, outputs) for entry in _list(document["variants"]))
    if len({variant.name for variant in variants}) != len(variants):
        raise ValueError("two variants have one name")
    for name in ("frames", "expected"):
        if golden[name] not in listed:
            raise ValueError(f"{golden[name]} is not among the files")
    if given.dtype != "uint8" or len(given.shape) != 4:
        raise ValueError("the input must be uint8 [N, H, W, 3]")
    if {"cls", "patches"} - {each.name for each in outputs} and any(each.role == FEATURES for each in outputs):
        raise ValueError("cls and patches must be among the outputs, or heads' outputs alone")
    return Bundle(
        root=root,
        name=_matching(_NAME, document["name"]),
        family=_text(document["family"]),
        build_key=_matching(_SHA256, document["build_key"]),
        edgec_version=_text(document["edgec_version"]),
        boards=boards,
        input=given,
        outputs=outputs,
        variants=variants,
        golden_frames=golden["frames"],
        golden_expected=golden["expected"],
        golden_count=_whole(golden["count"], 1),
        gate={name: _number(document["gate"][name], -1) for name in GATES},
        model=_object(document["model"]),
        target=_text(document["target"]),
        precision_asked=_text(document["precision_asked"]),
        calibration=_text(document["calibration"]),
        files=files,
        heads=heads,
    )


def _board(entry: Mapping[str, Any]) -> BoardProfile:
    return BoardProfile(
        profile=_text(entry["profile"]),
        title=_text(entry["title"]),
        compatible=tuple(_text(each) for each in _list(entry["compatible"])),
        compute_capability=_text(entry["compute_capability"]),
        jetpack=tuple(_text(each) for each in entry["jetpack"]),
        tensorrt=_limits(entry["tensorrt"]),
    )


def _variant(entry: Mapping[str, Any], listed: Mapping[str, File], outputs: Sequence[Tensor]) -> Variant:
    file = listed.get(entry["path"])
    if file is None:
        raise ValueError("{} is not among the files".format(entry["path"]))
    name, precision = _matching(_NAME, entry["name"]), _text(entry["precision"])
    bounds = {
        tensor.name: {kind: _number(entry["bounds"][tensor.name][kind], -1) for kind in BOUNDS[tensor.role]}
        for tensor in outputs
        if tensor.role != FEATURES
    }
    return Variant(name, file.path, precision, _limits(entry["tensorrt"]), file.sha256, file.size_bytes, bounds)


def _tensor(entry: Mapping[str, Any], classes: Mapping[str, int]) -> Tensor:
    name, dtype, role = _text(entry["name"]), _text(entry["dtype"]), _text(entry.get("role", FEATURES))
    shape = tuple(_whole(each, 1) for each in _list(entry["shape"]))
    if (role != FEATURES and role not in BOUNDS) or len(shape) != _RANKS.get(role, len(shape)):
        raise ValueError(f"{name} of shape {shape} cannot be {role!r}")
    return Tensor(name, dtype, shape, role, classes.get(name, 0))


def _limits(entry: Mapping[str, Any]) -> dict[str, str]:
    limits = {"min": _text(entry["min"]), "below": _text(entry["below"])}
    if parse(limits["min"]) >= parse(limits["below"]):
        raise ValueError(f"no TensorRT is in the range {limits}")
    return limits


def _inside(root: Path, path: Any) -> str:
    """A relative path that names one file under the root, by its parts and through no link."""
    plain = PurePosixPath(_text(path))
    if str(plain) != path or plain.is_absolute() or ".." in plain.parts or not path.isprintable() or "\\" in path:
        raise ValueError(f"{path!r} is no path inside the bundle")
    real = os.path.realpath(str(root / path))
    if os.path.commonpath([real, os.path.realpath(str(root))]) != os.path.realpath(str(root)):
        raise ValueError(f"{path!r} leads out of the bundle")
    return str(plain)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{value!r} should be a list that is not empty")
    return value


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} should be an object")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} should be a text")
    return value


def _matching(pattern: re.Pattern[str], value: Any) -> str:
    if not pattern.fullmatch(_text(value)):
        raise ValueError(f"{value!r} is not of the expected form")
    return str(value)


def _number(value: Any, least: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < least:
        raise ValueError(f"{value!r} should be a number of at least {least:g}")
    return value


def _whole(value: Any, least: int) -> int:
    if not isinstance(value, int):
        raise ValueError(f"{value!r} should be a whole number")
    return int(_number(value, least))
