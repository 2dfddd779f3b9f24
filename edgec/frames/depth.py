"""Pictures with more than 8 bits a sample: what full scale is.

A camera's 12 bits in a 16-bit file look almost black if they are read as 16. What a file states is obeyed: the maxval of a PGM or
PPM, the bits a sample or the white level of a TIFF, the significant bits of a PNG. If it states nothing, the samples of all
pictures of that camera are read: if some reach the upper half of the range, full scale is 65535; else it is unknown, and the user
is asked.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgec.errors import CalibrationError
from edgec.extras import later
from edgec.frames.sampling import evenly
from edgec.text import cut
from edgec.untrusted import printable

if TYPE_CHECKING:
    from PIL import Image
else:
    Image = later("PIL.Image")

FULL = (1 << 16) - 1
SUFFIXES = frozenset({".png", ".tif", ".tiff"})
"""Of files that may have 16 bits a sample without saying what full scale is."""

_HEADERS, _MEASURED = 256, 64
"""At most so many headers of one camera's pictures are read, and so many pictures decoded."""

_COLOURS = ("RGB", "RGBA")
_GREY = ("I;16", "I;16L", "I;16B", "I;16N")
_MAX_SAMPLE, _WHITE_LEVEL, _PHOTOMETRIC = 281, 50717, 262
_PNG_HEADER = 8
_CHUNKS = 1000


class UnknownDepth(Exception):
    """Why the samples of a picture cannot be brought to 8 bits."""


@dataclass(frozen=True)
class Deep:
    """`white` is the value of full scale, if the file states it. `significant` is the number of bits that a PNG says were
    measured: by its specification the upper ones, but many programs leave them where the camera put them."""

    white: int | None = None
    significant: int = 16


@dataclass
class _Seen:
    """What the samples of `count` pictures tell: the largest, the bits that any of them has (or-ed), and the largest number of
    significant bits that a header states, or 16."""

    count: int = 0
    largest: int = 0
    bits: int = 0
    significant: int = 0


def deep(image: Image.Image, path: Path) -> Deep | None:
    """What the header says of samples with more than 8 bits; None if they have 8. Raises `UnknownDepth` for layouts that are not
    read."""
    raw = _raw_mode(image)
    if image.format == "PPM":
        # Pillow brings samples to 8 or 16 bits by the maxval.
        return Deep(FULL) if image.mode == "I" else None
    if image.mode not in _GREY and not any(mark in raw for mark in (";16", ";12")):
        return None
    if image.format == "TIFF":
        return _of_tiff(image, raw)
    most = max(_significant_bits(path), default=0) if image.format == "PNG" else 0
    return Deep(FULL) if most == 16 else Deep(None, most if 8 <= most < 16 else 16)


def samples(image: Image.Image, opened: Callable[[], Image.Image]) -> NDArray[np.uint16]:
    """All bits of the samples, [H, W] or [H, W, C]. `opened` opens the same file again: of 16-bit colours Pillow gives the upper
    bytes, and in a second pass the lower ones."""
    if image.mode in _GREY or image.mode == "I":
        image.load()
        return np.asarray(image).astype(np.uint16)
    raw = _raw_mode(image)
    colours, _, order = raw.partition(";16")
    order = {"N": "L" if sys.byteorder == "little" else "B"}.get(order, order)
    if colours not in _COLOURS or order not in ("L", "B"):
        raise UnknownDepth(f"16 bits a sample in a layout that is not read ({raw}): store 8 bits")
    upper = np.asarray(image)
    with opened() as other:
        other.tile = [_with_raw_mode(tile, f"{colours};16{'B' if order == 'L' else 'L'}") for tile in other.tile]
        lower = np.asarray(other)
    both: NDArray[np.uint16] = (upper.astype(np.uint16) << 8) | lower
    return both


def to_bytes(values: NDArray[np.uint16], white: int) -> NDArray[np.uint8]:
    """Samples of full scale `white` → uint8. If that is a whole number of bits, the upper eight, as cameras do. Raises
    `UnknownDepth` if a sample is larger than full scale."""
    largest = int(values.max())
    if largest > white:
        raise UnknownDepth(f"its largest sample is {largest}, and full scale is said to be {white}")
    bits = white.bit_length()
    if white == (1 << bits) - 1:
        return (values >> (bits - 8)).astype(np.uint8)
    return (values.astype(np.float32) * (255 / white) + 0.5).astype(np.uint8)


