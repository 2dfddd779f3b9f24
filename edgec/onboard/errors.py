"""What every program on a board refuses with. Exit codes are edgec's own (edgec/errors.py), and mean the same there."""

from __future__ import annotations

import errno
from collections.abc import Sequence

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""EFBIG is what a limit on file sizes gives."""


class BoardError(Exception):
    """What went wrong in a sentence, the evidence, and what to do. It has no code of its own, such as for a folder that cannot be
    written."""

    exit_code = 1

    def __init__(self, what: str, *, evidence: Sequence[str] = (), remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.evidence = tuple(evidence)
        self.remedy = remedy

    def __str__(self) -> str:
        lines = [self.what] + ["  " + fact for fact in self.evidence]
        return "\n".join(lines + (["  To do: " + self.remedy] if self.remedy else []))


class UsageError(BoardError):
    exit_code = 2


class WrongBoard(BoardError):
    exit_code = 5


class ArtefactError(BoardError):
    exit_code = 8


class VerificationFailed(BoardError):
    exit_code = 9


class DiskFull(BoardError):
    exit_code = 11


class Interrupted(BaseException):
    """A signal asked this program to stop; everything that it started is ended on the way out."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.exit_code = 128 + signum


def from_os_error(error: OSError, *, room: str, otherwise: str) -> BoardError:
    """The refusal that an error of the operating system amounts to. `room` is what to do about a full disk, `otherwise` about the
    rest."""
    place = error.filename2 or error.filename
    evidence = [f"{place}: {error.strerror}" if place else str(error)]
    if error.errno in DISK_FULL:
        what = "There is no room left on the disk. Nothing that was there before is lost."
        return DiskFull(what, evidence=evidence, remedy=room)
    return BoardError("The operating system refused.", evidence=evidence, remedy=otherwise)
