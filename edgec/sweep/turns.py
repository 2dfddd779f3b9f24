"""Taking turns on a machine: any number of builds may work at once, or one measures, alone.

A build holds a shared lock while it works. To measure it needs the lock for itself, and waits until the others come to a point
where they can pause: between two stages, or two batches. While one waits to measure, no other starts to work. The kernel releases
a lock when its holder dies, so that a killed build stops nobody.

The files lie in the machine's folder for temporary files, not in the cache, which several machines may share. They bind
the cells of all sweeps of one user; other work on the machine is noticed while measuring, and reported.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgec.durable import try_lock
from edgec.errors import EdgecError


class Turns:
    """This process among the others. While entered it works; within `alone` it may measure.

    Raises `EdgecError` where the folder for the locks belongs to another user or cannot be written.
    """

    def __init__(self, folder: Path | None = None) -> None:
        folder = folder or Path(tempfile.gettempdir(), f"edgec-turns-{os.getuid()}")
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            status = folder.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
                raise EdgecError(
                    f"{folder} belongs to another user, so that builds cannot take turns at measuring there.",
                    remedy="remove it, or set TMPDIR to a folder of your own",
                )
            # Whoever works shares `_work`; who measures holds it alone, and `_door` as well, at which all others wait.
            self._work, self._door = (os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600) for name in "wd")
        except OSError as error:
            raise EdgecError(
                "Builds cannot take turns at measuring.",
                evidence=str(error),
                remedy="set TMPDIR to a folder that you may write to",
            ) from error
        self._alone = False

    def __enter__(self) -> Turns:
        self._begin()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._work)
        os.close(self._door)

    def pause(self) -> None:
        """Lets processes measure that wait for it."""
        if self._alone:
            return
        if try_lock(self._door) is False:
            fcntl.flock(self._work, fcntl.LOCK_UN)
            self._begin()
        else:
            fcntl.flock(self._door, fcntl.LOCK_UN)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Waits until no other process works, and keeps all from working while entered."""
        fcntl.flock(self._work, fcntl.LOCK_UN)
        fcntl.flock(self._door, fcntl.LOCK_EX)
        fcntl.flock(self._work, fcntl.LOCK_EX)
        self._alone = True
        try:
            yield
        finally:
            self._alone = False
            # The door is still locked: no other can measure in between.
            fcntl.flock(self._work, fcntl.LOCK_SH)
            fcntl.flock(self._door, fcntl.LOCK_UN)

    def _begin(self) -> None:
        fcntl.flock(self._door, fcntl.LOCK_EX)
        fcntl.flock(self._work, fcntl.LOCK_SH)
        fcntl.flock(self._door, fcntl.LOCK_UN)
