"""Files and directories that appear whole or not at all, whatever kills the process that makes them.

Each is filled under a hidden name on the same filesystem, flushed, and renamed. While its owner lives, it holds an
advisory lock on a file beside; the kernel lets go of it at the owner's death, so that `sweep` can tell remains from work in
progress in any process, container or machine that shares the filesystem. Where locks are not supported nothing is swept.

    .edgec-<random>.lock   the owner's lock; names the destination while a replacement is under way
    .edgec-<random>.tmp    what is being made; after a swap, what was replaced
    .edgec-<random>.old    what is being replaced, where the filesystem cannot swap two directories in one step
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
IN_THE_WAY = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)
"""What renaming a directory gives if something is at its destination; an empty directory there gives way silently."""
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_FULL_BELOW_BYTES = 1 << 20


def try_lock(descriptor: int, *, shared: bool = False) -> bool | None:
    """Lock an open file without waiting: False if another holds it, None where the filesystem has no locks."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def is_still(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one that has this path now."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


@contextmanager
def scratch(parent: Path, *, mode: int = 0o777) -> Iterator[Path]:
    """A new, empty, hidden directory in `parent`. At the end whatever has this name is removed; rename it away to keep it."""
    lock, descriptor = _own(parent)
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
    """A file of this content, in place of one that is there. Raises `OSError`."""
    with scratch(path.parent) as work:
        (work / path.name).write_bytes(content)
        publish(work / path.name, path)


def publish(made: Path, path: Path) -> None:
    """Give a file that was made in a `scratch` beside it its name, flushed, in place of one that is there. Raises `OSError`."""
    sync(made)
    made.replace(path)
    sync(path.parent)


def sync_tree(directory: Path) -> None:
    """Flush every file and folder to the disk, so that a rename after it cannot outlive the content."""
    for folder, _, names in os.walk(directory, topdown=False):
        for name in names:
            if stat.S_ISREG(os.lstat(os.path.join(folder, name)).st_mode):  # noqa: PTH118
                sync(Path(folder, name))
        sync(Path(folder))


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # filesystems that cannot flush a directory
            raise
    finally:
        os.close(descriptor)


def replace_directory(work: Path, destination: Path) -> None:
    """Put the `scratch` directory in place of `destination`, which exists; the old one goes when the scratch ends.

    On Linux the two are swapped in one step. Elsewhere the old one is moved aside first; if the process dies between the two
    renames, `sweep` puts it back.
    """
    if _exchange(work, destination):
        return
    lock = work.with_suffix(".lock")
    lock.write_text(destination.name, encoding="utf-8", errors="surrogateescape")
    sync(lock)
    destination.rename(work.with_suffix(".old"))
    work.rename(destination)


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def copy_hashed(source: Path, destination: Path) -> str:
    """Copy the content; returns the SHA-256 of the very bytes that were written."""
    digest = hashlib.sha256()
    with source.open("rb") as reading, destination.open("wb") as writing:
        while block := reading.read(1 << 20):
            digest.update(block)
            writing.write(block)
    return digest.hexdigest()


def disk_is_full(error: BaseException, directory: Path) -> bool:
    """Whether this error, or one behind it, comes of a full disk. Libraries in C++ lose the code: then free space decides."""
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, OSError) and behind.errno in DISK_FULL:
            return True
        behind = behind.__cause__ or behind.__context__
    with suppress(OSError):
        return not isinstance(error, OSError) and shutil.disk_usage(directory).free < _FULL_BELOW_BYTES
    return False


def _own(parent: Path) -> tuple[Path, int]:
    while True:
        lock = parent / f".edgec-{secrets.token_hex(8)}.lock"
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        # A sweeper may have met the file between its creation and its lock, and removed it.
        if try_lock(descriptor) is not False and is_still(descriptor, lock):
            return lock, descriptor
        os.close(descriptor)


def _clear(lock: Path) -> None:
    """The lock's file goes last, and only when nothing else is left, so that nothing can be orphaned."""
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


def _exchange(one: Path, other: Path) -> bool:
    """Swap two paths in one step. False where the system or the filesystem cannot."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), str(one), None, str(other))
