"""Runtimes that `edgec deploy` brings along: wheels, unpacked into a folder of their own. Nothing else on the board changes.

ROOT/environments/KEY/          what the wheels hold, and environment.json: their names and hashes, and the hash of what they held
ROOT/environments/KEY.wheels/   wheels that are being received; removed once they are unpacked

A wheel is a zip archive whose content goes into one folder, and `NAME.data` in it holds folders for other places (PyPA, Binary
distribution format). Neither pip nor a network is needed. KEY is made of the wheels' hashes. Each use checks the whole content:
an environment that has changed is not used, and `edgec deploy` sends it again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from edgec_onboard.errors import ArtefactError, UsageError
from edgec_onboard.files import sha256_of
from edgec_onboard.text import shorten

from edgec_device.bundle import File
from edgec_device.files import publish_folder, read_record, remove, sweep, write_record
from edgec_device.output import megabytes
from edgec_device.session import Session

ENVIRONMENTS = "environments"
RECORD = "environment.json"
_PLACES = ("purelib", "platlib")


def key_of(wheels: Sequence[File]) -> str:
    """The name of the folder for these wheels."""
    return hashlib.sha256("\n".join(sorted(wheel.sha256 for wheel in wheels)).encode()).hexdigest()[:16]


def find(root: Path) -> list[Path]:
    """The folders of environments that are whole, the newest first."""
    folders = [path for path in _published(root) if is_whole(path)]
    return sorted(folders, key=lambda path: (path / RECORD).stat().st_mtime, reverse=True)


def changed(root: Path) -> list[Path]:
    """The folders of environments that have changed since they were unpacked."""
    return [path for path in _published(root) if not is_whole(path)]


def _published(root: Path) -> list[Path]:
    return sorted(path for path in (root / ENVIRONMENTS).glob("[!.]*") if not path.is_symlink() and (path / RECORD).is_file())


def is_whole(folder: Path) -> bool:
    """Whether it holds what was unpacked, and nothing else but what Python compiled. Reads all of it."""
    record = read_record(folder / RECORD)
    try:
        return record is not None and record.get("content_sha256") == content_of(folder)
    except OSError:
        return False


def content_of(folder: Path) -> str:
    """The hash of an environment's files, by their paths. Raises `OSError`."""
    content = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if name.name == RECORD or name.suffix == ".pyc" or path.is_dir():
            continue
        content.update(f"{name.as_posix()}\0{sha256_of(path)}\n".encode("utf-8", "surrogateescape"))
    return content.hexdigest()


def places(session: Session, *others: Path) -> list[tuple[Path, list[Path]]]:
    """Where a runtime may be, in this order: the Python that the option for it names, and no other; else this one with an
    environment's packages; this one; those of the `others` that exist. Each with the folders from which it imports first.

    Raises `UsageError` if the one that is named cannot be started.
    """
    own = Path(sys.executable)
    if session.options.tool:
        named = Path(session.options.tool).expanduser()
        if not os.access(str(named), os.X_OK):
            raise UsageError("There is no Python to run the runtime with.", evidence=[str(named)])
        return [(named.absolute(), [])]
    there = [other for other in others if os.access(str(other), os.X_OK)]
    return [*((own, [folder]) for folder in find(session.options.root)), (own, []), *((python, []) for python in there)]


def is_installed(root: Path, wheels: Sequence[File]) -> bool:
    """Whether there is an environment of these wheels, and it is whole."""
    return is_whole(root / ENVIRONMENTS / key_of(wheels))


def incoming(root: Path, wheels: Sequence[File]) -> Path:
    """Where these wheels lie while they are received."""
    return root / ENVIRONMENTS / (key_of(wheels) + ".wheels")


def install(session: Session) -> None:
    """Unpack the bundle's wheels, which have been received whole. Raises `ArtefactError` for one that is no wheel."""
    root, wheels, output = session.options.root, session.bundle.wheels, session.output
    source, parent = incoming(root, wheels), root / ENVIRONMENTS
    folder = parent / key_of(wheels)
    output.step("environment", str(folder))
    sweep(parent)
    with session.layout.scratch(parent) as work:
        for wheel in wheels:
            path = source / wheel.path
            output.emit("progress", step="environment", detail=f"unpacking {path.name}")
            _unpack(path, work)
        names = {Path(wheel.path).name: wheel.sha256 for wheel in wheels}
        write_record(work / RECORD, {"wheels": names, "content_sha256": content_of(work)})
        size = sum(path.stat().st_size for path in work.rglob("*") if path.is_file())
        publish_folder(work, folder)
    remove(source)
    text = f"  unpacked {len(wheels)} wheels, {megabytes(size)}"
    output.emit("done", text, step="environment", result="installed", files=sorted(names), size_bytes=size)


def _unpack(wheel: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(str(wheel)) as archive:
            archive.extractall(str(folder))  # it keeps members inside of the folder
    except (zipfile.BadZipFile, ValueError, RuntimeError, NotImplementedError, EOFError) as error:
        raise ArtefactError(f"{wheel.name} is no wheel.", evidence=[shorten(str(error), 200)]) from error
    for data in folder.glob("*.data"):
        for place in _PLACES:
            for path in sorted((data / place).glob("*")) if (data / place).is_dir() else ():
                _merge(path, folder / path.name)
        shutil.rmtree(str(data))


def _merge(source: Path, destination: Path) -> None:
    if source.is_dir() and destination.is_dir():
        for path in sorted(source.glob("*")):
            _merge(path, destination / path.name)
    else:
        source.replace(destination)
