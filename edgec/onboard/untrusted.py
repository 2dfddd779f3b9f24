"""Reading input that is not trusted, within limits: files, and JSON from boards, workers and other programs.

A file is read up to a limit, and only if it is a regular one. JSON is refused if it holds a number that no 64-bit type holds, NaN
or infinity, a name twice in one object, or more values than any of edgec's or a model's files. All functions raise `Refused`, a
`ValueError` whose text completes the sentence "it …": the caller knows what the content should be, and makes an error of it.
"""

from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path
from typing import Any, NoReturn

MOST_VALUES = 2_000_000
"""Values in one JSON document. A report of an hour at 60 frames a second has some 900,000."""
_LEAST_INTEGER, _MOST_INTEGER = -(2**63), 2**63 - 1
_DIGITS = 32
"""The most characters of a whole number. 64 bits need twenty."""


class Refused(ValueError):
    """What is wrong with the content, as the end of a sentence: "is nested too deeply"."""


def printable(text: str) -> str:
    """Untrusted text on one line, without characters that control a terminal, change direction or have no width."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in " ".join(text.split()))


def read_bytes(path: Path, limit: int) -> bytes:
    """The whole of a regular file of at most `limit` bytes.

    Raises `FileNotFoundError` if there is none, `Refused` if it is not a regular file, is larger, or cannot be read. It never
    waits for devices or pipes. Files in /proc and /sys, whose size is 0, are read all the same.
    """
    try:
        descriptor = os.open(str(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise Refused("is not a regular file")
            with open(descriptor, "rb", closefd=False) as file:
                content = file.read(limit + 1) if status.st_size <= limit else None
        finally:
            os.close(descriptor)
    except (FileNotFoundError, Refused):
        raise
    except (OSError, ValueError) as error:
        raise Refused(f"cannot be read: {error}") from error
    if content is None or len(content) > limit:
        raise Refused(f"is too large: {status.st_size:,} bytes, and {limit:,} is the most")
    return content


def parse_json(data: bytes | str, *, most_values: int = MOST_VALUES, finite: bool = True) -> Any:
    """Strict JSON in UTF-8, with or without a byte order mark. Whole numbers must fit into 64 bits, others must be finite.
    `finite=False` allows NaN and infinities, which an engine may compute.

    Raises `Refused`.
    """
    raw = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
    # One of these comes before each value but the first. Those inside strings count too; the limit leaves room for them.
    if raw.count(b",") + raw.count(b"[") + raw.count(b"{") > most_values:
        raise Refused(f"holds more values than any such file: over {most_values:,}")
    try:
        return json.loads(
            raw.decode("utf-8-sig"),
            parse_int=_whole,
            parse_float=_finite if finite else float,
            parse_constant=_no_constant if finite else float,
            object_pairs_hook=_unique_names,
        )
    except Refused:
        raise
    except RecursionError:
        raise Refused("is nested too deeply") from None
    except ValueError as error:
        raise Refused(f"is not whole JSON: {error}") from None


def parse_json_object(data: bytes | str, *, most_values: int = MOST_VALUES) -> dict[str, Any]:
    """As `parse_json`, for a document that must be an object."""
    value = parse_json(data, most_values=most_values)
    if not isinstance(value, dict):
        raise Refused(f"holds {type(value).__name__}, not an object")
    return value


def check_whole(value: int) -> None:
    """Raises `Refused` for a whole number that does not fit into 64 bits."""
    if not _LEAST_INTEGER <= value <= _MOST_INTEGER:
        raise Refused("holds a whole number that does not fit into 64 bits")


def _whole(text: str) -> int:
    if len(text) > _DIGITS:
        raise Refused(f"holds a whole number of {len(text):,} digits")
    value = int(text)
    check_whole(value)
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise Refused(f"holds a number that is too large: {text[:_DIGITS]}")
    return value


def _no_constant(literal: str) -> NoReturn:
    raise Refused(f"is not whole JSON: {literal} is not JSON")


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object from its pairs. Equal names are refused: readers differ in which of the two they use."""
    table = dict(pairs)
    if len(table) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise Refused(f"has {ascii(name)[:80]} twice in one object")
            seen.add(name)
    return table
