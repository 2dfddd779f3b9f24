"""Writing an artefact to its destination: whole or not at all, and never in destination of anything but an artefact."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from edgec.durable import IN_THE_WAY, disk_is_full, replace_directory, scratch, sweep, sync, sync_tree
from edgec.errors import ArtefactError, EdgecError
from edgec.records.manifest import MANIFEST, Manifest
from edgec.untrusted import Refused, parse_json_object, read_bytes


def existing_build_key(directory: Path) -> str | None:
    """The build key of the artefact at this path; None if there is none, or its manifest cannot be read."""
    try:
        build_key = parse_json_object(_manifest_bytes(directory)).get("build_key")
    except Refused:
        return None
    return build_key if isinstance(build_key, str) else None


def check_destination(directory: Path, force: bool) -> str | None:
    """Whether an artefact can be written here, checked before the work starts. Changes nothing.

    Returns the build key of the artefact that would be replaced, if it has one. An empty directory counts as nothing.
    Raises `ArtefactError` if something is there and `force` is not given; even with `force` if that is not an artefact, or is a
    mount point, which cannot be replaced whole; and if the parent cannot be written.
    """
    destination = _real_path(directory)
    if os.path.ismount(destination):
        raise ArtefactError(
            f"{directory} is a mount point, which an artefact cannot replace whole.",
            remedy=f"write to a directory in it, for example {directory / 'artefact'}",
        )
    _check_parent(destination)  # first: in a folder that may not be searched, nothing can be looked at
    if os.path.lexists(destination) and not _is_empty(destination):
        if not _is_artefact(destination):
            raise ArtefactError(
                f"{directory} exists and is not an artefact of edgec: it is not replaced, with --force or without.",
                evidence=f"it has no {MANIFEST} from edgec" if destination.is_dir() else "it is not a directory",
                remedy="choose another path with -o, or remove it yourself",
            )
        if not force:
            raise ArtefactError(
                f"{directory} exists already.",
                evidence=f"an artefact with build key {(existing_build_key(destination) or 'unknown')[:16]}",
                remedy="choose another path with -o, or replace it with --force",
            )
    return existing_build_key(destination)


def write_artefact(directory: Path, fill: Callable[[Path], None], *, force: bool) -> Path:
    """Fill a directory next to the destination, flush it and rename it; returns the path. `fill` writes everything, including
    `manifest.json`.

    With `force` an older artefact is replaced: at every moment one of the two is whole at the path (`edgec.durable`). Remains of
    builds that were killed are removed from the parent. Raises as `check_destination`, and `ArtefactError` if the disk is full;
    errors of `fill` pass through. Nothing is then left, and the older artefact stays.
    """
    destination = _real_path(directory)
    check_destination(directory, force)
    with ExitStack() as stack:
        with _refusals(directory):
            destination.parent.mkdir(parents=True, exist_ok=True)
            sweep(destination.parent)
            work = stack.enter_context(scratch(destination.parent))
        try:
            fill(work)
        except Exception as error:
            if not isinstance(error, EdgecError) and disk_is_full(error, work):
                raise _full(directory, error) from error
            raise
        assert (work / MANIFEST).is_file(), "an artefact needs its manifest"
        with _refusals(directory):
            sync_tree(work)
            try:
                work.rename(destination)
            except OSError as error:
                if error.errno not in IN_THE_WAY:
                    raise
                check_destination(directory, force)  # again: the work took minutes, and others can write here too
                replace_directory(work, destination)
            sync(destination.parent)
    return destination


@contextmanager
def _refusals(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if disk_is_full(error, directory):
            raise _full(directory, error) from error
        raise ArtefactError(
            f"The artefact cannot be written to {directory}.",
            evidence=str(error),
            remedy="choose another path with -o",
        ) from error


def _full(directory: Path, error: Exception) -> ArtefactError:
    return ArtefactError(
        f"The disk is full: the artefact could not be written to {directory}. No part of it was kept.",
        evidence=str(error),
        remedy="free some space, or choose a path on another disk with -o",
    )


def _real_path(directory: Path) -> Path:
    """The real path: the directory is replaced, not a link to it."""
    return Path(os.path.realpath(directory))


def _nearest(destination: Path) -> Path:
    """The closest parent folder that exists."""
    return next(folder for folder in destination.parents if os.path.lexists(folder))


def _check_parent(destination: Path) -> None:
    nearest = _nearest(destination)
    if not nearest.is_dir():
        raise ArtefactError(f"{nearest} is not a directory, so {destination.name} cannot be written below it.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ArtefactError(
            f"{nearest} is not writable.",
            evidence=f"the artefact would be {destination}",
            remedy="choose another path with -o",
        )


def _is_empty(destination: Path) -> bool:
    return destination.is_dir() and next(destination.iterdir(), None) is None


def _is_artefact(destination: Path) -> bool:
    """Other programs have files of this name too, so the content counts; a truncated manifest still counts."""
    return b'"build_key"' in _manifest_bytes(destination)


def _manifest_bytes(destination: Path) -> bytes:
    with suppress(FileNotFoundError, Refused):
        return read_bytes(destination / MANIFEST, Manifest.limit_bytes)
    return b""
