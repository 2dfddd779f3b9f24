"""What the program on a board says, an event a line, believed only as far as it has the form of one.

The events are listed in targets/jetson/device/edgec_device/output.py.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MOST_LINE_BYTES = 1 << 20
_MOST_NOISE = 20
_NOISE_WIDTH = 200

Text = Annotated[str, Field(max_length=64 * 1024)]


class Wanted(BaseModel):
    """A file that the board lacks from `offset` on."""

    model_config = ConfigDict(frozen=True, strict=True)

    path: Text
    offset: int = Field(ge=0)


class Event(BaseModel):
    """What edgec looks at of an event, whichever it is. The text may hold anything: it is for `edgec.cli` to make it harmless."""

    model_config = ConfigDict(frozen=True, strict=True)

    event: Text
    step: Text = ""
    variant: Text = ""
    text: Text = ""
    detail: Text = ""
    result: Text = ""
    reason: Text = ""
    what: Text = ""
    evidence: tuple[Text, ...] | Text = ()
    remedy: Text = ""
    exit_code: int | None = None
    seconds: float | None = Field(default=None, allow_inf_nan=False)
    done_bytes: int | None = None
    total_bytes: int | None = None
    size_bytes: int | None = None
    path: Text | None = None
    details: Text | None = None
    files: tuple[Wanted, ...] | tuple[Text, ...] = ()


class Reader:
    """Cuts what comes into lines, and keeps the last of those that are no events: they explain a program that failed to start."""

    def __init__(self) -> None:
        self._pending = b""
        self._skipping = False
        self._noise: deque[str] = deque(maxlen=_MOST_NOISE)

    @property
    def noise(self) -> list[str]:
        return list(self._noise)

    def feed(self, block: bytes) -> Iterator[tuple[Event, dict[str, Any]]]:
        """Events that are complete now, each also as it came."""
        *lines, self._pending = (self._pending + block).split(b"\n")
        for line in lines:
            if self._skipping:
                self._skipping = False
                continue
            found = _event(line)
            if found is not None:
                yield found
            elif line.strip():
                self._noise.append(line[:_NOISE_WIDTH].decode("utf-8", "replace"))
        if len(self._pending) > MOST_LINE_BYTES:
            self._noise.append(f"a line of more than {MOST_LINE_BYTES} bytes")
            self._pending, self._skipping = b"", True


def _event(line: bytes) -> tuple[Event, dict[str, Any]] | None:
    if len(line) > MOST_LINE_BYTES:
        return None
    try:
        raw = json.loads(line.decode("utf-8"))
        return (Event.model_validate_json(line), raw) if isinstance(raw, dict) else None
    except (ValidationError, ValueError, RecursionError):
        return None
