"""The graph that a project is for: the artefact's entry, or another one of those that a board may choose from."""

from __future__ import annotations

from collections.abc import Mapping
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

_LEGAL = ("licence", "license", "notice")


@dataclass(frozen=True)
class Model:
    """`files` are what goes along, by their paths in the artefact: the runtime's, and the weights' licence. `allowed` is how far
    a rerun may be from `expected`."""

    runtime: str
    precision: str
    entry: str
    settings: Mapping[str, Any]
    files: tuple[FileFacts, ...]
    expected: Features
    allowed: Allowed

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
    known = variants(artefact)
    if variant is None or (variant not in known and variant == _entry_name(artefact)):
        size = artefact.sizes[0]
        return Model(
            manifest.runtime,
            manifest.precision,
            manifest.entry,
            manifest.settings,
            _files(artefact, manifest.entry),
            size.golden.expected_shipped,
            allowed(manifest.precision, size.facts.golden, same=False),
        )
    if variant not in known:
        raise RequestError(
            f"The artefact has no variant {printable(variant)!r}.",
            evidence=f"besides its entry it has {', '.join(map(printable, known)) or 'none'}",
            remedy="leave --variant out for the entry",
        )
    chosen = known[variant]
    assert chosen.expected is not None
    return Model(
        chosen.lowered.runtime,
        chosen.facts.precision,
        chosen.facts.entry,
        chosen.lowered.settings,
        _files(artefact, chosen.facts.entry),
        chosen.expected,
        allowed(chosen.facts.precision, same=False),
    )


def _entry_name(artefact: OpenArtefact) -> str | None:
    """What boards call the entry, if the artefact has a document for them."""
    if BUNDLE not in {file.path for file in artefact.manifest.files}:
        return None
    listed = read_document(artefact, BUNDLE).get("variants")
    entries = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    return next((str(each.get("name")) for each in entries if each.get("path") == artefact.manifest.entry), None)


def _files(artefact: OpenArtefact, entry: str) -> tuple[FileFacts, ...]:
    """The files in the entry's folder, without golden ones, and legal texts wherever they are."""
    folder = PurePosixPath(entry).parent
    golden = {path for size in artefact.manifest.all_sizes for path in size.golden.paths}
    golden |= {variant.expected for variant in artefact.manifest.variants}

    def belongs(path: PurePosixPath) -> bool:
        return (path.parent == folder and str(path) not in golden) or is_legal(path)

    return tuple(file for file in artefact.manifest.files if belongs(PurePosixPath(file.path)))


def is_legal(path: PurePosixPath) -> bool:
    """Whether it is a licence or a notice."""
    return path.name.lower().startswith(_LEGAL)
