"""Reading what something else wrote, within bounds: the artefact's files, and what workers answer.

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


def parse_object(data: bytes, *, most_values: int = MOST_VALUES) -> dict[str, Any]:
    """A JSON object in UTF-8. Raises `Refused`."""
    if data.count(b",") + data.count(b"[") + data.count(b"{") > most_values:
        raise Refused(f"holds more values than it can: over {most_values:,}")
    try:
        value = json.loads(
            data.decode("utf-8"),
            parse_int=_whole,
            parse_float=_finite,
            parse_constant=_no_constant,
            object_pairs_hook=_once_each,
        )
    except Refused:
        raise
    except RecursionError:
        raise Refused("is nested too deeply") from None
    except ValueError as error:
        raise Refused(f"is not whole JSON: {error}") from None
    if not isinstance(value, dict):
        raise Refused(f"holds {type(value).__name__}, not an object")
    return value


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
