"""The graph that a project is for: the artefact's entry, or another one of those that a board may choose from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from edgec.artefact.reading import OpenArtefact, OpenVariant
from edgec.artefact.tolerances import Allowed, allowed
from edgec.backends.checking import read_document
from edgec.backends.program import BUNDLE
from edgec.errors import RequestError
from edgec.lowering.base import Features
from edgec.onboard.runtimes import OPENVINO_SETTINGS
from edgec.records.manifest import FileFacts
from edgec.records.reading import printable

TENSORRT, COREML = "tensorrt", "coreml"
_LEGAL = ("licence", "license", "notice")


@dataclass(frozen=True)
class Engine:
    """What the build compiled of a graph: a file of the artefact, and the `version` of the runtime that it is for."""

    path: str
    version: str


@dataclass(frozen=True)
class Model:
    """`files` are what goes along, by their paths in the artefact: the runtime's, and the weights' licence. `allowed` is how far
    a rerun may be from `expected`. `engine` is None where robots make it. `versions` are the
    first of TensorRT that takes the graph, and the first that was not examined; empty for other runtimes."""

    runtime: str
    precision: str
    entry: str
    settings: Mapping[str, Any]
    files: tuple[FileFacts, ...]
    expected: Features
    allowed: Allowed
    engine: Engine | None = None
    versions: tuple[str, str] = ("", "")

    @property
    def said_settings(self) -> list[tuple[str, str]]:
        """Those that the runtime is given: manifests come from anywhere, and other properties name files and caches."""
        return [(name, str(self.settings[name])) for name in OPENVINO_SETTINGS if name in self.settings]


def variants(artefact: OpenArtefact) -> dict[str, OpenVariant]:
    """The artefact's other graphs, by their names. Nothing is recorded of those that only the target can run, so that a project
    could not test itself."""
    others = [each for each in artefact.variants if each.facts.entry != artefact.manifest.entry and each.expected is not None]
    return {PurePosixPath(each.facts.expected).stem: each for each in others}


def model_of(artefact: OpenArtefact, variant: str | None) -> Model:
    """The variant of this name, or the entry. Raises `RequestError`, which lists the names, if there is none."""
    manifest = artefact.manifest
    known, listed = variants(artefact), _listed(artefact)
    if variant is None or (variant not in known and variant == _entry_name(artefact, listed)):
        size = artefact.sizes[0]
        engine, versions = _engine(listed, manifest.entry), _versions(listed, manifest.entry)
        return Model(
            manifest.runtime,
            manifest.precision,
            manifest.entry,
            manifest.settings,
            _files(artefact, manifest.runtime, manifest.entry, engine),
            size.golden.expected_shipped,
            allowed(manifest.precision, size.facts.golden, same=False),
            engine,
            versions,
        )
    if variant not in known:
        raise RequestError(
            f"The artefact has no variant {printable(variant)!r}.",
            evidence=f"besides its entry it has {', '.join(map(printable, known)) or 'none'}",
            remedy="leave --variant out for the entry",
        )
    chosen = known[variant]
    assert chosen.expected is not None
    engine, versions = _engine(listed, chosen.facts.entry), _versions(listed, chosen.facts.entry)
    return Model(
        chosen.lowered.runtime,
        chosen.facts.precision,
        chosen.facts.entry,
        chosen.lowered.settings,
        _files(artefact, chosen.lowered.runtime, chosen.facts.entry, engine),
        chosen.expected,
        allowed(chosen.facts.precision, same=False),
        engine,
        versions,
    )


def _listed(artefact: OpenArtefact) -> list[dict[str, Any]]:
    """What the artefact's document for boards says of each variant; empty without a document."""
    if BUNDLE not in {file.path for file in artefact.manifest.files}:
        return []
    listed = read_document(artefact, BUNDLE).get("variants")
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []


def _entry_name(artefact: OpenArtefact, listed: Sequence[Mapping[str, Any]]) -> str | None:
    """What boards call the entry."""
    return next((str(each.get("name")) for each in listed if each.get("path") == artefact.manifest.entry), None)


def _engine(listed: Sequence[Mapping[str, Any]], entry: str) -> Engine | None:
    facts = _fact(listed, entry, "engine")
    return Engine(str(facts["path"]), str(facts["version"])) if {"path", "version"} <= facts.keys() else None


def _versions(listed: Sequence[Mapping[str, Any]], entry: str) -> tuple[str, str]:
    facts = _fact(listed, entry, "tensorrt")
    return str(facts.get("min", "")), str(facts.get("below", ""))


def _fact(listed: Sequence[Mapping[str, Any]], entry: str, name: str) -> Mapping[str, Any]:
    """Of the variant with this graph; empty without."""
    facts = next((each.get(name) for each in listed if each.get("path") == entry), None)
    return facts if isinstance(facts, dict) else {}


def _files(artefact: OpenArtefact, runtime: str, entry: str, engine: Engine | None) -> tuple[FileFacts, ...]:
    """The files in the entry's folder, without golden ones, and legal texts wherever they are. Of graphs for TensorRT, each of
    which is one file, only this one, and its engine; of packages of Core ML all that is in them."""
    folder = PurePosixPath(entry).parent
    golden = {path for size in artefact.manifest.all_sizes for path in size.golden.paths}
    golden |= {variant.expected for variant in artefact.manifest.variants}

    def own(path: PurePosixPath) -> bool:
        if runtime == TENSORRT:
            return str(path) in (entry, engine.path if engine else entry)
        return path.is_relative_to(folder) if runtime == COREML else path.parent == folder

    def belongs(path: PurePosixPath) -> bool:
        return (own(path) and str(path) not in golden) or is_legal(path)

    return tuple(file for file in artefact.manifest.files if belongs(PurePosixPath(file.path)))


def is_legal(path: PurePosixPath) -> bool:
    """Whether it is a licence or a notice."""
    return path.name.lower().startswith(_LEGAL)
