"""Reading what something else wrote, within bounds: state on the disk, what trtexec exports, facts of /proc and /sys.

The same rules as edgec/untrusted.py has on the workstation: a regular file up to a limit, whole numbers that fit into 64 bits,
numbers that are finite, no name twice, and no more values than there can be. What breaks them is `Refused`, a `ValueError` whose
text ends the sentence "it …".
"""

from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path
from typing import Any

STATE_BYTES = 64 << 20
"""Of a JSON file of this program's own, or of the bundle."""
MOST_VALUES = 2_000_000
_DIGITS = 32
"""Characters of a whole number that are looked at. 64 bits need twenty."""


class Refused(ValueError):
    """What is wrong with the content, as the end of a sentence: "is nested too deeply"."""


def read_bytes(path: Path, limit: int) -> bytes:
    """The whole of a regular file of at most `limit` bytes. Raises `OSError`, and `Refused` for anything else: devices and pipes
    are never waited for."""
    descriptor = os.open(str(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Refused("is not a regular file")
        content = file.read(limit + 1)  # files of /proc and /sys say that they have no size
    if len(content) > limit:
        raise Refused(f"is larger than {limit:,} bytes")
    return content


def parse_json(text: str, *, most_values: int = MOST_VALUES, finite: bool = True) -> Any:
    """Raises `Refused`. Without `finite`, NaN and infinities are values: what an engine computes may be either."""
    if text.count(",") + text.count("[") + text.count("{") > most_values:
        raise Refused(f"holds more values than it can: over {most_values:,}")
    constant = _no_constant if finite else float
    try:
        return json.loads(
            text,
            parse_int=_whole,
            parse_float=_finite if finite else float,
            parse_constant=constant,
            object_pairs_hook=_once_each,
        )
    except Refused:
        raise
    except RecursionError:
        raise Refused("is nested too deeply") from None
    except ValueError as error:
        raise Refused(f"is not whole JSON: {error}") from None


def read_document(path: Path, limit: int, *, most_values: int = MOST_VALUES) -> Any:
    """JSON in UTF-8. Raises `OSError` or `Refused`."""
    try:
        text = read_bytes(path, limit).decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(f"is not UTF-8: {error.reason}") from None
    return parse_json(text, most_values=most_values)


def _whole(text: str) -> int:
    if len(text) > _DIGITS:
        raise Refused(f"holds a whole number of {len(text):,} digits")
    value = int(text)
    if not -(2**63) <= value < 2**63:
        raise Refused("holds a whole number that does not fit into 64 bits")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise Refused(f"holds a number that is too large: {text[:_DIGITS]}")
    return value


def _no_constant(literal: str) -> Any:
    raise Refused(f"is not whole JSON: {literal} is not JSON")


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Readers differ in which of two equal names they believe."""
    table = dict(pairs)
    if len(table) != len(pairs):
        raise Refused("has a name twice in one object")
    return table
