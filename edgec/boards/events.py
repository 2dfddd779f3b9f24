"""The events that the program on a board prints, one JSON object per line. Anything else is noise.

Each line and its fields are limited here; `edgec.boards.running` limits how much a board may print in all. The events are listed
in targets/device/edgec_device/output.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgec.untrusted import Refused, parse_json_object

MOST_LINE_BYTES = 1 << 20
_MOST_NOISE = 20
_NOISE_WIDTH = 200
_MOST_VALUES = 1 << 16

Text = Annotated[str, Field(max_length=64 * 1024)]
Size = Annotated[int, Field(ge=0, lt=2**63)]


class FileRequest(BaseModel):
    """A file that the board needs, from byte `offset` on."""

    model_config = ConfigDict(frozen=True, strict=True)

    path: Text
    offset: Size


class Event(BaseModel):
    """The fields of any event that edgec uses. Texts may contain anything: `edgec.cli` must make them harmless."""

    model_config = ConfigDict(frozen=True, strict=True)

    event: Text
    kind: Text = ""
    step: Text = ""
    variant: Text = ""
    text: Text = ""
    detail: Text = ""
    result: Text = ""
    reason: Text = ""
    what: Text = ""
    evidence: tuple[Text, ...] | Text = ()
    remedy: Text = ""
    exit_code: int | None = Field(default=None, ge=0, le=255)
    seconds: float | None = Field(default=None, ge=0, le=1e9)
    done_bytes: Size | None = None
    total_bytes: Size | None = None
    size_bytes: Size | None = None
    path: Text | None = None
    files: tuple[FileRequest, ...] | tuple[Text, ...] = ()


class Reader:
    """Splits the output into lines. It keeps the last lines that are not events: they explain why a program failed to start."""

    def __init__(self) -> None:
        self._pending = b""
        self._skipping = False
        self._noise: deque[str] = deque(maxlen=_MOST_NOISE)
        self.lines = 0
        """How many lines came so far, events or not."""

    @property
    def noise(self) -> list[str]:
        """The last lines that were not events, shortened."""
        return list(self._noise)

    def feed(self, block: bytes) -> Iterator[tuple[Event, dict[str, Any]]]:
        """The events that `block` completes, each parsed and as it came."""
        *lines, self._pending = (self._pending + block).split(b"\n")
        for line in lines:
            self.lines += 1
            if self._skipping:
                self._skipping = False
                continue
            parsed = _event(line)
            if parsed is not None:
                yield parsed
            elif line.strip():
                self._noise.append(line[:_NOISE_WIDTH].decode("utf-8", "replace"))
        if len(self._pending) > MOST_LINE_BYTES:
            self._noise.append(f"a line of more than {MOST_LINE_BYTES} bytes")
            self._pending, self._skipping = b"", True


def _event(line: bytes) -> tuple[Event, dict[str, Any]] | None:
    if len(line) > MOST_LINE_BYTES or not line.lstrip().startswith(b"{"):
        return None
    try:
        raw = parse_json_object(line, most_values=_MOST_VALUES)
        return Event.model_validate_json(line), raw
    except (ValidationError, Refused):
        return None
