"""A project appears whole or not at all. One that edgec wrote is replaced only while nobody has changed it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import edgec
from edgec.durable import disk_is_full, replace_directory, scratch, sha256_of, sweep, sync, sync_tree
from edgec.errors import ArtefactError, DiskFull, EdgecError
from edgec.records.reading import printable
from edgec.untrusted import Refused, parse_json_object, read_bytes

MARK = "edgec-code.json"
"""Says of a folder that edgec wrote it, and what it wrote."""
_LIMIT_BYTES = 1 << 20
_SHOWN = 8
_BUILT = ("build", "install", "log")
"""What CMake and colcon make."""
_MADE = ("artefact/engine.plan", "artefact/model/float32-nchw.plan")
"""What a project's own programs make."""


def check_project(directory: Path, *, force: bool) -> None:
    """Raises `ArtefactError` if something is at this path, unless `force` is given, it is a project of edgec's, and none of its
    files was changed or added."""
    if not os.path.lexists(directory) or (directory.is_dir() and next(directory.iterdir(), None) is None):
        return
    if not force:
        raise ArtefactError(
            f"{directory} exists already.", remedy="choose another path with -o, or replace a project of edgec's with --force"
        )
    changed = _changed(directory)
    if changed is None:
        raise ArtefactError(
            f"{directory} exists and is not a project of edgec's: it is not replaced, with --force or without.",
            evidence=f"it has no {MARK}",
            remedy="choose another path with -o, or remove it yourself",
        )
    if changed:
        raise ArtefactError(
            f"{directory} was changed since edgec wrote it, and is not replaced.",
            evidence=[*changed[:_SHOWN], *([f"and {len(changed) - _SHOWN} more"] if len(changed) > _SHOWN else [])],
            remedy="write another project with -o and the same --name, and merge the two; or remove this one yourself",
        )


def write_project(directory: Path, fill: Callable[[Path], None], *, language: str, build_key: str, force: bool) -> None:
    """Fill a folder next to the destination, and rename it. Raises as `check_project`, `EdgecError` if it cannot be written, and
    whatever `fill` raises; nothing is left then."""
    destination = Path(os.path.realpath(directory))
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        sweep(destination.parent)
        with scratch(destination.parent) as work:
            fill(work)
            mark = {
                "edgec_version": edgec.__version__,
                "language": language,
                "build_key": build_key,
                "files": {path: sha256_of(work / path) for path in _files(work)},
            }
            (work / MARK).write_text(json.dumps(mark, indent=1) + "\n", encoding="utf-8")
            sync_tree(work)
            check_project(destination, force=force)  # again: others can write here, too
            if destination.is_dir() and any(destination.iterdir()):
                replace_directory(work, destination)
            else:
                work.rename(destination)
            sync(destination.parent)
    except OSError as error:
        if disk_is_full(error, destination.parent):
            raise DiskFull(f"The disk is full: {directory} was not written.", evidence=str(error)) from error
        raise EdgecError(f"{directory} cannot be written.", evidence=str(error), remedy="choose another path with -o") from error


def _changed(directory: Path) -> list[str] | None:
    """What differs from what edgec wrote, a line each; None if it wrote nothing here."""
    try:
        written = parse_json_object(read_bytes(directory / MARK, _LIMIT_BYTES)).get("files")
    except (Refused, FileNotFoundError, NotADirectoryError):
        return None
    if not isinstance(written, dict):
        return None
    here = _files(directory)
    changed = [f"{printable(path)} was added" for path in here if path not in written]
    for path, digest in written.items():
        if path not in here:
            changed.append(f"{printable(str(path))} is gone")
        elif sha256_of(directory / path) != digest:
            changed.append(f"{printable(str(path))} was changed")
    return changed


def _files(directory: Path) -> list[str]:
    """Paths of all files, without the mark, and without what building and running leave."""
    paths = (path.relative_to(directory) for path in sorted(directory.rglob("*")) if path.is_symlink() or not path.is_dir())
    whole = (path for path in paths if path.parts[0] not in _BUILT and "__pycache__" not in path.parts)
    return [path.as_posix() for path in whole if path.as_posix() not in (MARK, *_MADE)]
