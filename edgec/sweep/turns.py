"""Who may work while: any number of builds at once on a machine, or one that measures, alone.

A build holds a shared lock while it works. To measure it needs the lock for itself, and waits until the others come to a point
where they can pause: between two stages, or two batches. While one waits nobody begins anew. The kernel lets go of a lock when
its holder dies, so that a killed build stops nobody.

The files lie in the machine's folder for temporary files, not in the cache, which several machines may share. They bind the cells
of sweeps, one's own and other ones of the same user; whatever else the machine does is seen while measuring, and told.
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
    """This process's place among the others. While entered it works; `alone` is for measuring.

    Raises `EdgecError` where the folder is not one's own.
    """

    def __init__(self, folder: Path | None = None) -> None:
        folder = folder or Path(tempfile.gettempdir(), f"edgec-turns-{os.getuid()}")
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            status = folder.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
                raise EdgecError(
                    f"{folder} belongs to somebody else: whose turn it is to measure cannot be settled there.",
                    remedy="remove it, or set TMPDIR to a folder of your own",
                )
            # Whoever works shares `_work`; who wants it alone holds `_door` meanwhile, at which everybody else then waits.
            self._work, self._door = (os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600) for name in "wd")
        except OSError as error:
            raise EdgecError(
                "Whose turn it is to measure cannot be settled.",
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
        """Let those measure that wait for it."""
        if self._alone:
            return
        if try_lock(self._door) is False:
            fcntl.flock(self._work, fcntl.LOCK_UN)
            self._begin()
        else:
            fcntl.flock(self._door, fcntl.LOCK_UN)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Waits until no other works, and keeps them from it."""
        fcntl.flock(self._work, fcntl.LOCK_UN)
        fcntl.flock(self._door, fcntl.LOCK_EX)
        fcntl.flock(self._work, fcntl.LOCK_EX)
        self._alone = True
        try:
            yield
        finally:
            self._alone = False
            # The door is still shut: nobody gets between.
            fcntl.flock(self._work, fcntl.LOCK_SH)
            fcntl.flock(self._door, fcntl.LOCK_UN)

    def _begin(self) -> None:
        fcntl.flock(self._door, fcntl.LOCK_EX)
        fcntl.flock(self._work, fcntl.LOCK_SH)
        fcntl.flock(self._door, fcntl.LOCK_UN)
