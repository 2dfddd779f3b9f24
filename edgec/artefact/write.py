"""Putting an artefact in its place: whole or not at all, and over nothing that is not an artefact."""

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
    """Whether an artefact can be written here, asked before the work starts. Changes nothing.

    Returns the build key of the artefact that would be replaced, if it has one. An empty directory is as good as none.
    Raises `ArtefactError` if something is there and `force` is not given, if what is there is no artefact even so, if it is a
    mount point, which cannot be replaced whole, or if the parent cannot be written.
    """
    place = _place(directory)
    if os.path.ismount(place):
        raise ArtefactError(
            f"{directory} is a mount point: an artefact cannot be put in its place whole.",
            remedy=f"write to a directory in it, for example {directory / 'artefact'}",
        )
    _check_parent(place)  # before what lies in it is looked at, which a folder that may not be searched does not allow
    if os.path.lexists(place) and not _is_empty(place):
        if not _is_artefact(place):
            raise ArtefactError(
                f"{directory} exists and is not an artefact of edgec: it is not replaced, with --force or without.",
                evidence=f"it has no {MANIFEST} of edgec's" if place.is_dir() else "it is not a directory",
                remedy="choose another path with -o, or remove it yourself",
            )
        if not force:
            raise ArtefactError(
                f"{directory} exists already.",
                evidence=f"an artefact with build key {(existing_build_key(place) or 'unknown')[:16]}",
                remedy="choose another path with -o, or replace it with --force",
            )
    return existing_build_key(place)


def write_artefact(directory: Path, fill: Callable[[Path], None], *, force: bool) -> Path:
    """Fill a directory beside, flush it and rename it; returns the path. `fill` writes everything, `manifest.json` included.

    With `force` an older artefact gives way: at every instant one of the two is whole at the path (`edgec.durable`). What builds
    that were killed left in the parent is removed. Raises as `check_destination`, and `ArtefactError` if the disk is full; errors
    of `fill` pass through. In all these cases nothing is left and the older artefact stays.
    """
    place = _place(directory)
    check_destination(directory, force)
    with ExitStack() as stack:
        with _refusals(directory):
            place.parent.mkdir(parents=True, exist_ok=True)
            sweep(place.parent)
            work = stack.enter_context(scratch(place.parent))
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
                work.rename(place)
            except OSError as error:
                if error.errno not in IN_THE_WAY:
                    raise
                check_destination(directory, force)  # the work took minutes, and others can write here too
                replace_directory(work, place)
            sync(place.parent)
    return place


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
        f"The disk is full: the artefact could not be written to {directory}. Nothing of it was kept.",
        evidence=str(error),
        remedy="free some space, or choose a path on another disk with -o",
    )


def _place(directory: Path) -> Path:
    """Behind links: what is replaced is the directory, not the link to it."""
    return Path(os.path.realpath(directory))


def _nearest(place: Path) -> Path:
    """The closest folder above that exists."""
    return next(folder for folder in place.parents if os.path.lexists(folder))


def _check_parent(place: Path) -> None:
    nearest = _nearest(place)
    if not nearest.is_dir():
        raise ArtefactError(f"{nearest} is not a directory, so that {place.name} cannot be written below it.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ArtefactError(
            f"{nearest} is not writable.",
            evidence=f"the artefact would be {place}",
            remedy="choose another path with -o",
        )


def _is_empty(place: Path) -> bool:
    return place.is_dir() and next(place.iterdir(), None) is None


def _is_artefact(place: Path) -> bool:
    """Other programs have files of this name, so that the name alone does not do; a truncated manifest still does."""
    return b'"build_key"' in _manifest_bytes(place)


def _manifest_bytes(place: Path) -> bytes:
    with suppress(FileNotFoundError, Refused):
        return read_bytes(place / MANIFEST, Manifest.limit_bytes)
    return b""
