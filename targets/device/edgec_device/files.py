"""Records, folders and links that appear whole or not at all; and the lock by which only one run at a time has scratch files."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

from edgec_onboard.errors import BoardError
from edgec_onboard.files import SCRATCH, exchange, sync, sync_tree, write_text
from edgec_onboard.untrusted import parse_json, read_bytes

from edgec_device.errors import Busy
from edgec_device.output import Output, elapsed

SEAL = "record_sha256"
"""The member of this program's records that holds the SHA-256 of all others."""
STATE_BYTES = 64 << 20
"""The most bytes of one of this program's JSON files, or of the bundle."""
_HEARTBEAT_S = 10.0


def write_json(path: Path, value: Any) -> None:
    """Replace the file in one step. Raises `ValueError` for NaN, which is not JSON."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in the file; None if there is no file, or it holds anything else: another program wrote it, or not all of it."""
    try:
        value = parse_json(read_bytes(path, STATE_BYTES))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def write_record(path: Path, value: dict[str, Any]) -> None:
    """As `write_json`, with a seal, so that a record that was edited or damaged does not count."""
    write_json(path, {**value, SEAL: _sealed(value)})


def read_record(path: Path) -> dict[str, Any] | None:
    """What `write_record` wrote, without the seal; None if it has changed. Older versions of this program wrote no seals."""
    value = read_json(path)
    seal = None if value is None else value.pop(SEAL, None)
    return value if value is None or seal is None or seal == _sealed(value) else None


def _sealed(value: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()


def publish_folder(work: Path, destination: Path) -> None:
    """Give a finished scratch folder its name, after flushing all of it, replacing what exists."""
    sync_tree(work)
    if not os.path.lexists(str(destination)):
        work.replace(destination)
    elif not exchange(work, destination):
        old = destination.with_name(SCRATCH + "old-" + destination.name)
        remove(old)
        destination.replace(old)
        work.replace(destination)
        remove(old)
    sync(destination.parent)


def point(link: Path, target: str) -> None:
    """Make `link` a symbolic link to `target`, in one step, whatever it was before."""
    work = link.with_name(SCRATCH + link.name)
    remove(work)
    work.symlink_to(target)
    work.replace(link)
    sync(link.parent)


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with everything in it; nothing if none exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(str(path))
    elif os.path.lexists(str(path)):
        path.unlink()


def sweep(*folders: Path) -> None:
    """Remove what dead runs left. The caller must hold the lock."""
    for folder in folders:
        if folder.is_dir():
            for path in folder.glob(SCRATCH + "*"):
                remove(path)


@contextmanager
def lock(path: Path, output: Output, *, wait: bool) -> Iterator[None]:
    """Be the only run under this root. The kernel releases the lock when its holder dies. Raises `Busy` unless `wait`."""
    descriptor = os.open(str(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _take(descriptor, path, output, wait)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: Path, output: Output, wait: bool) -> None:
    began = last_event = time.monotonic()
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            pass
        except OSError as error:
            raise BoardError(
                "The folder given as --dir is on a filesystem without locks, so two runs could use it at once.",
                evidence=[f"{path}: {error.strerror}"],
                remedy="choose a folder on the board's own disk with --dir",
            ) from error
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        if not wait:
            raise Busy(
                "Another run uses this folder.",
                evidence=[f"process {holder} holds {path}"],
                remedy="wait until it has ended, or leave out --no-wait: this run then waits",
            )
        now = time.monotonic()
        if now - last_event >= _HEARTBEAT_S or last_event == began:
            text = f"  waiting for process {holder}, which uses this folder ({elapsed(now - began)})"
            output.emit("progress", text, step="lock", seconds=round(now - began, 1), detail="process " + holder)
            last_event = now
        time.sleep(0.2)
