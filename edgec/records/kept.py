"""The line beside a frame that a robot kept because it is unlike the calibration frames (`edgec.onboard.ring`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgec.onboard.ring import LINE
from edgec.untrusted import Refused, complaint, parse_json_object, read_bytes

LIMIT_BYTES = 16 << 10
LARGEST_BYTES = 128 << 20
"""Of a PNG: more than a camera of 40 megapixels gives."""

Text = Annotated[str, Field(max_length=4096)]


class KeptFrame(BaseModel):
    """`bytes` and `sha256` are the PNG's, `build_key` that of the artefact that gave it its drift `score`. Newer programs may say
    more."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    file: Annotated[str, Field(pattern=r"^frame-[0-9]{1,20}\.png$")]
    time: Text
    score: Annotated[float, Field(ge=0)]
    build_key: Text
    source: Text = ""
    height: Annotated[int, Field(ge=1, le=1 << 20)]
    width: Annotated[int, Field(ge=1, le=1 << 20)]
    bytes: Annotated[int, Field(ge=1, le=LARGEST_BYTES)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


def parse_line(line: bytes | str) -> KeptFrame:
    """Raises `Refused` for what is no such line."""
    if len(line) > LIMIT_BYTES:
        raise Refused(f"is too long: {len(line):,} characters")
    try:
        return KeptFrame.model_validate(parse_json_object(line))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise Refused(f"is not a kept frame's: {'.'.join(map(str, problem['loc']))}: {complaint(problem)}"[:300]) from error


def line_of(picture: Path) -> KeptFrame | None:
    """The line beside a picture; None if there is none that can be used, or if it is another file's."""
    try:
        line = parse_line(read_bytes(picture.with_suffix(LINE), LIMIT_BYTES))
    except (Refused, OSError):
        return None
    return line if line.file == picture.name else None
