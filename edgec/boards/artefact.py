"""An artefact that a board can finish, checked before anything is sent. The program that runs on the board is this edgec's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from edgec.artefact.reading import OpenArtefact, open_artefact
from edgec.artefact.statements import check_report
from edgec.backends.bundle_checking import check_bundle
from edgec.backends.checking import budget_of, read_document
from edgec.backends.program import BoardProgram
from edgec.backends.registry import all_backends
from edgec.bundle.trusting import trust_in, trusted
from edgec.durable import sha256_of
from edgec.errors import ArtefactError, RequestError, TargetError
from edgec.onboard.container import LICENCE, RELEASE, SBOM, SIGNATURE, SUFFIX
from edgec.onboard.trust import Policy
from edgec.records.manifest import MANIFEST
from edgec.records.reading import printable
from edgec.records.report import Report
from edgec.untrusted import Refused, parse_json_object


@dataclass(frozen=True)
class Delivery:
    """What goes with a signed bundle.json: the release's other `files` and `wheels`, as bundle.json lists files, and public keys
    and certificates, in PEM, which a board keeps that has none."""

    files: tuple[Mapping[str, Any], ...]
    trust: tuple[str, ...] = ()
    wheels: tuple[Mapping[str, Any], ...] = ()

    def as_document(self) -> bytes:
        """As the program on the board reads it (edgec_device/wire.py)."""
        return json.dumps({"files": self.files, "wheels": self.wheels, "trust": self.trust}).encode()


@dataclass(frozen=True)
class BoardArtefact:
    """`path` is what the user named. `files` are all that a board may request, by their paths in the artefact. `program` is this
    edgec's, and runs on boards; `document` is the bundle.json, from the path `source`.

    Of an artefact that is not signed, the program is among the files, and the document lists it. A signed one is sent as it was
    signed: `delivery` are its files that bundle.json does not list, and what comes along.
    """

    path: Path
    opened: OpenArtefact
    program: bytes
    source: str
    document: bytes
    files: dict[str, Path | bytes]
    delivery: Delivery | None = None

    @cached_property
    def variants(self) -> frozenset[str]:
        """Names of the graphs that a board may build and measure. Raises `ArtefactError` if bundle.json does not say."""
        try:
            return frozenset(str(variant["name"]) for variant in parse_json_object(self.document)["variants"])
        except (Refused, KeyError, TypeError) as error:
            raise ArtefactError(
                f"{self.directory / self.source} does not say what a board can build.",
                evidence=str(error),
                remedy="build it again",
            ) from error

    @property
    def directory(self) -> Path:
        """Of the artefact."""
        return self.opened.directory

    def path_for(self, board: str, ending: str) -> Path:
        """Where a file from this board is kept: beside the artefact, whose own content is hashed."""
        place = self.path.resolve()
        return place.with_name(f"{place.name.removesuffix('.edgec').removesuffix(SUFFIX)}.{board}.{ending}")


@contextmanager
def opened_for_boards(path: Path, trust: Sequence[Path] = (), measurers: Sequence[Path] = ()) -> Iterator[BoardArtefact]:
    """As `open_for_boards`, also for a bundle. With `trust`, files with public keys or certificates, the artefact must be signed
    by one of these, and boards without a key get them; `measurers` may have signed its measurement.

    Raises `RequestError` for a bundle without `trust`, or other files than keys; `Untrusted`, `Outdated`, and what
    `open_for_boards` does.
    """
    if trust:
        policy = Policy(trust_in(trust), trust_in(measurers))
        with trusted(path, policy) as (place, _):
            yield _open(path, place, tuple(file.read_text(encoding="ascii") for file in trust))
    elif path.is_file() and path.name.endswith(SUFFIX):
        raise RequestError(f"{path} is a bundle, and no key is trusted.", remedy="give the public key: --trust KEY.pub")
    else:
        yield open_for_boards(path)


def open_for_boards(path: Path) -> BoardArtefact:
    """Open an artefact for boards.

    Raises what `open_artefact` does, `TargetError` for an artefact that runs where it was built, and `ArtefactError` for one
    whose report or bundle.json contradicts its manifest.
    """
    return _open(path, path, ())


def _open(path: Path, place: Path, trust: tuple[str, ...]) -> BoardArtefact:
    opened = open_artefact(place)
    manifest, directory = opened.manifest, opened.directory
    files: dict[str, Path | bytes] = {file.path: directory / file.path for file in manifest.files}
    known = [backend.program for backend in all_backends().values() if backend.program is not None and backend.program.document]
    program = next((each for each in known if each.path in files and each.document in files), None)
    if program is None:
        target = printable(manifest.target)
        raise TargetError(
            f"The artefact is for {target}: there is nothing to deploy.",
            evidence=f"{path} has no {' and no '.join(each.path for each in known)}",
            remedy="build one for boards: edgec build CHECKPOINT --target jetson; to measure this one: edgec bench",
        )
    report = check_report(manifest, directory)
    check_bundle(opened, report, program=program)
    archive = program.archive()
    if (directory / SIGNATURE).is_file():
        document = (directory / program.document).read_bytes()
        delivery = Delivery(tuple(_beside(opened, program, files)), trust)
        return BoardArtefact(path, opened, archive, program.document, document, files, delivery)
    document = _updated_bundle(opened, program, archive, report)
    return BoardArtefact(path, opened, archive, program.document, document, {**files, program.path: archive})


def _beside(opened: OpenArtefact, program: BoardProgram, files: dict[str, Path | bytes]) -> Iterator[dict[str, Any]]:
    """The files of a signed artefact that bundle.json does not list, but for the measurement. They are added to `files`."""
    listed = {str(file["path"]) for file in read_document(opened, program.document)["files"]}
    for name in (MANIFEST, RELEASE, SBOM, LICENCE, SIGNATURE):
        if (opened.directory / name).is_file():
            files[name] = opened.directory / name
    for name in sorted(files.keys() - listed - {program.document}):
        place = opened.directory / name
        yield {"path": name, "sha256": sha256_of(place), "size_bytes": place.stat().st_size}


def _updated_bundle(opened: OpenArtefact, program: BoardProgram, archive: bytes, report: Report | None) -> bytes:
    """bundle.json with the hash of the program that is sent, and with the budget if an older edgec left it out. The same bytes
    where nothing differs."""
    document = read_document(opened, program.document)
    facts = {"sha256": hashlib.sha256(archive).hexdigest(), "size_bytes": len(archive)}
    document["files"] = [{**file, **facts} if file["path"] == program.path else file for file in document["files"]]
    if report is not None:
        document.setdefault("budget", budget_of(report))
    return (json.dumps(document, indent=1) + "\n").encode()
