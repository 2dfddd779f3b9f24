"""The artefact that this program lies in: manifest.json and device/mac.json, every file of it checked against its hash."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from edgec_mac.errors import ArtefactError, UsageError
from edgec_mac.machine import Profile
from edgec_mac.text import printable
from edgec_mac.untrusted import Refused, parse_object, read_bytes

MANIFEST = "manifest.json"
FACTS = "device/mac.json"
_SEAL = "seal"
GATES = ("cls_cosine_mean", "patch_cosine_mean", "patch_cosine_p01")
FRAMES = "frames"
FEATURES = "features"
LABELS = "labels"
_RANKS = {"scores": 2, LABELS: 3, "logits": 4, "depth": 3}
_ROLES = (FEATURES, *_RANKS, "values")
_MAIN = "main"
_SCHEMA_VERSIONS = {MANIFEST: (1, 2), FACTS: (1,)}
_LIMIT_BYTES = 64 << 20
_FINDER = ".DS_Store"
"""What macOS leaves in every folder that somebody has looked at."""
_SHOWN = 10
MOST_TOLERANCE, LEAST_COSINE = 0.1, 0.995
"""Of any precision (edgec/artefact/recording.py). No manifest allows more: anybody may have written it."""
REMEDY = "copy the artefact to this Mac again, whole, or build it again"


@dataclass(frozen=True)
class Tensor:
    """`role` is what an output is: features of the backbone, or what a head gives. `classes` is how many there are, where that is
    told."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    role: str = FEATURES
    classes: int = 0


@dataclass(frozen=True)
class Artefact:
    """`input_shape` is [N, H, W, 3], uint8, of `function`, which is None where the package has one alone. `gate` is the least
    that each figure of fidelity may be; `relative_tolerance` and `min_cosine` bound how far what heads give may be from what was
    recorded. `heads` are as edgec's report has them."""

    directory: Path
    sha256: str
    edgec_version: str
    target: str
    runtime: str
    precision: str
    function: str | None
    package: Path
    size_bytes: int
    input_shape: tuple[int, ...]
    outputs: tuple[Tensor, ...]
    golden_frames: str
    golden_expected: str
    golden_shipped: str
    golden_count: int
    relative_tolerance: float
    min_cosine: float
    profiles: tuple[Profile, ...]
    minimum_macos: str
    gate: Mapping[str, float]
    model: Mapping[str, Any]
    precision_asked: str
    calibration: str
    heads: tuple[Mapping[str, Any], ...] = ()

    @property
    def gives_features(self) -> bool:
        """Without, it is its heads' outputs alone that are compared."""
        return any(output.role == FEATURES for output in self.outputs)

    @property
    def inputs(self) -> list[str]:
        """Names of the package's images, one a frame of the batch, as edgec/lowering/coreml/metadata.py gives them."""
        count = self.input_shape[0]
        return [FRAMES] if count == 1 else [f"{FRAMES}_{index}" for index in range(count)]

    @property
    def batches(self) -> list[list[int]]:
        """Which golden frames go through the package together; a last batch that is not full repeats its last frame."""
        count, size = self.golden_count, self.input_shape[0]
        return [[min(index, count - 1) for index in range(start, start + size)] for start in range(0, count, size)]


def read_artefact(directory: Path, function: str | None = None) -> Artefact:
    """What the artefact says of one function of its package: of the default one unless it is named.

    Raises `ArtefactError` if it is no artefact for Apple's chips, or if any file is missing, changed, or not listed; `UsageError`
    if it has no such function.
    """
    document, content = _read(directory, MANIFEST)
    files = _checked_files(directory, document)
    if document.get("runtime") != "coreml" or FACTS not in files:
        raise ArtefactError(
            f"{directory} holds no Core ML package that a Mac could measure.",
            evidence=[f"its runtime is {printable(str(document.get('runtime')))[:40]}"],
            remedy="build one: edgec build CHECKPOINT --target apple",
        )
    facts, _ = _read(directory, FACTS)
    try:
        found = _artefact(directory, document, facts, _size(document, function))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ArtefactError(
            f"{directory} does not say what an artefact must.",
            evidence=[printable(f"{type(error).__name__}: {error}")[:200]],
            remedy=REMEDY,
        ) from error
    named = [found.golden_frames, found.golden_expected, found.golden_shipped]
    missing = [path for path in named if path not in files]
    if missing or not found.package.is_dir():
        raise ArtefactError(f"{directory} lacks its package or golden files.", evidence=missing, remedy=REMEDY)
    return Artefact(**{**vars(found), "sha256": hashlib.sha256(content).hexdigest()})


