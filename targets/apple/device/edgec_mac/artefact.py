"""The artefact that this program lies in: manifest.json and device/mac.json, every file of it checked against its hash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from edgec_onboard import seal
from edgec_onboard.documents import Tensor, budget, inside, number, outputs, shape, text, whole
from edgec_onboard.errors import ArtefactError, UsageError
from edgec_onboard.files import sha256_of
from edgec_onboard.judging import GATES
from edgec_onboard.tasks import FEATURES
from edgec_onboard.tolerances import MIN_AGREEMENT, TOLERANCES
from edgec_onboard.untrusted import Refused, parse_json_object, printable, read_bytes

from edgec_mac.machine import Profile

MANIFEST = "manifest.json"
FACTS = "device/mac.json"
FRAMES = "frames"
_MAIN = "main"
_SCHEMA_VERSIONS = {MANIFEST: (1, 2), FACTS: (1,)}
_LIMIT_BYTES = 64 << 20
_FINDER = ".DS_Store"
"""What macOS leaves in every folder that somebody has looked at."""
_SHOWN = 10
REMEDY = "copy the artefact to this Mac again, whole, or build it again"


@dataclass(frozen=True)
class Artefact:
    """`input_shape` is [N, H, W, 3], uint8, of `function`, which is None where the package has one alone. `gate` is the least
    that each figure of fidelity may be, `budget` what the user asks of heads, `budget_asked` all that the user asked for.
    `relative_tolerance`, `min_cosine` and, of labels, `min_agreement` bound how far what heads give may be from what was
    recorded, and no manifest can loosen them: anybody may have written it. `heads` are as edgec's report has them."""

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
    min_agreement: float
    profiles: tuple[Profile, ...]
    minimum_macos: str
    gate: Mapping[str, float]
    budget: Mapping[str, float]
    budget_asked: Mapping[str, Any]
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
        found = parse_json_object(content)
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
    if name == MANIFEST and (found["schema_version"] > 1 or seal.NAME in found) and not seal.is_whole(content):
        raise ArtefactError(f"{directory}: {name} is not as it was written: its seal does not fit.", evidence=[], remedy=REMEDY)
    return found, content


def _checked_files(directory: Path, manifest: Mapping[str, Any]) -> set[str]:
    """The listed paths, once every file is what its hash says and the package holds nothing else."""
    try:
        listed = {text(file["path"]): (text(file["sha256"]), whole(file["size_bytes"])) for file in manifest["files"]}
        package = PurePosixPath(text(manifest["entry"])).parent
    except (KeyError, TypeError, ValueError) as error:
        raise ArtefactError(f"The manifest of {directory} names no files.", evidence=[_brief(error)], remedy=REMEDY) from error
    problems = []
    for path, (sha256, size) in listed.items():
        place = place_of(directory, path)
        if not place.is_file():
            problems.append(f"missing: {path}")
        elif place.stat().st_size != size or sha256_of(place) != sha256:
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
    sizes = {text(each["function"]): each for each in manifest.get("sizes", ())} or {_MAIN: {**manifest, "function": None}}
    if function is not None and function not in sizes:
        raise UsageError(
            f"The package has no function {printable(function)[:80]}.", evidence=[f"it has {printable(', '.join(sizes))}"]
        )
    found: Mapping[str, Any] = next(iter(sizes.values())) if function is None else sizes[function]
    return found


def _artefact(directory: Path, manifest: Mapping[str, Any], facts: Mapping[str, Any], size: Mapping[str, Any]) -> Artefact:
    """Raises `KeyError` and its like for anything that is missing or of another type."""
    golden = size["golden"]
    extents = shape(size["input"]["shape"])
    if len(extents) != 4 or extents[-1] != 3:
        raise ValueError(f"the input's shape is {extents}")
    heads = tuple(dict(head) for head in manifest.get("heads", ()))
    precision = text(manifest["precision"])
    tolerance, cosine = TOLERANCES[precision]
    package = place_of(directory, PurePosixPath(text(manifest["entry"])).parent.as_posix())
    return Artefact(
        directory=directory,
        sha256="",
        edgec_version=text(manifest["edgec_version"]),
        target=text(manifest["target"]),
        runtime=text(manifest["runtime"]),
        precision=precision,
        function=size["function"],
        package=package,
        size_bytes=sum(path.stat().st_size for path in package.rglob("*") if path.is_file() and path.name != _FINDER),
        input_shape=extents,
        outputs=outputs(size["outputs"], heads),
        golden_frames=text(golden["frames"]),
        golden_expected=text(golden["expected_float32"]),
        golden_shipped=text(golden["expected_shipped"]),
        golden_count=whole(golden["count"], 1),
        relative_tolerance=number(golden["relative_tolerance"], 0, tolerance),
        min_cosine=number(golden["min_cosine"], cosine, 1),
        profiles=tuple(_profile(each) for each in facts["profiles"]),
        minimum_macos=text(facts["minimum_macos"]),
        min_agreement=MIN_AGREEMENT[precision],
        gate={name: number(facts["gate"][name], -1, 1) for name in GATES},
        budget=budget(facts),
        budget_asked=facts.get("budget") or {"min_fidelity": min(facts["gate"].values())},
        model=dict(facts["model"]),
        precision_asked=text(facts["precision_asked"]),
        calibration=text(facts["calibration"]),
        heads=heads,
    )


def _profile(entry: Mapping[str, Any]) -> Profile:
    macos = entry["macos"]
    return Profile(
        name=text(entry["name"]),
        title=text(entry["title"]),
        examples=text(entry["examples"]),
        macos=None if macos is None else text(macos),
        compute_units=tuple(text(unit) for unit in entry["compute_units"]),
    )


def place_of(directory: Path, path: str) -> Path:
    """A listed path as a real one. Raises `ArtefactError` if it leaves the directory, by its parts or through a link."""
    try:
        return directory / inside(directory, path)
    except ValueError as error:
        what = "The manifest names a file outside the artefact; nothing was read from it."
        raise ArtefactError(what, evidence=[printable(str(error))[:200]], remedy=REMEDY) from error


def _brief(error: Exception) -> str:
    return printable(f"{type(error).__name__}: {error}")[:200]
