"""Picture files → uint8 RGB. Files come from outside: only the formats named here are decoded, and only up to a size.

How other pixels become RGB: EXIF orientation is applied; grey is repeated; palettes and CMYK are converted; 16-bit values keep
their high byte; what is transparent is laid over black, since the colour under it is undefined. Colour profiles are ignored, as a
camera has none. Of several pictures in a file the first counts.
"""

from __future__ import annotations

import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from edgec.errors import CalibrationError
from edgec.frames.types import Pixels

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"})
MAX_MEGAPIXELS = 89
"""Pillow's own limit against decompression bombs, above any robot's camera."""

_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "PPM")
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
_TRANSPARENT = ("RGBA", "LA", "PA", "RGBa", "La")


class _Unusable(Exception):
    """Why a picture cannot be used."""


def damaged(name: str, reason: str) -> CalibrationError:
    """The error that reading a damaged frame raises; `reason` is its evidence."""
    return CalibrationError(
        f"The frame {name} is damaged.", evidence=reason, remedy="replace the file, or take it out of the set"
    )


def check(path: Path) -> str | None:
    """Why this file cannot be a frame, judged by its kind and header alone; None if nothing is wrong so far."""
    try:
        with _pillow():
            _open(path).close()
    except _Unusable as error:
        return str(error)
    return None


def decode(path: Path, name: str) -> Pixels:
    """The whole picture, upright. Raises `CalibrationError` naming it if it is damaged."""
    try:
        with _pillow(), _open(path) as image:
            return np.array(_upright_rgb(image))
    except _Unusable as error:
        raise damaged(name, str(error)) from error


def unreadable(path: Path) -> str | None:
    """Why this path cannot be opened as a file: pipes and devices would block, broken links and loops lead nowhere."""
    try:
        mode = path.stat().st_mode
    except (OSError, RuntimeError) as error:
        return _system_reason(error)
    if not stat.S_ISREG(mode):
        return "not a regular file"
    return None


def _system_reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()


def _open(path: Path) -> Image.Image:
    reason = unreadable(path)
    if reason is not None:
        raise _Unusable(reason)
    if path.stat().st_size == 0:
        raise _Unusable("empty file")
    Image.init()  # else Pillow knows some of the formats by name only once it has failed to open a file
    image = Image.open(path, formats=_FORMATS)
    if image.width * image.height > MAX_MEGAPIXELS * 1_000_000:
        image.close()
        raise _Unusable(_too_large())
    return image


def _too_large() -> str:
    return f"larger than {MAX_MEGAPIXELS} megapixels"


@contextmanager
def _pillow() -> Iterator[None]:
    """Whatever Pillow and its codecs raise over a picture, as one reason. Their remarks on odd metadata are not ours to print."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except _Unusable:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise _Unusable(_too_large()) from error
    except UnidentifiedImageError as error:
        raise _Unusable(f"not a picture in any of the formats {', '.join(_FORMATS)}") from error
    except MemoryError as error:
        raise _Unusable("too large for this machine's memory") from error
    except OSError as error:
        raise _Unusable(_system_reason(error)) from error
    except Exception as error:  # codecs raise SyntaxError, ValueError, struct.error, IndexError, … over broken bytes
        raise _Unusable(f"cannot be decoded ({type(error).__name__}: {error})") from error


def _upright_rgb(image: Image.Image) -> Image.Image:
    image.load()
    if image.mode in ("F", "I"):
        raise _Unusable(f"{'floating point' if image.mode == 'F' else '32-bit'} pixels have no known range: store 8 or 16 bits")
    upright = ImageOps.exif_transpose(image)
    if upright.mode in _SIXTEEN_BITS:
        return Image.fromarray((np.asarray(upright).astype(np.uint16) >> 8).astype(np.uint8)).convert("RGB")
    if upright.mode in _TRANSPARENT or "transparency" in upright.info:
        colours = upright.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colours.size, (0, 0, 0, 255)), colours).convert("RGB")
    return upright.convert("RGB")