def _read(directory: Path, name: str) -> tuple[dict[str, Any], bytes]:
    path = directory / name
    try:
        content = read_bytes(path, _LIMIT_BYTES)
        found = parse_object(content)
    except (OSError, Refused) as error:
        said = f"it {error}" if isinstance(error, Refused) else str(error)
        raise ArtefactError(
            f"{directory} is no whole artefact: {name} cannot be read.", evidence=[printable(said)[:200]], remedy=REMEDY
        ) from error
    if found.get("schema_version") not in _SCHEMA_VERSIONS[name]:
        raise ArtefactError(
            f"This program cannot read {name}: it is of another version.",
            evidence=[f"schema_version {printable(str(found.get('schema_version')))[:40]}"],
            remedy="use the program that lies in that artefact's device/ folder",
        )
    if name == MANIFEST and (found["schema_version"] > 1 or _SEAL in found) and not _is_sealed(content):
        raise ArtefactError(f"{directory}: {name} is not as it was written: its seal does not fit.", evidence=[], remedy=REMEDY)
    return found, content


def _is_sealed(content: bytes) -> bool:
    """Whether its last member is the SHA-256 of every byte before it (edgec/seal.py)."""
    head, opening = content[: -len('"\n}\n') - 64], f',\n "{_SEAL}": "'.encode()
    return head.endswith(opening) and content == head + f'{hashlib.sha256(head).hexdigest()}"\n}}\n'.encode()


def _checked_files(directory: Path, manifest: Mapping[str, Any]) -> set[str]:
    """The listed paths, once every file is what its hash says and the package holds nothing else."""
    try:
        listed = {_text(file["path"]): (_text(file["sha256"]), _whole(file["size_bytes"])) for file in manifest["files"]}
        package = PurePosixPath(_text(manifest["entry"])).parent
    except (KeyError, TypeError, ValueError) as error:
        raise ArtefactError(f"The manifest of {directory} names no files.", evidence=[_brief(error)], remedy=REMEDY) from error
    problems = []
    for path, (sha256, size) in listed.items():
        place = inside(directory, path)
        if not place.is_file():
            problems.append(f"missing: {path}")
        elif place.stat().st_size != size or _sha256_of(place) != sha256:
            problems.append(f"changed: {path}")
    there = [place.relative_to(directory).as_posix() for place in (directory / package).rglob("*") if not place.is_dir()]
    problems += [f"not listed: {printable(path)}" for path in there if path not in listed and not path.endswith(f"/{_FINDER}")]
    if problems:
        raise ArtefactError(
            f"{directory} is not what its manifest says.", evidence=[*problems[:_SHOWN], *_more(problems)], remedy=REMEDY
        )
    return set(listed)


