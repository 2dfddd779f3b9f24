"""Filling a release from the wire: what is on the board already is not sent again, and what was half sent goes on from there."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from pathlib import Path
from typing import Any, Iterator, Sequence

from edgec_onboard.errors import ArtefactError
from edgec_onboard.files import is_plain_file, sha256_of

from edgec_device.bundle import BUNDLE, File
from edgec_device.files import publish, remove
from edgec_device.install import check_room
from edgec_device.output import megabytes
from edgec_device.session import Session
from edgec_device.wire import Wire

_PART = ".part"
_ATTEMPTS = 2
_EVENT_S = 1.0


def receive(session: Session, wire: Wire) -> None:
    """Complete the bundle's release; every file is taken by its hash, and the release appears whole. The caller holds the lock.

    Whether board and disk can take it is looked at before anything is sent. Raises what `identify` and `check_room` do, and
    `ArtefactError` for contents that arrive damaged twice; what arrived whole stays for the next run.
    """
    output, release, incoming = session.output, session.release, session.places.incoming
    output.step("copy", str(release))
    if _is_whole(session, wire.document):
        _ask(session, wire, [])
        output.emit("done", "  nothing to do: it is there and whole", step="copy", result="unchanged")
        return
    files = session.bundle.files
    _tidy(incoming, files)
    missing = _collect(session)
    if missing:
        session.identify()
        check_room(session, sum(file.size_bytes - _size(_part(incoming, file)) for file in missing))
    sent, asked = 0, missing
    for _ in range(_ATTEMPTS):
        sent += _ask(session, wire, asked)
        asked = [file for file in asked if not is_plain_file(incoming / file.path)]
        if not asked:
            break
    else:
        raise ArtefactError(
            "Files arrive damaged.",
            evidence=[f"{file.path} has another SHA-256 than the artefact says" for file in asked],
            remedy="check the artefact (`edgec verify`) and the board's disk, then run the same command again",
        )
    path = incoming / BUNDLE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(wire.document)
    release.parent.mkdir(parents=True, exist_ok=True)
    publish(incoming, release)
    remove(incoming)
    text = f"  copied {len(missing)} of {len(files)} files, {megabytes(sent)}"
    output.emit("done", text, step="copy", result="copied", files=[file.path for file in missing], size_bytes=sent)


def _is_whole(session: Session, document: bytes) -> bool:
    release, files = session.release, session.bundle.files
    try:
        if (release / BUNDLE).read_bytes() != document:
            return False
        return all(is_plain_file(release / file.path) and sha256_of(release / file.path) == file.sha256 for file in files)
    except OSError:
        return False


def _tidy(incoming: Path, files: Sequence[File]) -> None:
    """Leave what can still be used."""
    if not incoming.is_dir() or incoming.is_symlink():
        remove(incoming)
        incoming.mkdir(parents=True)
    wanted = {incoming / file.path: file for file in files}
    parts = {_part(incoming, file): file for file in files}
    for folder, folders, names in os.walk(str(incoming)):
        for path in (Path(folder, name) for name in [*names, *folders]):
            if path.is_dir() and not path.is_symlink():
                continue
            file = wanted.get(path) or parts.get(path)
            whole = path in wanted and is_plain_file(path) and sha256_of(path) == wanted[path].sha256
            begun = path in parts and is_plain_file(path) and file is not None and path.stat().st_size <= file.size_bytes
            if not whole and not begun:
                remove(path)


def _collect(session: Session) -> list[File]:
    """Take what other releases of this bundle's name hold; returns the rest. Releases never change, so a link is as good as a
    copy."""
    incoming, missing = session.places.incoming, []
    for file in session.bundle.files:
        path = incoming / file.path
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        source = next(_held(session, file), None)
        if source is None:
            missing.append(file)
            continue
        try:
            os.link(str(source), str(path))
        except OSError:  # a filesystem without links
            part = _part(incoming, file)
            shutil.copyfile(str(source), str(part))
            part.replace(path)
    return missing


def _held(session: Session, file: File) -> Iterator[Path]:
    for release in sorted(session.places.releases.glob("*")):
        path = release / file.path
        if is_plain_file(path) and path.stat().st_size == file.size_bytes and sha256_of(path) == file.sha256:
            yield path


def _ask(session: Session, wire: Wire, files: Sequence[File]) -> int:
    """Have these sent, and take them; returns how many bytes came. A file whose content is wrong in the end is not there."""
    incoming, output = session.places.incoming, session.output
    offsets = [_size(_part(incoming, file)) for file in files]
    wanted: list[dict[str, Any]] = [
        {"path": file.path, "offset": offset, "size_bytes": file.size_bytes} for file, offset in zip(files, offsets)
    ]
    wire.rest()
    output.emit("wanted", step="copy", files=wanted)
    if not files:
        wire.watch()
        return 0
    wire.await_files()
    done = sum(offsets)
    total, told = sum(file.size_bytes for file in files), 0.0
    for file, offset in zip(files, offsets):
        part = _part(incoming, file)
        digest = hashlib.sha256()
        with part.open("a+b") as target:
            target.seek(0)
            for block in iter(lambda: target.read(1 << 20), b""):
                digest.update(block)
            for block in wire.blocks(file.size_bytes - offset):
                target.write(block)
                digest.update(block)
                done += len(block)
                if time.monotonic() - told >= _EVENT_S:
                    told = time.monotonic()
                    output.emit("progress", step="copy", detail=file.path, done_bytes=done, total_bytes=total)
            target.flush()
            os.fsync(target.fileno())
        if digest.hexdigest() == file.sha256:
            if file.path.endswith(".pyz"):
                part.chmod(0o755)
            part.replace(incoming / file.path)
        else:
            part.unlink()
    output.emit("progress", step="copy", detail="flushing", done_bytes=done, total_bytes=total)
    wire.watch()
    return total - sum(offsets)


def _part(incoming: Path, file: File) -> Path:
    """Named after the content too: the beginning of another version is no beginning of this one."""
    path = incoming / file.path
    return path.with_name(f"{path.name}.{file.sha256[:16]}{_PART}")


def _size(path: Path) -> int:
    return path.stat().st_size if is_plain_file(path) else 0
