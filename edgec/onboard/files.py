"""Files that appear whole or not at all, even if the power fails.

One run at a time writes in a folder and sweeps what dead ones left there: so scratch files have fixed names. Where several
processes write at once, `edgec.durable` gives each a scratch folder of its own.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import shutil
import stat
from pathlib import Path

SCRATCH = ".tmp-"
"""Names that begin with this belong to the run that is at work, or to one that died."""
_BLOCK = 1 << 20
_AT_FDCWD = -100
_EXCHANGE = 2
"""RENAME_EXCHANGE of Linux' renameat2(2), and RENAME_SWAP of macOS' renamex_np(2)."""


def sha256_of(path: Path) -> str:
    """Of the file's content, in hex. Raises `OSError`."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(_BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()


def is_plain_file(path: Path) -> bool:
    """Whether it is a regular file, and not a link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def link(existing: Path, path: Path) -> bool:
    """Give a file a second name, so that its content is on the disk once. False where the file system, or the number of names
    that it allows, does not let it."""
    try:
        os.link(str(existing), str(path))
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EACCES):
            return False
        raise
    return True


def link_or_copy(existing: Path, path: Path) -> None:
    """A second name for a file that never changes; a copy where links cannot be. Raises `OSError`."""
    if not link(existing, path):
        shutil.copyfile(str(existing), str(path))


def sync(path: Path) -> None:
    """Flush a file or a folder's entries to the disk."""
    descriptor = os.open(str(path), os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # filesystems that cannot flush a folder
            raise
    finally:
        os.close(descriptor)


def sync_tree(directory: Path) -> None:
    """Flush every file and folder to the disk, so that the content is there before a later rename is."""
    for folder, _, names in os.walk(str(directory), topdown=False):
        for name in names:
            if is_plain_file(Path(folder, name)):
                sync(Path(folder, name))
        sync(Path(folder))


def publish(work: Path, path: Path) -> None:
    """Give a finished scratch file its name, flushed, replacing one that exists. Raises `OSError`."""
    sync(work)
    work.replace(path)
    sync(path.parent)


def write_text(path: Path, text: str) -> None:
    """Replace the file in one step, making its folder if needed. Raises `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    work = path.with_name(SCRATCH + path.name)
    try:
        work.write_text(text, encoding="utf-8")
        publish(work, path)
    except BaseException:
        if os.path.lexists(str(work)):
            work.unlink()
        raise


def exchange(one: Path, other: Path) -> bool:
    """Swap two paths in one step, so that neither is ever missing. False where the system or the filesystem cannot; raises
    `OSError` if it may not."""
    paths = os.fsencode(str(one)), os.fsencode(str(other))
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if hasattr(library, "renameat2"):
            done = library.renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _EXCHANGE)
        else:
            done = library.renamex_np(*paths, _EXCHANGE)
    except (AttributeError, OSError):
        return False
    if done == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), str(one), None, str(other))