def _more(problems: Sequence[str]) -> list[str]:
    return [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []


def _size(manifest: Mapping[str, Any], function: str | None) -> Mapping[str, Any]:
    """Input, outputs and golden frames of a function. An artefact of one size has them in the manifest itself, and the package's
    function is `main`."""
    sizes = {_text(each["function"]): each for each in manifest.get("sizes", ())} or {_MAIN: {**manifest, "function": None}}
    if function is not None and function not in sizes:
        raise UsageError(
            f"The package has no function {printable(function)[:80]}.", evidence=[f"it has {printable(', '.join(sizes))}"]
        )
    found: Mapping[str, Any] = next(iter(sizes.values())) if function is None else sizes[function]
    return found


def _artefact(directory: Path, manifest: Mapping[str, Any], facts: Mapping[str, Any], size: Mapping[str, Any]) -> Artefact:
    """Raises `KeyError` and its like for anything that is missing or of another type."""
    golden = size["golden"]
    shape = _shape(size["input"]["shape"])
    if len(shape) != 4 or shape[-1] != 3:
        raise ValueError(f"the input's shape is {shape}")
    heads = tuple(dict(head) for head in manifest.get("heads", ()))
    classes = {_text(name): len(head["classes"]) for head in heads for name in head["outputs"]}
    outputs = tuple(_tensor(each, classes) for each in size["outputs"])
    features = {output.name for output in outputs if output.role == FEATURES}
    if not outputs or (features and not {"cls", "patches"} <= features):
        raise ValueError("the outputs lack cls or patches")
    package = inside(directory, PurePosixPath(_text(manifest["entry"])).parent.as_posix())
    count = _whole(golden["count"])
    if count < 1:
        raise ValueError("there are no golden frames")
    return Artefact(
        directory=directory,
        sha256="",
        edgec_version=_text(manifest["edgec_version"]),
        target=_text(manifest["target"]),
        runtime=_text(manifest["runtime"]),
        precision=_text(manifest["precision"]),
        function=size["function"],
        package=package,
        size_bytes=sum(path.stat().st_size for path in package.rglob("*") if path.is_file() and path.name != _FINDER),
        input_shape=shape,
        outputs=outputs,
        golden_frames=_text(golden["frames"]),
        golden_expected=_text(golden["expected_float32"]),
        golden_shipped=_text(golden["expected_shipped"]),
        golden_count=count,
        relative_tolerance=_number(golden["relative_tolerance"], 0, MOST_TOLERANCE),
        min_cosine=_number(golden["min_cosine"], LEAST_COSINE, 1),
        profiles=tuple(_profile(each) for each in facts["profiles"]),
        minimum_macos=_text(facts["minimum_macos"]),
        gate={name: _number(facts["gate"][name], -1, 1) for name in GATES},
        model=dict(facts["model"]),
        precision_asked=_text(facts["precision_asked"]),
        calibration=_text(facts["calibration"]),
        heads=heads,
    )


def _tensor(entry: Mapping[str, Any], classes: Mapping[str, int]) -> Tensor:
    name, shape, role = _text(entry["name"]), _shape(entry["shape"]), _text(entry.get("role", FEATURES))
    dtype = _text(entry.get("dtype", "float32"))
    types = {LABELS: ("int32",), "values": ("float32", "int32")}.get(role, ("float32",))
    if role not in _ROLES or len(shape) != _RANKS.get(role, len(shape)) or dtype not in types:
        raise ValueError(f"{name}, {dtype} {shape}, cannot be {role!r}")
    return Tensor(name, shape, dtype, role, classes.get(name, 0) if role == LABELS else 0)


def _profile(entry: Mapping[str, Any]) -> Profile:
    macos = entry["macos"]
    return Profile(
        name=_text(entry["name"]),
        title=_text(entry["title"]),
        examples=_text(entry["examples"]),
        macos=None if macos is None else _text(macos),
        compute_units=tuple(_text(unit) for unit in entry["compute_units"]),
    )


def inside(directory: Path, path: str) -> Path:
    """A listed path as a real one. Raises `ArtefactError` if it leaves the directory, by its parts or through a link."""
    plain = PurePosixPath(path)
    if path == str(plain) and path.isprintable() and plain.parts and ".." not in plain.parts and not plain.is_absolute():
        place = directory / path
        if Path(os.path.realpath(place)).is_relative_to(os.path.realpath(directory)):
            return place
    raise ArtefactError(
        "The manifest names a file outside the artefact; nothing was read from it.", evidence=[repr(path)[:200]], remedy=REMEDY
    )


def _sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} should be a text")
    return value


def _brief(error: Exception) -> str:
    return printable(f"{type(error).__name__}: {error}")[:200]


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} should be a whole number")
    return value


def _number(value: Any, least: float, most: float) -> float:
    if type(value) not in (int, float) or not least <= value <= most:
        raise ValueError(f"{value!r} should be a number from {least:g} to {most:g}")
    return float(value)


def _shape(value: Any) -> tuple[int, ...]:
    shape = tuple(value)
    if not shape or not all(type(extent) is int and extent > 0 for extent in shape):
        raise ValueError(f"{value!r} is no shape")
    return shape
