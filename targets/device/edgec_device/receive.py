"""Receiving a release over the wire: content that the board has already is not sent again, and partial files are completed. Of
files with equal content one is sent, and the others are links to it."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from pathlib import Path
from typing import Any, Collection, Sequence

from edgec_onboard.container import SIGNATURE
from edgec_onboard.errors import ArtefactError
from edgec_onboard.files import is_plain_file, link, sha256_of

from edgec_device import environment
from edgec_device.bundle import BUNDLE, File
from edgec_device.files import publish_folder, remove
from edgec_device.install import check_room, is_installed, require_room
from edgec_device.keys import place
from edgec_device.output import megabytes
from edgec_device.session import Session
from edgec_device.trusted import require_signed, unsigned
from edgec_device.wire import Wire

_PART = ".part"
_ATTEMPTS = 2
_EVENT_S = 1.0
_UNPACKED = 5
"""A package takes at most so many times the room of its wheel."""


def receive(session: Session, wire: Wire, trust: Sequence[str] = ()) -> None:
    """Complete the bundle's release: every file is checked by its hash, the release's signature too on a board that has a key,
    and the release appears whole. Keys in
    `trust`, in PEM, are kept once it was taken. The caller must hold the lock.

    Board and disk are checked before anything is sent. Raises what `identify`, `check_room` and `require_signed` raise, and
    `ArtefactError` for files that arrive damaged twice; files that arrived whole are kept for the next run.
    """
    output, release, incoming = session.output, session.release, session.layout.incoming
    output.step("copy", str(release))
    if session.keys.any and SIGNATURE not in {file.path for file in session.bundle.files}:
        raise unsigned(session.bundle.name)
    wheels = session.bundle.wheels
    if wheels and not environment.is_installed(session.options.root, wheels):
        _receive_wheels(session, wire)
    if is_installed(session, wire.document):
        require_signed(session, release)
        _keep_keys(session, trust)
        _request(session, wire, [], incoming)
        output.emit("done", "  nothing to do: it is installed, and whole", step="copy", result="unchanged")
        return
    files = session.bundle.files
    _tidy(incoming, files)
    missing = _collect(session)
    sent = list({file.sha256: file for file in reversed(missing)}.values())[::-1]
    if missing:
        session.identify()
        check_room(session, sum(file.size_bytes - _size(_part(incoming, file)) for file in sent))
    received = _complete(session, wire, sent, incoming)
    _collect(session)
    path = incoming / BUNDLE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(wire.document)
    require_signed(session, incoming)
    release.parent.mkdir(parents=True, exist_ok=True)
    publish_folder(incoming, release)
    remove(incoming)
    _keep_keys(session, trust)
    text = f"  copied {len(sent)} of {len(files)} files, {megabytes(received)}"
    output.emit("done", text, step="copy", result="copied", files=[file.path for file in sent], size_bytes=received)


def _keep_keys(session: Session, trust: Sequence[str]) -> None:
    path = place(session.system, session.options.root, trust)
    if path is not None:
        line = f"key kept in {path}: from now on only what its holder signed is taken here"
        session.output.emit("log", "  " + line, step="copy", line=line)


def _receive_wheels(session: Session, wire: Wire) -> None:
    """Complete and unpack the packages that the board lacks."""
    wheels, root = session.bundle.wheels, session.options.root
    incoming = environment.incoming(root, wheels)
    _tidy(incoming, wheels)
    missing = [wheel for wheel in wheels if not is_plain_file(incoming / wheel.path)]
    packed = sum(wheel.size_bytes for wheel in wheels)
    require_room(session, _UNPACKED * packed + sum(wheel.size_bytes - _size(_part(incoming, wheel)) for wheel in missing))
    received = _complete(session, wire, missing, incoming)
    text = f"  received {len(missing)} of {len(wheels)} packages, {megabytes(received)}"
    session.output.emit("log", text, step="copy", line=text.strip())
    environment.install(session)


def _complete(session: Session, wire: Wire, missing: Sequence[File], incoming: Path) -> int:
    """Request files until all are whole; returns how many bytes came. Raises `ArtefactError` for files that arrive damaged
    twice."""
    received, remaining = 0, list(missing)
    for _ in range(_ATTEMPTS):
        received += _request(session, wire, remaining, incoming)
        remaining = [file for file in remaining if not is_plain_file(incoming / file.path)]
        if not remaining:
            return received
    raise ArtefactError(
        "Files arrive damaged.",
        evidence=[f"{file.path} has another SHA-256 than was announced" for file in remaining],
        remedy="check the artefact (`edgec verify`) and the board's disk, then run the same command again",
    )


def _tidy(incoming: Path, files: Sequence[File]) -> None:
    """Remove everything that cannot be used for these files."""
    if not incoming.is_dir() or incoming.is_symlink():
        remove(incoming)
        incoming.mkdir(parents=True)
    complete = {incoming / file.path: file for file in files}
    parts = {_part(incoming, file): file for file in files}
    for folder, folders, names in os.walk(str(incoming)):
        for path in (Path(folder, name) for name in [*names, *folders]):
            if path.is_dir() and not path.is_symlink():
                continue
            whole = path in complete and is_plain_file(path) and sha256_of(path) == complete[path].sha256
            partial = path in parts and is_plain_file(path) and path.stat().st_size <= parts[path].size_bytes
            if not whole and not partial:
                remove(path)


def _collect(session: Session) -> list[File]:
    """Link files whose content is there already: in a release of this bundle's name, or among those that were received. Returns
    the others. Releases never change, so a link is as good as a copy."""
    incoming, missing = session.layout.incoming, []
    absent = [file for file in session.bundle.files if not os.path.lexists(str(incoming / file.path))]
    there = _by_content(session, {file.size_bytes for file in absent}) if absent else {}
    for file in absent:
        path = incoming / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        source = there.get(file.sha256)
        if source is None:
            missing.append(file)
        elif not link(source, path):
            part = _part(incoming, file)
            shutil.copyfile(str(source), str(part))
            part.replace(path)
    return missing


def _by_content(session: Session, sizes: Collection[int]) -> dict[str, Path]:
    """Files of these sizes in releases and among what was received, by their SHA-256. Files of one inode are read once."""
    found: dict[str, Path] = {}
    read: set[int] = set()
    for folder in (session.layout.incoming, *sorted(session.layout.releases.glob("[!.]*"))):
        for path in sorted(folder.rglob("*")):
            if path.suffix == _PART or not is_plain_file(path):
                continue
            facts = path.stat()
            if facts.st_size in sizes and facts.st_ino not in read:
                read.add(facts.st_ino)
                found.setdefault(sha256_of(path), path)
    return found


def _request(session: Session, wire: Wire, files: Sequence[File], incoming: Path) -> int:
    """Request these files and receive them; returns how many bytes came. A file that arrives with wrong content is dropped."""
    output = session.output
    offsets = [_size(_part(incoming, file)) for file in files]
    requests: list[dict[str, Any]] = [
        {"path": file.path, "offset": offset, "size_bytes": file.size_bytes} for file, offset in zip(files, offsets)
    ]
    wire.pause()
    output.emit("wanted", step="copy", files=requests)
    if not files:
        wire.watch()
        return 0
    wire.await_files()
    done = sum(offsets)
    total, last_event = sum(file.size_bytes for file in files), 0.0
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
                if time.monotonic() - last_event >= _EVENT_S:
                    last_event = time.monotonic()
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
    """Where a partial file is. Its name includes the content's hash: a part of another version is no part of this one."""
    path = incoming / file.path
    return path.with_name(f"{path.name}.{file.sha256[:16]}{_PART}")


def _size(path: Path) -> int:
    return path.stat().st_size if is_plain_file(path) else 0
