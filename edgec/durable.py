"""Files and directories that appear whole or not at all, whatever kills the process that makes them.

Each is filled under a hidden name on the same filesystem, flushed, and renamed. While its owner lives, it holds an advisory lock
on a file beside it; the kernel releases the lock when the owner dies, so that `sweep` can tell remains from work in progress, in
any process, container or machine that shares the filesystem. Where locks are not supported nothing is swept.

    .edgec-<random>.lock   the owner's lock; names the destination while a replacement is under way
    .edgec-<random>.tmp    what is being written; after a swap, what was replaced
    .edgec-<random>.old    what is being replaced, where the filesystem cannot swap two directories in one step

Flushing and swapping are `edgec.onboard.files`, which boards use too. They need no locks of this kind: there one run holds a lock
on its whole folder.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgec.onboard.files import exchange
from edgec.onboard.files import publish as publish
from edgec.onboard.files import sha256_of as sha256_of
from edgec.onboard.files import sync as sync
from edgec.onboard.files import sync_tree as sync_tree

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
IN_THE_WAY = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)
"""Errors of renaming a directory onto something that exists; an empty directory is replaced without an error."""
_FULL_BELOW_BYTES = 1 << 20


def try_lock(descriptor: int, *, shared: bool = False) -> bool | None:
    """Lock an open file without waiting: False if another process holds it, None where the filesystem has no locks."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def is_still(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one at this path now."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


@contextmanager
def scratch(parent: Path, *, mode: int = 0o777) -> Iterator[Path]:
    """A new, empty, hidden directory in `parent`. It is removed at the end, unless it was renamed."""
    lock, descriptor = _new_lock(parent)
    try:
        work = lock.with_suffix(".tmp")
        work.mkdir(mode)
        yield work
    finally:
        _clear(lock)
        os.close(descriptor)


def sweep(parent: Path) -> None:
    """Remove what dead processes left in `parent`, and put back what one of them was replacing when it died."""
    for lock in parent.glob(".edgec-*.lock"):
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            if try_lock(descriptor) and is_still(descriptor, lock):
                _clear(lock)
        finally:
            os.close(descriptor)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file of this content, replacing one that exists. Raises `OSError`."""
    with scratch(path.parent) as work:
        (work / path.name).write_bytes(content)
        publish(work / path.name, path)


def replace_directory(work: Path, destination: Path) -> None:
    """Put the `scratch` directory in place of `destination`, which exists; the old one is removed when the scratch ends.

    On Linux the two are swapped in one step. Elsewhere the old one is moved aside first; if the process dies between the two
    renames, `sweep` puts it back.
    """
    if exchange(work, destination):
        return
    lock = work.with_suffix(".lock")
    lock.write_text(destination.name, encoding="utf-8", errors="surrogateescape")
    sync(lock)
    destination.rename(work.with_suffix(".old"))
    work.rename(destination)


def copy_hashed(source: Path, destination: Path) -> str:
    """Copy the content; returns the SHA-256 of the bytes that were written."""
    digest = hashlib.sha256()
    with source.open("rb") as reading, destination.open("wb") as writing:
        while block := reading.read(1 << 20):
            digest.update(block)
            writing.write(block)
    return digest.hexdigest()


def disk_is_full(error: BaseException, directory: Path) -> bool:
    """Whether this error, or one that caused it, comes from a full disk. C++ libraries lose the code: then free space decides."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in DISK_FULL:
            return True
        cause = cause.__cause__ or cause.__context__
    with suppress(OSError):
        return not isinstance(error, OSError) and shutil.disk_usage(directory).free < _FULL_BELOW_BYTES
    return False


def _new_lock(parent: Path) -> tuple[Path, int]:
    while True:
        lock = parent / f".edgec-{secrets.token_hex(8)}.lock"
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        # A sweeping process may have seen the file before it was locked, and removed it.
        if try_lock(descriptor) is not False and is_still(descriptor, lock):
            return lock, descriptor
        os.close(descriptor)


def _clear(lock: Path) -> None:
    """The lock's file is removed last, and only when nothing else is left, so that no remains are without one."""
    work, aside = lock.with_suffix(".tmp"), lock.with_suffix(".old")
    with suppress(OSError):
        if os.path.lexists(aside):
            name = lock.read_text(encoding="utf-8", errors="surrogateescape")
            if Path(name).name == name and not os.path.lexists(lock.parent / name):
                aside.rename(lock.parent / name)
        for path in (aside, work):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        lock.unlink()
