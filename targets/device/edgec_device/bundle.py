"""device/bundle.json: what tells this program about the artefact. It is checked before anything in it is used."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Mapping, Sequence

from edgec_onboard.documents import (
    SHA256,
    Tensor,
    budget,
    inside,
    integer,
    items,
    mapping,
    matching,
    number,
    outputs,
    shape,
    text,
)
from edgec_onboard.errors import ArtefactError, UsageError
from edgec_onboard.files import is_plain_file, sha256_of
from edgec_onboard.judging import GATES
from edgec_onboard.tasks import FEATURES, LABELS, PARTS
from edgec_onboard.text import shorten
from edgec_onboard.tolerances import MIN_AGREEMENT, TOLERANCES

from edgec_device.content import content_of_document
from edgec_device.files import read_json
from edgec_device.versions import parse

SCHEMA_VERSION = 1
BUNDLE = "device/bundle.json"
MOST_BUNDLE_BYTES = 4 << 20
BOUNDS = {role: ("agreement",) if role == LABELS else ("cosine", "difference") for role in PARTS}
"""For each kind of output of a head, the names of the limits on how far an engine may be from float32
(edgec/artefact/bounds.py)."""
COPY_AGAIN = "copy the artefact to the board again, whole"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_SHOWN = 5
_WIDTH = 300


@dataclass(frozen=True)
class BoardProfile:
    """A board that the bundle was built for. `compatible` are its names in the device tree, if it has one.

    Of a board with a GPU of NVIDIA's, `tensorrt` is the range `min` and `below`. Of a CPU, `isa` are the flags that it must have,
    as /proc/cpuinfo spells them. Of one of Apple's chips, `examples` name it too, `macos` is the first version that runs on it
    (empty for a phone's), and `compute_units` are those that Core ML may use there.
    """

    profile: str
    title: str
    compatible: tuple[str, ...] = ()
    compute_capability: str = ""
    jetpack: tuple[str, ...] = ()
    tensorrt: Mapping[str, str] = field(default_factory=dict)
    architecture: str = ""
    isa: tuple[str, ...] = ()
    examples: str = ""
    macos: str = ""
    compute_units: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shipped:
    """An engine that the workstation compiled: for this `version` of TensorRT-RTX alone, and GPUs of these compute
    capabilities."""

    path: str
    version: str
    compute_capabilities: tuple[str, ...]


@dataclass(frozen=True)
class Variant:
    """One model, that at `path` and the `others` that belong to it. `sha256` is of the file, or of all of them; `size_bytes` of
    all. `bounds` are by name of a head's output, with the limits in `BOUNDS`.

    A graph for NVIDIA's GPUs has the range of `tensorrt` that it is for; `compute_capability` is the least that has its types,
    empty if every GPU has them. A model that its runtime takes as it is has that `runtime`, the `version` that it was made with,
    and `settings`.
    """

    name: str
    path: str
    precision: str
    sha256: str
    size_bytes: int
    bounds: Mapping[str, Mapping[str, float]]
    tensorrt: Mapping[str, str] = field(default_factory=dict)
    compute_capability: str = ""
    engine: Shipped | None = None
    others: tuple[str, ...] = ()
    runtime: str = ""
    version: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class File:
    """A file of the artefact that the board needs."""

    path: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Bundle:
    """`root` is the folder that the paths are relative to. Variants are in the order in which they are tried. `budget` are the
    user's bounds on heads, `budget_asked` all of the user's bounds.

    `golden_recorded` is what was computed of the golden frames when the artefact was built, which heads' outputs are compared
    with; empty where they are compared with float32's. `function` is the one of the model's functions that `input`, `outputs`
    and the golden files are of; empty if it has only one.
    """

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
    budget: Mapping[str, float]
    budget_asked: Mapping[str, Any]
    model: Mapping[str, Any]
    target: str
    precision_asked: str
    calibration: str
    files: tuple[File, ...]
    heads: tuple[Mapping[str, Any], ...] = ()
    """As in edgec's report."""
    golden_recorded: str = ""
    function: str = ""
    least_macos: str = ""
    """The first macOS that takes the models."""
    wheels: tuple[File, ...] = ()
    """Packages that `edgec deploy` brings along because the board lacks them: no part of the artefact. Paths are names."""

    content: str = ""
    """As `content_of_document`."""

    @property
    def key(self) -> str:
        """The name of its release's folder: two artefacts that call themselves one build are not one, if they differ."""
        return f"{self.build_key[:16]}-{self.content[:8]}"

    @property
    def golden_sha256(self) -> list[str]:
        """Of the golden frames' file, of the expected outputs' file, and of the recorded ones' if there are any."""
        hashes = {file.path: file.sha256 for file in self.files}
        return [hashes[path] for path in self.golden]

    @property
    def golden(self) -> list[str]:
        """The paths of those files."""
        return [path for path in (self.golden_frames, self.golden_expected, self.golden_recorded) if path]

    @property
    def gives_features(self) -> bool:
        """Whether it outputs features; if not, only its heads' outputs are verified."""
        return any(tensor.role == FEATURES for tensor in self.outputs)

    def variant(self, name: str) -> Variant | None:
        """The variant of that name; None if there is none."""
        return next((variant for variant in self.variants if variant.name == name), None)


def read_bundle(root: Path, function: str | None = None) -> Bundle:
    """The bundle of the artefact at `root`. Raises `ArtefactError` if it is missing, incomplete, or not of a form that this
    program knows; `UsageError` if the model has no such `function`."""
    path = root / BUNDLE
    document = read_json(path)
    if document is None:
        raise ArtefactError(
            "There is no bundle here.",
            evidence=[f"{path} is missing or not a JSON object"],
            remedy="run the program inside the artefact, or name the artefact with --bundle",
        )
    return parse_bundle(root, document, str(path), function)


def parse_bundle(root: Path, document: Any, origin: str, function: str | None = None) -> Bundle:
    """The bundle in a JSON document, for one `function` of the model: by default the first. Raises `ArtefactError` for a form
    that this program does not know, `UsageError` for a function that there is not. `origin` says where the document comes
    from."""
    if not isinstance(document, dict) or document.get("schema_version") != SCHEMA_VERSION:
        version = document.get("schema_version") if isinstance(document, dict) else None
        raise ArtefactError(
            "The bundle is of another version than this program.",
            evidence=[f"schema_version {repr(version)[:_WIDTH]}; this program reads {SCHEMA_VERSION}"],
            remedy="use the program in the same folder",
        )
    try:
        return replace(_bundle(root, _of_function(document, function)), content=content_of_document(document))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, OSError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise damaged([origin, what[:_WIDTH]]) from error


def check_files(bundle: Bundle) -> None:
    """Raises `ArtefactError` unless every file exists and has the content that the bundle states."""
    problems = [problem for problem in (_problem(bundle.root, file) for file in bundle.files) if problem]
    if problems:
        more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise damaged(problems[:_SHOWN] + more)


def _problem(root: Path, file: File) -> str:
    path = root / file.path
    if not is_plain_file(path):
        return f"{file.path} is missing, or not a regular file"
    size = path.stat().st_size
    if size != file.size_bytes:
        return f"{file.path} has {size} bytes, not {file.size_bytes}"
    if sha256_of(path) != file.sha256:
        return f"{file.path} has other content than when it was built"
    return ""


def damaged(evidence: Sequence[str]) -> ArtefactError:
    """The error for a bundle whose document or files are not what they should be."""
    return ArtefactError("The bundle is damaged.", evidence=evidence, remedy=COPY_AGAIN)


def _bundle(root: Path, document: Mapping[str, Any]) -> Bundle:
    files, wheels = read_files(root, items(document["files"])), read_wheels(root, document.get("wheels", []))
    listed = {file.path: file for file in files}
    boards = tuple(_board(entry) for entry in items(document["boards"]))
    heads = tuple(mapping(entry) for entry in document.get("heads", []))
    golden, entry = document["golden"], document["input"]
    frames = Tensor(text(entry["name"]), text(entry["dtype"]), shape(entry["shape"]))
    tensors = outputs(document["outputs"], heads)
    recorded = text(golden.get("recorded", ""))
    variants = tuple(_variant(entry, listed, tensors, bool(recorded)) for entry in items(document["variants"]))
    if len({variant.name for variant in variants}) != len(variants):
        raise ValueError("two variants have one name")
    for path in (golden["frames"], golden["expected"], *([recorded] if recorded else [])):
        if path not in listed:
            raise ValueError(f"{path} is not among the files")
    if frames.dtype != "uint8" or len(frames.shape) != 4:
        raise ValueError("the input must be uint8 [N, H, W, 3]")
    return Bundle(
        root=root,
        name=matching(_NAME, document["name"]),
        family=text(document["family"]),
        build_key=matching(SHA256, document["build_key"]),
        edgec_version=text(document["edgec_version"]),
        boards=boards,
        input=frames,
        outputs=tensors,
        variants=variants,
        golden_frames=golden["frames"],
        golden_expected=golden["expected"],
        golden_count=integer(golden["count"], 1),
        gate={name: number(document["gate"][name], -1) for name in GATES},
        budget=budget(document),
        budget_asked=document.get("budget") or {"min_fidelity": min(document["gate"].values())},
        model=mapping(document["model"]),
        target=text(document["target"]),
        precision_asked=text(document["precision_asked"]),
        calibration=text(document["calibration"]),
        files=files,
        heads=heads,
        golden_recorded=recorded,
        function=document.get("function", ""),
        least_macos=text(document.get("least_macos", "")),
        wheels=wheels,
    )


def _of_function(document: Mapping[str, Any], function: str | None) -> Mapping[str, Any]:
    """The document as if the model had this function alone. Raises `UsageError` if it has no such."""
    sizes = {text(size["function"]): size for size in document.get("sizes", [])}
    if function is not None and function not in sizes:
        known = ", ".join(sizes) or "one function, which has no name"
        raise UsageError(f"The model has no function {shorten(function, 80)}.", evidence=[f"it has {shorten(known, _WIDTH)}"])
    if not sizes:
        return {**document, "function": ""}
    size = next(iter(sizes.values())) if function is None else sizes[function]
    return {**document, **{name: size[name] for name in ("function", "input", "outputs", "golden")}}


def read_files(root: Path, entries: Sequence[Any]) -> tuple[File, ...]:
    """A document's list of files in `root`. Raises `ValueError`, `KeyError` or `TypeError` for anything else."""
    return tuple(
        File(inside(root, entry["path"]), matching(SHA256, entry["sha256"]), integer(entry["size_bytes"])) for entry in entries
    )


def read_wheels(root: Path, entries: Sequence[Any]) -> tuple[File, ...]:
    """As `read_files`, for packages, whose paths are plain names."""
    wheels = read_files(root, entries)
    if any(Path(wheel.path).name != wheel.path or not wheel.path.endswith(".whl") for wheel in wheels):
        raise ValueError("a wheel has no plain name")
    return wheels


def _board(entry: Mapping[str, Any]) -> BoardProfile:
    return BoardProfile(
        profile=text(entry["profile"]),
        title=text(entry["title"]),
        compatible=tuple(text(name) for name in entry["compatible"]),
        **(_chip(entry) if "compute_units" in entry else _cpu(entry) if "architecture" in entry else _gpu(entry)),
    )


def _gpu(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "compute_capability": text(entry["compute_capability"]),
        "jetpack": tuple(text(version) for version in entry["jetpack"]),
        "tensorrt": _limits(entry["tensorrt"]),
    }


def _cpu(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"architecture": text(entry["architecture"]), "isa": tuple(text(flag) for flag in entry["isa"])}


def _chip(entry: Mapping[str, Any]) -> dict[str, Any]:
    units = tuple(text(unit) for unit in items(entry["compute_units"]))
    return {"examples": text(entry["examples"]), "macos": text(entry["macos"]), "compute_units": units}


def _variant(entry: Mapping[str, Any], listed: Mapping[str, File], outputs: Sequence[Tensor], recorded: bool) -> Variant:
    paths = [entry["path"], *entry.get("others", [])]
    for path in paths:
        if path not in listed:
            raise ValueError(f"{path} is not among the files")
    files = [listed[path] for path in paths]
    name, precision = matching(_NAME, entry["name"]), text(entry["precision"])
    heads = [tensor for tensor in outputs if tensor.role != FEATURES]
    bounds = {
        tensor.name: {kind: number(entry["bounds"][tensor.name][kind], -1) for kind in BOUNDS[tensor.role]} for tensor in heads
    }
    if recorded:
        _require_strict(bounds, precision)
    facts = _as_it_is(entry) if "runtime" in entry else _for_gpu(entry, listed)
    sha256, size = combined([file.sha256 for file in files]), sum(file.size_bytes for file in files)
    return Variant(name, files[0].path, precision, sha256, size, bounds, others=tuple(paths[1:]), **facts)


def _require_strict(bounds: Mapping[str, Mapping[str, float]], precision: str) -> None:
    """Bounds of what was recorded depend on the precision alone, and no document can loosen them: anybody may have written it."""
    difference, cosine = TOLERANCES[precision]
    for bound in bounds.values():
        number(bound.get("agreement", 1), MIN_AGREEMENT[precision], 1)
        number(bound.get("cosine", 1), cosine, 1)
        number(bound.get("difference", 0), 0, difference)


def combined(hashes: Sequence[str]) -> str:
    """One hash of files that belong together, in order: a single file's own."""
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _for_gpu(entry: Mapping[str, Any], listed: Mapping[str, File]) -> dict[str, Any]:
    capability = text(entry.get("compute_capability", ""))
    if capability:
        parse(capability)
    engine = _shipped(entry["engine"], listed) if "engine" in entry else None
    return {"tensorrt": _limits(entry["tensorrt"]), "compute_capability": capability, "engine": engine}


def _as_it_is(entry: Mapping[str, Any]) -> dict[str, Any]:
    settings = {text(name): text(value) for name, value in mapping(entry["settings"]).items()}
    return {"runtime": matching(_NAME, entry["runtime"]), "version": text(entry["version"]), "settings": settings}


def _shipped(entry: Mapping[str, Any], listed: Mapping[str, File]) -> Shipped:
    if entry["path"] not in listed:
        raise ValueError("{} is not among the files".format(entry["path"]))
    capabilities = tuple(text(capability) for capability in items(entry["compute_capabilities"]))
    return Shipped(entry["path"], text(entry["version"]), capabilities)


def _limits(entry: Mapping[str, Any]) -> dict[str, str]:
    limits = {"min": text(entry["min"]), "below": text(entry["below"])}
    if parse(limits["min"]) >= parse(limits["below"]):
        raise ValueError(f"no TensorRT is in the range {limits}")
    return limits
