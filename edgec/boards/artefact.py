"""An artefact that a board can finish, checked before anything is sent. What runs on the board is this edgec's own program."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from edgec.artefact.reading import OpenArtefact, open_artefact
from edgec.artefact.statements import check_report
from edgec.backends.checking import budget_of, check_document, read_document
from edgec.backends.program import BUNDLE, PROGRAM, device_program
from edgec.errors import ArtefactError, TargetError
from edgec.records.reading import printable
from edgec.records.report import Report
from edgec.untrusted import Refused, parse_json_object


@dataclass(frozen=True)
class BoardArtefact:
    """`files` are all that a board may ask for, by their paths in the artefact. `program` is this edgec's own, and so is the one
    among the files; `document` names it."""

    opened: OpenArtefact
    program: bytes
    document: bytes
    files: dict[str, Path | bytes]

    @cached_property
    def variants(self) -> frozenset[str]:
        """What a board may build and measure, by name."""
        try:
            listed = parse_json_object(self.document)["variants"]
            return frozenset(str(each["name"]) for each in listed)
        except (Refused, KeyError, TypeError) as error:
            raise ArtefactError(
                f"{self.directory / BUNDLE} does not say what a board can build.", evidence=str(error), remedy="build it again"
            ) from error

    @property
    def directory(self) -> Path:
        return self.opened.directory

    def beside(self, board: str, ending: str) -> Path:
        """The artefact's own content is hashed: what comes from a board lies beside it."""
        folder = self.directory.resolve()
        return folder.with_name(f"{folder.name.removesuffix('.edgec')}.{board}.{ending}")


def open_for_boards(path: Path) -> BoardArtefact:
    """Raises what `open_artefact` does, `TargetError` for an artefact that runs where it was built, and `ArtefactError` for one
    whose report or bundle.json says something else than its manifest."""
    opened = open_artefact(path)
    manifest, directory = opened.manifest, opened.directory
    files: dict[str, Path | bytes] = {file.path: directory / file.path for file in manifest.files}
    if PROGRAM not in files or BUNDLE not in files:
        target = printable(manifest.target)
        raise TargetError(
            f"The artefact is for {target}: there is nothing to deploy.",
            evidence=f"{path} has no {PROGRAM}",
            remedy="build one for boards: edgec build CHECKPOINT --target jetson; to measure this one: edgec bench",
        )
    report = check_report(manifest, directory)
    check_document(opened, PROGRAM, BUNDLE, report)
    program = device_program()
    return BoardArtefact(opened, program, _naming(opened, program, report), {**files, PROGRAM: program})


def _naming(opened: OpenArtefact, program: bytes, report: Report | None) -> bytes:
    """bundle.json, with the program that is sent in place of the artefact's own, and with the budget where an older edgec left it
    out. The same bytes where nothing differs."""
    said = read_document(opened, BUNDLE)
    facts = {"sha256": hashlib.sha256(program).hexdigest(), "size_bytes": len(program)}
    said["files"] = [{**each, **facts} if each["path"] == PROGRAM else each for each in said["files"]]
    if report is not None:
        said.setdefault("budget", budget_of(report))
    return (json.dumps(said, indent=1) + "\n").encode()
