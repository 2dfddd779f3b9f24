"""An artefact that a board can finish, checked before anything is sent. The program that runs on the board is this edgec's."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from edgec.artefact.reading import OpenArtefact, open_artefact
from edgec.artefact.statements import check_report
from edgec.backends.bundle_checking import check_bundle
from edgec.backends.checking import budget_of, read_document
from edgec.backends.program import BoardProgram
from edgec.backends.registry import all_backends
from edgec.errors import ArtefactError, TargetError
from edgec.records.reading import printable
from edgec.records.report import Report
from edgec.untrusted import Refused, parse_json_object


@dataclass(frozen=True)
class BoardArtefact:
    """`files` are all that a board may request, by their paths in the artefact. `program` is this edgec's, also among the files;
    `document` is the bundle.json that lists it, from the path `source`."""

    opened: OpenArtefact
    program: bytes
    source: str
    document: bytes
    files: dict[str, Path | bytes]

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

    @cached_property
    def name(self) -> str:
        """What its folder is called on boards. Raises `ArtefactError` if bundle.json does not say."""
        name = parse_json_object(self.document).get("name")
        if not isinstance(name, str):
            raise ArtefactError(
                f"{self.directory / self.source} does not say what the artefact is called.", remedy="build it again"
            )
        return name

    @property
    def directory(self) -> Path:
        """Of the artefact."""
        return self.opened.directory

    def path_for(self, board: str, ending: str) -> Path:
        """Where a file from this board is kept: beside the artefact, whose own content is hashed."""
        folder = self.directory.resolve()
        return folder.with_name(f"{folder.name.removesuffix('.edgec')}.{board}.{ending}")


def open_for_boards(path: Path) -> BoardArtefact:
    """Open an artefact for boards.

    Raises what `open_artefact` does, `TargetError` for an artefact that runs where it was built, and `ArtefactError` for one
    whose report or bundle.json contradicts its manifest.
    """
    opened = open_artefact(path)
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
    document = _updated_bundle(opened, program, archive, report)
    return BoardArtefact(opened, archive, program.document, document, {**files, program.path: archive})


def _updated_bundle(opened: OpenArtefact, program: BoardProgram, archive: bytes, report: Report | None) -> bytes:
    """bundle.json with the hash of the program that is sent, and with the budget if an older edgec left it out. The same bytes
    where nothing differs."""
    document = read_document(opened, program.document)
    facts = {"sha256": hashlib.sha256(archive).hexdigest(), "size_bytes": len(archive)}
    document["files"] = [{**file, **facts} if file["path"] == program.path else file for file in document["files"]]
    if report is not None:
        document.setdefault("budget", budget_of(report))
    return (json.dumps(document, indent=1) + "\n").encode()
