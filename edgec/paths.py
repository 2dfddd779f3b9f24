"""Paths as people write them: on the command line, in the environment, in an option's value."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from edgec.errors import RequestError

_SHOWN = 80
_ABSENT = (errno.ENOENT, errno.ENOTDIR)


def expand(reference: str | Path) -> Path:
    """The path with a leading `~` or `~user` replaced. An unknown user is left as it is, as in a shell."""
    # `Path.expanduser` would raise for an unknown user, and both raise `ValueError` for what cannot be a user's name.
    with suppress(ValueError):
        return Path(os.path.expanduser(reference))  # noqa: PTH111
    return Path(reference)


def usable_path(reference: str | Path, what: str = "The path") -> Path:
    """As `expand`, for a path where something may exist or not. `what` begins the sentence of the error.

    Raises `RequestError` for a path that no file can have here (too long, with a NUL, a link to itself) and for one that may not
    be read. Afterwards `exists`, `is_dir` and `stat` fail only if something changes meanwhile.
    """
    path = expand(reference)
    try:
        path.stat()
    except OSError as error:
        if error.errno not in _ABSENT:
            raise _refused(reference, what, error.strerror or str(error)) from error
    except ValueError as error:  # a NUL, or half of a surrogate pair
        raise _refused(reference, what, str(error)) from error
    return path


def is_special(path: Path) -> bool:
    """Whether a device, a pipe or a socket is there, in whose place nothing must be written: root would replace `/dev/null` for
    the whole machine, and opening a pipe waits for a reader."""
    with suppress(OSError, ValueError):
        mode = path.stat().st_mode
        return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
    return False


def _refused(reference: str | Path, what: str, why: str) -> RequestError:
    text = str(reference)
    shown = ascii(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!a}… of {len(text):,} characters"
    return RequestError(f"{what} cannot be used.", evidence=f"{shown}: {why}", remedy="give another path")
