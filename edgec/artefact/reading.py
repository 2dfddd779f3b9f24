"""Opening an artefact that may come from anywhere: nothing in it is trusted before it is checked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edgec.artefact.contents import files_to_list, inside
from edgec.artefact.golden import GoldenData, read_expected, read_golden
from edgec.artefact.tolerances import looser
from edgec.durable import sha256_of
from edgec.errors import ArtefactError
from edgec.lowering.base import Features, LoweredModel
from edgec.onboard.container import SUFFIX
from edgec.records.manifest import MANIFEST, UPGRADES, Manifest, SizeFacts, VariantFacts
from edgec.records.reading import printable, read_record

_SHOWN = 20
_LEGAL = ("licence", "license", "notice")


@dataclass(frozen=True)
class OpenSize:
    """One size of frames that the artefact takes."""

    facts: SizeFacts
    golden: GoldenData


@dataclass(frozen=True)
class OpenVariant:
    """A graph that a board may choose, ready for its runtime's `load`, and the features expected of it; None where only the
    target can run it."""

    facts: VariantFacts
    lowered: LoweredModel
    expected: Features | None


@dataclass(frozen=True)
class OpenArtefact:
    """What a directory holds, checked. `lowered` is ready for its runtime's `load`. `sizes` has at least one, the default first.
    `variants` are those of the default size; if there are any, the entry's own graph is among them."""

    manifest: Manifest
    directory: Path
    lowered: LoweredModel
    sizes: tuple[OpenSize, ...]
    variants: tuple[OpenVariant, ...] = ()

    @property
    def golden(self) -> GoldenData:
        """Of the default size."""
        return self.sizes[0].golden


def open_artefact(path: Path, *, check_hashes: bool = True) -> OpenArtefact:
    """Open the artefact at `path`: its directory, or the `manifest.json` in it. `check_hashes=False` compares file sizes only.

    Raises `ArtefactError` if `path` is neither; if the manifest is damaged, of a later version or inconsistent, or names files
    outside the directory; if files are missing, changed or not listed, naming each; and for golden arrays that do not fit.
    """
    directory = _directory(path)
    manifest = read_record(directory / MANIFEST, Manifest, "manifest", UPGRADES)
    _check_consistency(manifest, directory)
    _check_files(manifest, directory, check_hashes)
    sizes = tuple(OpenSize(facts, read_golden(directory, facts)) for facts in manifest.all_sizes)
    lowered = LoweredModel(manifest.runtime, directory, manifest.entry, _runtime_files(manifest), dict(manifest.settings))
    variants = tuple(_variant(directory, manifest, facts) for facts in manifest.variants)
    return OpenArtefact(manifest, directory, lowered, sizes, variants)


def _variant(directory: Path, manifest: Manifest, facts: VariantFacts) -> OpenVariant:
    settings = dict(facts.settings) if facts.runtime else dict(manifest.settings)
    lowered = LoweredModel(facts.runtime or manifest.runtime, directory, facts.entry, (facts.entry,), settings)
    return OpenVariant(facts, lowered, read_expected(directory, facts.expected, manifest) if facts.expected else None)


def _directory(path: Path) -> Path:
    if path.name == MANIFEST and path.is_file():
        return path.parent
    if path.name.endswith(SUFFIX) and path.is_file():
        raise ArtefactError(
            f"{path} is a bundle, and an artefact's directory is needed here.",
            remedy="check and unpack it: edgec bundle unpack BUNDLE --trust KEY.pub -o DIR",
        )
    if not path.is_dir():
        raise ArtefactError(
            f"{path} is not an artefact: {'it is not a directory' if path.exists() else 'nothing is there'}.",
            remedy="give the directory that `edgec build` wrote",
        )
    if not (path / MANIFEST).is_file():
        raise ArtefactError(
            f"{path} is not an artefact: it has no {MANIFEST}.",
            remedy="give the directory that `edgec build` wrote",
        )
    return path


