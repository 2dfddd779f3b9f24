"""The files in an artefact's directory: which the manifest must list, which are the report, and which it may name."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath

from edgec.durable import sha256_of
from edgec.errors import ArtefactError
from edgec.onboard import documents
from edgec.onboard.container import ADDED
from edgec.records.manifest import MANIFEST, FileFacts
from edgec.records.reading import printable


def is_report(path: str) -> bool:
    """Whether the path is `report.json`, `report.md` and so on, or in `report/`: timings, which the manifest does not cover."""
    first = PurePosixPath(path).parts[0]
    return first == "report" or (path == first and first.startswith("report."))


def files_to_list(directory: Path) -> list[str]:
    """Paths, relative and sorted, of everything that the manifest must list: all but itself, the report, and what a bundle adds
    (`edgec.onboard.container`).

    A link to a directory counts as one entry and is not followed.
    """
    paths = []
    for folder, folders, names in os.walk(directory):
        here = Path(folder)
        links = [name for name in folders if (here / name).is_symlink()]
        paths += [(here / name).relative_to(directory).as_posix() for name in (*names, *links)]
    return sorted(path for path in paths if path != MANIFEST and path not in ADDED and not is_report(path))


def build_manifest_files(directory: Path) -> tuple[FileFacts, ...]:
    """What the manifest says about the directory's files, sorted by path.

    Raises `ArtefactError` for a link or a special file: an artefact holds only files, so that it can be copied.
    """
    facts = []
    for path in files_to_list(directory):
        status = (directory / path).lstat()
        if not stat.S_ISREG(status.st_mode):
            raise ArtefactError(f"{path} in {directory} is not a regular file: an artefact holds nothing else.")
        facts.append(FileFacts(path=path, sha256=sha256_of(directory / path), size_bytes=status.st_size))
    return tuple(facts)


def inside(directory: Path, path: str) -> Path:
    """A listed path, inside the directory. Raises `ArtefactError` if it leads out, by its parts or through a link."""
    try:
        return directory / documents.inside(directory, path)
    except (ValueError, OSError):
        raise ArtefactError(
            "The manifest names a file outside the artefact; nothing was read from it.",
            evidence=(f"path: {printable(path)[:200]!r}", f"artefact: {directory}"),
            remedy="do not use this artefact: edgec never writes such a path",
        ) from None
