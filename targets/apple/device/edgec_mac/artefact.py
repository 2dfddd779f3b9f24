"""The artefact that this program is part of: manifest.json and device/mac.json, and every file checked against its hash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from edgec_onboard import seal
from edgec_onboard.documents import Tensor, budget, inside, integer, number, outputs, shape, text
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
"""macOS writes this file into every folder that is opened in Finder."""
_SHOWN = 10
REMEDY = "copy the artefact to this Mac again, whole, or build it again"


@dataclass(frozen=True)
class Artefact:
    """`input_shape` is [N, H, W, 3], uint8, of `function`, which is None if the package has only one. `gate` is the least value
    of each figure of fidelity, `budget` are the user's bounds on heads, `budget_asked` all of the user's bounds.
    `relative_tolerance`, `min_cosine` and, for labels, `min_agreement` limit how far heads' outputs may be from the recorded
    ones. No manifest can loosen them, because anybody may have written it. `heads` are as in edgec's report."""

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
        """Whether it outputs features; if not, only its heads' outputs are compared."""
        return any(output.role == FEATURES for output in self.outputs)

    @property
    def inputs(self) -> list[str]:
        """Names of the package's image inputs, one for each frame of the batch, as edgec/lowering/coreml/metadata.py has them."""
        count = self.input_shape[0]
        return [FRAMES] if count == 1 else [f"{FRAMES}_{index}" for index in range(count)]


def read_artefact(directory: Path, function: str | None = None) -> Artefact:
    """The artefact, for one function of its package: the default one unless `function` names another.

    Raises `ArtefactError` if it is not an artefact for Apple's chips, or if any file is missing, changed, or not listed;
    `UsageError` if it has no such function.
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
        artefact = _artefact(directory, document, facts, _size(document, function))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ArtefactError(
            f"{directory} does not say what an artefact must.",
            evidence=[_brief(error)],
            remedy=REMEDY,
        ) from error
    named = [artefact.golden_frames, artefact.golden_expected, artefact.golden_shipped]
    missing = [path for path in named if path not in files]
    if missing or not artefact.package.is_dir():
        raise ArtefactError(f"{directory} lacks its package or golden files.", evidence=missing, remedy=REMEDY)
    return Artefact(**{**vars(artefact), "sha256": hashlib.sha256(content).hexdigest()})


def _read(directory: Path, name: str) -> tuple[dict[str, Any], bytes]:
    path = directory / name
    try:
        content = read_bytes(path, _LIMIT_BYTES)
        document = parse_json_object(content)
    except (OSError, Refused) as error:
        problem = f"it {error}" if isinstance(error, Refused) else str(error)
        raise ArtefactError(
            f"{directory} is not a complete artefact: {name} cannot be read.",
            evidence=[printable(problem)[:200]],
            remedy=REMEDY,
        ) from error
    if document.get("schema_version") not in _SCHEMA_VERSIONS[name]:
        raise ArtefactError(
            f"This program cannot read {name}: it is of another version.",
            evidence=[f"schema_version {printable(str(document.get('schema_version')))[:40]}"],
            remedy="use the program in that artefact's device/ folder",
        )
    if name == MANIFEST and (document["schema_version"] > 1 or seal.NAME in document) and not seal.is_whole(content):
        raise ArtefactError(f"{directory}: {name} was changed after it was written: its seal is wrong.", remedy=REMEDY)
    return document, content


def _checked_files(directory: Path, manifest: Mapping[str, Any]) -> set[str]:
    """The listed paths. Raises `ArtefactError` unless every file has its hash and the package holds nothing else."""
    try:
        listed = {text(file["path"]): (text(file["sha256"]), integer(file["size_bytes"])) for file in manifest["files"]}
        package = PurePosixPath(text(manifest["entry"])).parent
    except (KeyError, TypeError, ValueError) as error:
        raise ArtefactError(f"The manifest of {directory} lists no files.", evidence=[_brief(error)], remedy=REMEDY) from error
    problems = []
    for path, (sha256, size) in listed.items():
        file = resolve(directory, path)
        if not file.is_file():
            problems.append(f"missing: {path}")
        elif file.stat().st_size != size or sha256_of(file) != sha256:
            problems.append(f"changed: {path}")
    present = [file.relative_to(directory).as_posix() for file in (directory / package).rglob("*") if not file.is_dir()]
    problems += [f"not listed: {printable(path)}" for path in present if path not in listed and not path.endswith(f"/{_FINDER}")]
    if problems:
        more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise ArtefactError(f"{directory} is not what its manifest says.", evidence=problems[:_SHOWN] + more, remedy=REMEDY)
    return set(listed)


def _size(manifest: Mapping[str, Any], function: str | None) -> Mapping[str, Any]:
    """Input, outputs and golden frames of a function. An artefact of one size has them directly in the manifest, and the
    package's function is `main`."""
    sizes = {text(size["function"]): size for size in manifest.get("sizes", ())} or {_MAIN: {**manifest, "function": None}}
    if function is not None and function not in sizes:
        raise UsageError(
            f"The package has no function {printable(function)[:80]}.", evidence=[f"it has {printable(', '.join(sizes))}"]
        )
    size: Mapping[str, Any] = next(iter(sizes.values())) if function is None else sizes[function]
    return size


def _artefact(directory: Path, manifest: Mapping[str, Any], facts: Mapping[str, Any], size: Mapping[str, Any]) -> Artefact:
    """Raises `KeyError`, `TypeError` or `ValueError` for anything that is missing or of another type."""
    golden = size["golden"]
    extents = shape(size["input"]["shape"])
    if len(extents) != 4 or extents[-1] != 3:
        raise ValueError(f"the input's shape is {extents}")
    heads = tuple(dict(head) for head in manifest.get("heads", ()))
    precision = text(manifest["precision"])
    tolerance, cosine = TOLERANCES[precision]
    package = resolve(directory, PurePosixPath(text(manifest["entry"])).parent.as_posix())
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
        golden_count=integer(golden["count"], 1),
        relative_tolerance=number(golden["relative_tolerance"], 0, tolerance),
        min_cosine=number(golden["min_cosine"], cosine, 1),
        profiles=tuple(_profile(entry) for entry in facts["profiles"]),
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


def resolve(directory: Path, path: str) -> Path:
    """A listed path, inside the directory. Raises `ArtefactError` if it leads out, by its parts or through a link."""
    try:
        return directory / inside(directory, path)
    except ValueError as error:
        what = "The manifest names a file outside the artefact; nothing was read from it."
        raise ArtefactError(what, evidence=[printable(str(error))[:200]], remedy=REMEDY) from error


def _brief(error: Exception) -> str:
    return printable(f"{type(error).__name__}: {error}")[:200]