def _check_consistency(manifest: Manifest, directory: Path) -> None:
    """What a schema cannot check: that the parts of the manifest agree."""
    named = [manifest.entry, *_golden_files(manifest), *(variant.entry for variant in manifest.variants)]
    listed = [file.path for file in manifest.files]
    for path in (*named, *listed):
        inside(directory, path)
    problems = [f"files lists {path} {times} times" for path, times in Counter(listed).items() if times > 1]
    problems += [f"files does not list {path}" for path in named if path not in listed]
    problems += [
        f"nothing is expected of the variant {variant.entry}, which is the artefact's entry"
        for variant in manifest.variants
        if variant.entry == manifest.entry and not variant.expected
    ]
    problems += _check_sizes(manifest)
    problems += [problem for size in manifest.all_sizes for problem in looser(manifest.precision, size.golden)]
    if problems:
        raise ArtefactError(
            f"The manifest at {directory / MANIFEST} contradicts itself.",
            evidence=problems[:_SHOWN],
            remedy="it was edited or damaged: build again, or copy it again from where it is whole",
        )


def _check_sizes(manifest: Manifest) -> list[str]:
    problems = []
    first = manifest.all_sizes[0]
    if (first.input, first.outputs, first.golden) != (manifest.input, manifest.outputs, manifest.golden):
        problems.append("the first of sizes is not what input, outputs and golden say")
    for what, values in (
        ("shape", [size.input.shape for size in manifest.sizes]),
        ("function", [size.function for size in manifest.sizes]),
    ):
        if len(set(values)) != len(values):
            problems.append(f"sizes has a {what} twice")
    for size in manifest.all_sizes:
        shape, names = size.input.shape, [output.name for output in size.outputs]
        if size.input.dtype != "uint8" or len(shape) != 4 or shape[-1] != 3 or min(shape) < 1:
            problems.append(f"input is {size.input.dtype} {shape}, not uint8 [N, H, W, 3]")
        if not names or len(set(names)) != len(names):
            problems.append(f"outputs are {', '.join(map(printable, names)) or 'none'}")
        for output in size.outputs:
            dtype = "int32" if output.role == "labels" else "float32"
            if output.dtype != dtype or len(output.shape) < 2 or min(output.shape) < 1 or output.shape[0] != shape[0]:
                problems.append(f"output {printable(output.name)} is {output.dtype} {output.shape}, not {dtype} [{shape[0]}, …]")
    return problems


def _golden_files(manifest: Manifest) -> list[str]:
    paths = [path for size in manifest.all_sizes for path in size.golden.paths]
    return [*paths, *(variant.expected for variant in manifest.variants if variant.expected)]


def _check_files(manifest: Manifest, directory: Path, check_hashes: bool) -> None:
    missing, changed = [], []
    for file in manifest.files:
        path = inside(directory, file.path)
        if not path.is_file():
            missing.append(f"missing: {file.path}")
            continue
        size = path.stat().st_size
        if size != file.size_bytes:
            changed.append(f"changed: {file.path} has {size} bytes instead of {file.size_bytes}")
        elif check_hashes and (actual := sha256_of(path)) != file.sha256:
            changed.append(f"changed: {file.path} has SHA-256 {actual[:12]}… instead of {printable(file.sha256)[:12]}…")
    listed = {file.path for file in manifest.files}
    unlisted = [f"not in the manifest: {printable(path)}" for path in files_to_list(directory) if path not in listed]
    problems = [*missing, *changed, *unlisted]
    if problems:
        counts = ((len(missing), "missing"), (len(changed), "changed"), (len(unlisted), "not listed"))
        rest = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise ArtefactError(
            f"{directory} is not what its manifest says: {', '.join(f'{n} {what}' for n, what in counts if n)}.",
            evidence=[*problems[:_SHOWN], *rest],
            remedy="build the artefact again, or copy it again from where it is whole",
        )


def _runtime_files(manifest: Manifest) -> tuple[str, ...]:
    """The files in the folder of the runtime's entry and below, except golden vectors and legal texts."""
    folder = PurePosixPath(manifest.entry).parent
    paths = [PurePosixPath(file.path) for file in manifest.files]
    golden = set(_golden_files(manifest))
    return tuple(
        str(path)
        for path in paths
        if path.is_relative_to(folder) and str(path) not in golden and not path.name.lower().startswith(_LEGAL)
    )
