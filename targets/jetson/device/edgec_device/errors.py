"""Every refusal, and the exit code that it gives. Codes that edgec has too mean the same there.

    DeviceError                1   something that has no code of its own, such as a folder that cannot be written
     ├── UsageError            2   the request is wrong
     ├── WrongBoard            5   the bundle was not built for this board
     ├── BundleError           8   the bundle is damaged, incomplete, or for another version of this program
     │    └── EngineChanged    8   an engine is not what was verified any more
     ├── VerificationFailed    9   no engine reproduces the golden features; nothing was activated
     ├── TrtexecFailed        10   trtexec failed
     ├── DiskFull             11   no room left
     ├── NoTensorRT           12   trtexec is missing, or of a version that the bundle cannot be built with
     ├── TrtexecHung          13   trtexec said nothing for too long and was ended
     ├── NothingToDo          14   nothing to activate, or to roll back to
     └── Busy                 15   another run holds the lock, and --no-wait was given

70 is a bug in this program, with a traceback; 128 + n is signal n (130: Ctrl-C).
"""

from __future__ import annotations

import errno
from typing import Sequence

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""EFBIG is what a limit on file sizes gives."""


class DeviceError(Exception):
    """What went wrong in a sentence, the evidence, and what to do."""

    exit_code = 1

    def __init__(self, what: str, *, evidence: Sequence[str] = (), remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.evidence = tuple(evidence)
        self.remedy = remedy

    def __str__(self) -> str:
        lines = [self.what] + ["  " + fact for fact in self.evidence]
        if self.remedy:
            lines.append("  To do: " + self.remedy)
        return "\n".join(lines)


class UsageError(DeviceError):
    exit_code = 2


class WrongBoard(DeviceError):
    exit_code = 5


class BundleError(DeviceError):
    exit_code = 8


class EngineChanged(BundleError):
    pass


class VerificationFailed(DeviceError):
    exit_code = 9


class TrtexecFailed(DeviceError):
    exit_code = 10


class DiskFull(DeviceError):
    exit_code = 11


class NoTensorRT(DeviceError):
    exit_code = 12


class TrtexecHung(DeviceError):
    exit_code = 13


class NothingToDo(DeviceError):
    exit_code = 14


class Busy(DeviceError):
    exit_code = 15


class Interrupted(BaseException):
    """A signal asked this program to stop; everything that it started is ended on the way out."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.exit_code = 128 + signum


def from_os_error(error: OSError) -> DeviceError:
    """The refusal that an error of the operating system amounts to."""
    place = error.filename2 or error.filename
    evidence = [f"{place}: {error.strerror}" if place else str(error)]
    if error.errno in DISK_FULL:
        return DiskFull(
            "There is no room left on the disk. Nothing that was there before is lost.",
            evidence=evidence,
            remedy="free some space (`status` lists engines that nothing needs), then run the same command again",
        )
    return DeviceError(
        "The operating system refused.",
        evidence=evidence,
        remedy="check the permissions of --dir, and that its filesystem is not mounted read-only",
    )