def full_scales(cameras: Mapping[str, Sequence[Path]], opened: Callable[[Path], Image.Image], remedy: str) -> dict[str, int]:
    """Full scale of each camera's deep pictures, by the camera's name, for files that do not state it; cameras without such
    pictures are left out. `opened` raises for a file that is not a picture.

    Raises `CalibrationError` if the samples do not tell full scale.
    """
    scales: dict[str, int] = {}
    unknown: list[str] = []
    for camera, paths in cameras.items():
        candidates = [path for path in paths if path.suffix.lower() in SUFFIXES]
        seen = _look(evenly(candidates, _HEADERS), opened)
        if not seen.count:
            continue
        # By PNG's specification the bits that were measured are the upper ones, and the samples multiples of what is below.
        lower = (1 << (16 - seen.significant)) - 1
        as_specified = seen.significant < 16 and (seen.largest >> seen.significant or not seen.bits & lower)
        if seen.largest >= 1 << 15 or as_specified:
            scales[camera] = FULL
        elif seen.significant < 16:
            scales[camera] = (1 << seen.significant) - 1
        else:
            looks = f"which looks like {max(9, seen.largest.bit_length())} bits" if seen.largest else "all black"
            where = f"{printable(camera)}: the largest sample of {_pictures(seen.count)}"
            unknown.append(f"{where} is {seen.largest} of {FULL}, {looks}")
    if unknown:
        raise CalibrationError(
            "There are pictures with 16 bits a sample, and nothing says what full scale is.",
            evidence=cut(unknown),
            remedy=remedy,
        )
    return scales


def _look(paths: Sequence[Path], opened: Callable[[Path], Image.Image]) -> _Seen:
    """Reads samples of deep pictures that state no full scale, until one is in the upper half of the range."""
    unstated: list[tuple[Path, Deep]] = []
    for path in paths:
        try:
            with opened(path) as image:
                header = deep(image, path)
        except Exception:  # noqa: S112 - what is wrong with it is reported when it is read as a frame
            continue
        if header is not None and header.white is None:
            unstated.append((path, header))
    seen = _Seen(significant=max((header.significant for _, header in unstated), default=16))
    for path, _ in evenly(unstated, _MEASURED):
        try:
            with opened(path) as image:
                values = samples(image, lambda path=path: opened(path))  # type: ignore[misc]
        except Exception:  # noqa: S112
            continue
        seen.count += 1
        seen.largest = max(seen.largest, int(values.max()))
        seen.bits |= int(np.bitwise_or.reduce(values, axis=None))
        if seen.largest >= 1 << 15:
            break
    return seen


def _pictures(count: int) -> str:
    return "the one picture looked at" if count == 1 else f"the {count} pictures looked at"


def _raw_mode(image: Any) -> str:
    """The layout of the samples in the file, by Pillow's name."""
    for tile in image.tile:
        arguments = tile[3]
        first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
        if isinstance(first, str):
            return first
    return ""


def _with_raw_mode(tile: Any, raw: str) -> Any:
    arguments = tile[3]
    return tile._replace(args=(raw, *arguments[1:]) if isinstance(arguments, tuple) else raw)


def _of_tiff(image: Any, raw: str) -> Deep:
    tags = image.tag_v2
    if image.mode in _GREY and tags.get(_PHOTOMETRIC) == 0:
        raise UnknownDepth("16 bits a sample with white as zero: store black as zero, or 8 bits")
    if raw.endswith(";12"):
        return Deep((1 << 12) - 1)
    level = _number(tags.get(_WHITE_LEVEL))
    if level is not None and (1 << 8) <= level <= FULL:
        return Deep(level)
    # Programs also write the largest sample that there happens to be; only whole bits are a scale.
    most = _number(tags.get(_MAX_SAMPLE))
    if most is not None and (1 << 8) < most <= FULL and most & (most + 1) == 0:
        return Deep(most)
    return Deep()


def _number(value: Any) -> int | None:
    values = value if isinstance(value, tuple) else (value,)
    numbers = [int(each) for each in values if isinstance(each, (int, float)) or hasattr(each, "numerator")]
    return max(numbers) if numbers else None


def _significant_bits(path: Path) -> bytes:
    """A PNG's sBIT, a byte a colour; empty if there is none. Pillow does not give it."""
    with path.open("rb") as file:
        colour_type = 0
        file.seek(_PNG_HEADER)
        for _ in range(_CHUNKS):
            length, kind = int.from_bytes(file.read(4), "big"), file.read(4)
            if kind in (b"IDAT", b"IEND", b""):
                break
            if kind == b"IHDR":
                colour_type = file.read(length)[9:10][0]
                file.seek(4, 1)
                continue
            if kind == b"sBIT" and length <= 4:
                return file.read(length)[: 3 if colour_type & 2 else 1]
            file.seek(length + 4, 1)
    return b""
