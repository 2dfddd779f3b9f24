"""An artefact that a board can finish, checked before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from edgec.artefact.device import PROGRAM
from edgec.artefact.reading import OpenArtefact, open_artefact
from edgec.errors import ArtefactError, TargetError
from edgec.report.records import printable
from edgec.untrusted import Refused, parse_json_object

BUNDLE = "device/bundle.json"


@dataclass(frozen=True)
class BoardArtefact:
    """`files` are all that a board may ask for, by their paths in the artefact."""

    opened: OpenArtefact
    program: bytes
    document: bytes
    files: dict[str, Path]

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
    """Raises what `open_artefact` does, and `TargetError` for an artefact that runs where it was built."""
    opened = open_artefact(path)
    manifest, directory = opened.manifest, opened.directory
    files = {file.path: directory / file.path for file in manifest.files}
    if PROGRAM not in files or BUNDLE not in files:
        target = printable(manifest.target)
        raise TargetError(
            f"The artefact is for {target}: there is nothing to deploy.",
            evidence=f"{path} has no {PROGRAM}",
            remedy="build one for boards: edgec build CHECKPOINT --target jetson; to measure this one: edgec bench",
        )
    return BoardArtefact(opened, files[PROGRAM].read_bytes(), files[BUNDLE].read_bytes(), files)
