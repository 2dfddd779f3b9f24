"""Paths as people give them: on the command line, in the environment, in an option's value."""

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
    """With `~` and `~user` at the beginning replaced. A user that there is not stays as it stands, as in a shell."""
    # What has no home, or cannot be a user's name, is what Path.expanduser raises RuntimeError or ValueError for.
    with suppress(ValueError):
        return Path(os.path.expanduser(reference))  # noqa: PTH111
    return Path(reference)


def given(reference: str | Path, what: str = "The path") -> Path:
    """As `expand`, for something that may be there or not. `what` begins the sentence that refuses it.

    Raises `RequestError` for what no file can be called here: too long, with a NUL, a link to itself; and for what may not be
    looked at. After that `exists`, `is_dir` and `stat` of it do not fail but for what changes meanwhile.
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
    """Whether a device, a pipe or a socket is there. Nothing is written in its place: for root, renaming a file to `/dev/null`
    takes that away from the whole machine; and opening a pipe waits for somebody."""
    with suppress(OSError, ValueError):
        mode = path.stat().st_mode
        return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
    return False


def _refused(reference: str | Path, what: str, why: str) -> RequestError:
    text = str(reference)
    shown = ascii(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!a}… of {len(text):,} characters"
    return RequestError(f"{what} cannot be used.", evidence=f"{shown}: {why}", remedy="give another path")
