"""Removing old releases and engines once a new one is active, so that disks of boards do not fill up over the years.

What stays: the active engine, the one before, which `rollback` goes back to, the newest of each of so many builds before them as
`--keep` says, the releases that these were made of, what an update that is under way would go back to, and the engines of the
bundle that was just activated. Where that is less than the active release, one before and `--keep` others (two releases may have
one engine), the newest other releases stay, too.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Iterable

from edgec_onboard.files import SCRATCH
from edgec_onboard.text import shorten

from edgec_device.files import read_record, remove
from edgec_device.output import megabytes
from edgec_device.seal import activations, current_engine, release_of
from edgec_device.session import Layout, Session
from edgec_device.updating import UPDATE

_WAYS_BACK = 2
"""The active engine, and the one before."""
_SHOWN = 300


def clean(session: Session) -> None:
    """Remove releases and engines that no longer have a use, and say which and how many bytes that freed. The caller must hold
    the lock. Does nothing where it cannot tell what an update that is under way would go back to. A file that cannot be removed
    is said, and ends nothing: what was activated stays active."""
    layout, output = session.layout, session.output
    open_update = _way_back(session.options.root, layout)
    if open_update is None:
        return
    entries = [*_entries_that_stay(layout, session.options.keep), *open_update]
    usable = [variant for variant in session.bundle.variants if not session.tool.refuses(variant, session.profile)]
    engines = {entry["engine"] for entry in entries} | {session.engine(variant).folder.name for variant in usable}
    engines.add(current_engine(layout) or "")
    releases = {release_of(layout, entry).name for entry in entries} | {session.release.name}
    spare = sorted(_others(layout.releases, releases), key=lambda path: path.stat().st_mtime, reverse=True)
    there = sum((layout.releases / name).is_dir() for name in releases)
    releases |= {path.name for path in spare[: max(0, _WAYS_BACK + session.options.keep - there)]}
    old = [*_others(layout.releases, releases), *_others(layout.engines, engines)]
    freed = freed_by_removing(old)
    try:
        for path in old:
            work = path.with_name(SCRATCH + path.name)  # swept by the next run if this one dies meanwhile
            remove(work)
            path.replace(work)
            remove(work)
    except OSError as error:
        line = shorten(f"old releases could not all be removed: {error}", _SHOWN)
        output.emit("log", "  note: " + line, step="clean", line=line)
    removed = [path for path in old if not os.path.lexists(str(path))]
    names = [f"{path.parent.name}/{path.name}" for path in removed]
    text = f"clean: removed {', '.join(names)}: {megabytes(freed)}" if removed else ""
    result = "removed" if removed else "unchanged"
    output.emit("done", shorten(text, _SHOWN), step="clean", result=result, files=names, size_bytes=freed if removed else 0)


def freed_by_removing(paths: Iterable[Path]) -> int:
    """The bytes on the disk of which no name is left when these folders are gone. Raises `OSError`."""
    names: dict[int, int] = {}
    facts: dict[int, os.stat_result] = {}
    for path in paths:
        for file in path.rglob("*"):
            if file.is_file() and not file.is_symlink():
                status = file.stat()
                names[status.st_ino] = names.get(status.st_ino, 0) + 1
                facts[status.st_ino] = status
    return sum(facts[inode].st_size for inode, count in names.items() if count >= facts[inode].st_nlink)


def _entries_that_stay(layout: Layout, keep: int) -> list[dict[str, Any]]:
    """The activations that one may go back to: the last two, and the last one of each of `keep` other builds."""
    past = activations(layout)
    entries = past[-_WAYS_BACK:]
    builds = {entry.get("build_key") for entry in entries}
    further: list[dict[str, Any]] = []
    for entry in reversed(past[:-_WAYS_BACK]):
        if len(further) < keep and entry.get("build_key") not in builds:
            builds.add(entry.get("build_key"))
            further.append(entry)
    return [*entries, *further]


def _way_back(root: Path, layout: Layout) -> list[dict[str, Any]] | None:
    """The activation that an update of this name would go back to, if one is under way; None if its record cannot be read."""
    path = root / UPDATE
    if not os.path.lexists(str(path)):
        return []
    record = read_record(path)
    before = None if record is None else record.get("before")
    if record is None or not isinstance(before, (dict, type(None))):
        return None
    here = before is not None and record.get("name") == layout.home.name and isinstance(before.get("engine"), str)
    return [before] if here and before is not None else []


def _others(folder: Path, names: set[str]) -> list[Path]:
    """What lies in the folder under other names; not what a run is at work on."""
    return sorted(path for path in folder.glob("[!.]*") if path.name not in names)
