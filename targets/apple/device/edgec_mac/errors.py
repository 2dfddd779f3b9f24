"""Every refusal, and the exit code that it gives. Codes that edgec has too mean the same there.

    MacError                  1   something that has no code of its own, such as a folder that cannot be written
     ├── UsageError           2   the request is wrong: an option, a name
     ├── WrongMachine         5   no Mac with Apple silicon, a macOS that is too old, or coremltools is missing
     ├── ArtefactError        8   the artefact is damaged or incomplete, or a report is in the way
     ├── VerificationFailed   9   no compute unit reproduces the golden features; no report was written
     ├── CoreMlFailed        10   Core ML loads or runs the package on no compute unit
     └── DiskFull            11   no room left

70 is a bug in this program, with a traceback; 128 + n is signal n (130: Ctrl-C).
"""

from __future__ import annotations

import errno
from collections.abc import Sequence

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class MacError(Exception):
    """What went wrong in a sentence, the evidence, and what to do."""

    exit_code = 1

    def __init__(self, what: str, *, evidence: Sequence[str] = (), remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.evidence = tuple(evidence)
        self.remedy = remedy

    def __str__(self) -> str:
        lines = [self.what, *(f"  {fact}" for fact in self.evidence)]
        if self.remedy:
            lines.append(f"  To do: {self.remedy}")
        return "\n".join(lines)


class UsageError(MacError):
    exit_code = 2


class WrongMachine(MacError):
    exit_code = 5


class ArtefactError(MacError):
    exit_code = 8


class VerificationFailed(MacError):
    exit_code = 9


class CoreMlFailed(MacError):
    exit_code = 10


class DiskFull(MacError):
    exit_code = 11


class Interrupted(BaseException):
    """A signal asked this program to stop; every process that it started is ended on the way out."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.exit_code = 128 + signum


def from_os_error(error: OSError) -> MacError:
    """The refusal that an error of the operating system amounts to."""
    place = error.filename2 or error.filename
    evidence = [f"{place}: {error.strerror}" if place else str(error)]
    if error.errno in DISK_FULL:
        return DiskFull("There is no room left on the disk; nothing was written.", evidence=evidence, remedy="free some space")
    return MacError(
        "The operating system refused.", evidence=evidence, remedy="check permissions, or choose another place with -o"
    )
