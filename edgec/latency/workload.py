"""How a longer run asks for features, as options say it: a camera's rate, a length, several streams. Checks them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from edgec.errors import RequestError

DEFAULT_SECONDS = 15.0
"""At 30 Hz 450 frames: enough for a p99 that can be compared."""
LONGEST_SECONDS = 24 * 3600.0
LARGEST_FPS = 1e6
MOST_STREAMS = 256
_SHOWN = 32

_UNITS = {"": 1.0, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Workload:
    """How a run asks for features. `fps` is each camera's; None is back to back. `queue` and `deadline_ms` are set where there is
    a camera."""

    seconds: float
    streams: int = 1
    fps: float | None = None
    queue: Literal["latest", "all"] | None = None
    deadline_ms: float | None = None


def parse_seconds(text: str) -> float:
    """The seconds of `60s`, `10m`, `1.5h` or `90`. Raises `RequestError` for anything else."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(ms|s|min|m|h)?\s*", text)
    if match is None:
        raise RequestError(f"{text!r} is no length of time.", remedy="write it as 60s, 10m or 1h")
    return float(match[1]) * _UNITS[match[2] or ""]


def workload(
    *,
    fps: float | None = None,
    seconds: float | None = None,
    streams: int | None = None,
    queue: Literal["latest", "all"] | None = None,
    deadline_ms: float | None = None,
) -> Workload | None:
    """The workload that options ask for; None if they ask for none. Raises `RequestError` for values that make no sense."""
    if fps is None:
        for option, value in (("--queue", queue), ("--deadline", deadline_ms)):
            if value is not None:
                raise RequestError(
                    f"{option} is about a camera's frames.", remedy=f"give the camera's rate with --fps, or leave {option} out"
                )
    _require_within("--fps", fps, LARGEST_FPS, "frames a second")
    _require_within("--duration", seconds, LONGEST_SECONDS, "seconds")
    _require_within("--deadline", deadline_ms, LONGEST_SECONDS * 1000, "milliseconds")
    _require_within("--streams", streams, MOST_STREAMS, "streams")
    if fps is None and seconds is None and streams is None:
        return None
    camera = fps is not None
    return Workload(
        seconds=seconds or DEFAULT_SECONDS,
        streams=streams or 1,
        fps=fps,
        queue=(queue or "latest") if camera else None,
        deadline_ms=(deadline_ms or 1000 / fps) if fps is not None else None,
    )


def check_idle(seconds: float | None) -> None:
    """Raises `RequestError` unless `seconds` is a time that a process can sleep."""
    _require_within("--idle", seconds, 3600.0, "seconds")


def _require_within(option: str, value: float | None, most: float, unit: str) -> None:
    # Infinity and NaN are not within either.
    if value is None or 0 < value <= most:
        return
    shown = str(value).removesuffix(".0")[:_SHOWN]
    raise RequestError(f"{option} {shown} makes no sense.", remedy=f"give more than 0 and at most {most:g} {unit}")
