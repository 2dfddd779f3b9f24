"""Every error, and its exit code. Codes that edgec has too mean the same there.

    BoardError                 1   something that has no code of its own, such as a folder that cannot be written
     ├── UsageError            2   the request is wrong
     ├── WrongBoard            5   the bundle was not built for this board
     ├── ArtefactError         8   the bundle is damaged, incomplete, or for another version of this program
     │    └── EngineChanged    8   an engine has changed since it was verified
     ├── VerificationFailed    9   no engine reproduces the golden features; nothing was activated
     ├── EngineFailed         10   an engine cannot be made, or not be run
     ├── DiskFull             11   no room left
     ├── NoRuntime            12   the runtime is missing, or of a version that the bundle is not for
     ├── EngineHung           13   the runtime said nothing for too long and was ended
     ├── NothingToDo          14   nothing to activate, or to roll back to
     ├── Busy                 15   another run holds the lock, and --no-wait was given
     ├── Untrusted            19   not signed, not by a key that is trusted here, or not as it was signed
     └── Outdated             20   signed, but expired, older than the active release, or another product's

70 is a bug in this program, with a traceback; 128 + n is signal n (130: Ctrl-C).
"""

from __future__ import annotations

from edgec_onboard import errors
from edgec_onboard.errors import ArtefactError, BoardError


class EngineChanged(ArtefactError):
    """An engine's file, or what it was verified with, is not what it was."""


class EngineFailed(BoardError):
    """An engine cannot be made, or not be run."""

    exit_code = 10


class NoRuntime(BoardError):
    """No runtime that works, or of a version that the bundle is not for."""

    exit_code = 12


class EngineHung(BoardError):
    """The runtime said nothing for too long, or ran too long."""

    exit_code = 13


class NothingToDo(BoardError):
    """The step before has not been done, or there is nothing to go back to."""

    exit_code = 14


class Busy(BoardError):
    """Another run holds the lock, and `--no-wait` was given."""

    exit_code = 15


def from_os_error(error: OSError) -> BoardError:
    """An error of the operating system as one of this program's."""
    return errors.from_os_error(
        error,
        room="free some space (`status` lists unused engines), then run the same command again",
        otherwise="check the permissions of --dir, and that its filesystem is not mounted read-only",
    )
