"""Every error, and its exit code. Codes that edgec has too mean the same there.

    BoardError                1   something that has no code of its own, such as a folder that cannot be written
     ├── UsageError           2   the request is wrong: an option, a name
     ├── WrongBoard           5   no Mac with Apple silicon, a macOS that is too old, or coremltools is missing
     ├── ArtefactError        8   the artefact is damaged or incomplete, or measurements are in the way
     ├── VerificationFailed   9   no compute unit reproduces the golden features; nothing was written
     ├── CoreMlFailed        10   Core ML loads or runs the package on no compute unit
     └── DiskFull            11   no room left

70 is a bug in this program, with a traceback; 128 + n is signal n (130: Ctrl-C).
"""

from __future__ import annotations

from edgec_onboard import errors
from edgec_onboard.errors import BoardError


class CoreMlFailed(BoardError):
    """Core ML compiles the package not at all, or runs it on no compute unit."""

    exit_code = 10


def from_os_error(error: OSError) -> BoardError:
    """An error of the operating system as one of this program's."""
    return errors.from_os_error(error, room="free some space", otherwise="check permissions, or choose another folder with -o")
