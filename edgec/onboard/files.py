"""Files that appear whole or not at all, whatever takes the power away."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path

SCRATCH = ".tmp-"
"""What begins with this belongs to a run that is at work, or to one that is dead."""
_BLOCK = 1 << 20


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(_BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()


def is_plain_file(path: Path) -> bool:
    """Whether it is a regular file, and no link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


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


def write_text(path: Path, text: str) -> None:
    """Replace the file in one step; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    work = path.with_name(SCRATCH + path.name)
    try:
        with work.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        work.replace(path)
    except BaseException:
        if os.path.lexists(str(work)):
            work.unlink()
        raise
    sync(path.parent)
