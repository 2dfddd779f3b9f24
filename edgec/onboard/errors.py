"""Errors of every program on a board. Exit codes have the same meaning as edgec's (edgec/errors.py)."""

from __future__ import annotations

import errno
from collections.abc import Sequence

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""EFBIG is what a limit on file sizes gives."""


class BoardError(Exception):
    """What went wrong in a sentence, the evidence, and what to do. Raised itself for errors without a code of their own, such as
    a folder that cannot be written."""

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
    """An option or a path that cannot be used."""

    exit_code = 2


class WrongBoard(BoardError):
    """A machine, or its software, that the artefact was not built for."""

    exit_code = 5


class ArtefactError(BoardError):
    """An artefact that is damaged or incomplete, or a place that is taken."""

    exit_code = 8


class VerificationFailed(BoardError):
    """Outputs that do not reproduce the golden features."""

    exit_code = 9


class DiskFull(BoardError):
    """No room left on the disk."""

    exit_code = 11


class Untrusted(BoardError):
    """What is not signed, not by a trusted key, or not as it was signed."""

    exit_code = 19


class Outdated(BoardError):
    """What is signed as it should be, but expired, older than what is asked for, or another product."""

    exit_code = 20


class Interrupted(BaseException):
    """A signal asked this program to stop. Everything that it started is ended before it exits."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.exit_code = 128 + signum


def from_os_error(error: OSError, *, room: str, otherwise: str) -> BoardError:
    """An error of the operating system as one of this program's. `room` is the remedy for a full disk, `otherwise` for the
    rest."""
    path = error.filename2 or error.filename
    evidence = [f"{path}: {error.strerror}" if path else str(error)]
    if error.errno in DISK_FULL:
        what = "There is no room left on the disk. No existing file was lost."
        return DiskFull(what, evidence=evidence, remedy=room)
    return BoardError("The operating system refused to read or write a file.", evidence=evidence, remedy=otherwise)
