"""Picture files → uint8 RGB. Files come from outside: only the formats named here are decoded, and only up to a size.

How other pixels become RGB: EXIF orientation is applied; grey is repeated; palettes and CMYK are converted; of more than 8 bits
the upper eight are taken, by the full scale that `edgec.frames.depth` finds; transparent pixels are laid over black, since their
colour is undefined. Colour profiles are ignored, as a camera has none, but noted. Of several pictures in a file the first is
taken. A picture for which the decoder had to invent pixels is damaged, and a Bayer mosaic that is stored as grey is refused.
"""

from __future__ import annotations

import io
import stat
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgec.errors import CalibrationError
from edgec.extras import later, require
from edgec.frames import depth, jpeg, mosaic
from edgec.frames.types import Pixels
from edgec.untrusted import printable

if TYPE_CHECKING:
    import PIL
    from PIL import Image, ImageCms, ImageOps
else:
    PIL = later("PIL")
    Image, ImageCms, ImageOps = later("PIL.Image"), later("PIL.ImageCms"), later("PIL.ImageOps")

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pnm"})
MAX_MEGAPIXELS = 89
"""Pillow's own limit against decompression bombs, above any robot's camera."""

_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "PPM")
_TRANSPARENT = ("RGBA", "LA", "PA", "RGBa", "La")
_PNG = b"\x89PNG\r\n\x1a\n"
_LARGEST = 1 << 30
"""Bytes of a file. 89 megapixels of four 16-bit samples are 0.7 GB."""
_UNCHECKED = ("jpeg", "tiff_jpeg", "group3", "group4", "tiff_ccitt", "ccitt")
"""Compressions inside a TIFF whose decoders do not report damage."""
_CAMERA_GAMMA = (0.40, 0.51)
"""The range of a PNG's gAMA for a camera's picture, which has about 1 / 2.2."""


class _Unusable(Exception):
    """Why a picture cannot be used."""


def damaged(name: str, reason: str) -> CalibrationError:
    """The error that reading a damaged frame raises; `reason` is its evidence."""
    return CalibrationError(
        f"The frame {name} is damaged.", evidence=reason, remedy="replace the file, or take it out of the set"
    )


@dataclass(frozen=True)
class Header:
    """`encoding` says in words how the file's colours or brightness differ from a camera's; empty if they do not."""

    deep: depth.Deep | None = None
    encoding: str = ""


def read_header(path: Path) -> Header | str:
    """What the header says, or why the file cannot be a frame."""
    try:
        with _pillow(), _open(path) as image:
            return Header(depth.deep(image, path), _encoding(image))
    except _Unusable as error:
        return str(error)


def decode(path: Path, name: str, white: int | None = None, *, stated: bool = False) -> Pixels:
    """The whole picture, upright. `white` is full scale of samples of more than 8 bits, for a file that does not state it;
    `stated` if it is the user's statement, which must then agree with the file's.

    Raises `CalibrationError` with the frame's name if it is damaged, or if its samples contradict their full scale.
    """
    try:
        with _pillow(), _open(path) as image:
            data = path.read_bytes() if image.format == "JPEG" else b""
            pixels = np.array(_upright_rgb(image, path, white, stated=stated))
            reason = jpeg.fault(data) if data else None
        if reason is not None:
            raise _Unusable(reason)
        return pixels
    except _Unusable as error:
        raise damaged(name, str(error)) from error


def decode_message(data: bytes, name: str) -> Pixels:
    """A JPEG or PNG with 8 bits a sample from a message of a robot's log, upright. Raises `CalibrationError` as `decode`."""
    try:
        with _pillow():
            if data[:8] == _PNG and data[24:25] == b"\x10":
                raise _Unusable("16 bits a sample: record the camera's picture of 8 bits")
            Image.init()
            with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
                if image.width * image.height > MAX_MEGAPIXELS * 1_000_000:
                    raise _Unusable(_too_large())
                image.load()
                pixels = np.array(_rgb(image))
                reason = jpeg.fault(data) if image.format == "JPEG" else None
        if reason is not None:
            raise _Unusable(reason)
        return pixels
    except _Unusable as error:
        raise damaged(name, str(error)) from error


def full_scales(cameras: Mapping[str, Sequence[Path]], remedy: str) -> dict[str, int]:
    """As `depth.full_scales`, without Pillow's warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return depth.full_scales(cameras, _open, remedy)


def unreadable(path: Path) -> str | None:
    """Why this path cannot be opened as a regular file (pipes and devices would block, links may be broken); None if it can."""
    try:
        mode = path.stat().st_mode
    except (OSError, RuntimeError) as error:
        return system_reason(error)
    return None if stat.S_ISREG(mode) else "not a regular file"


def require_decoder() -> None:
    """Raises `MissingPackage` with the line that installs Pillow if it is missing."""
    require("pictures", "Reading pictures")


def system_reason(error: Exception) -> str:
    """The operating system's words for an error, as the end of a sentence."""
    return (getattr(error, "strerror", None) or str(error)).lower()


def _open(path: Path) -> Image.Image:
    reason = unreadable(path)
    if reason is not None:
        raise _Unusable(reason)
    size = path.stat().st_size
    if size == 0:
        raise _Unusable("empty file")
    if size > _LARGEST:
        raise _Unusable(f"larger than {_LARGEST >> 20} MiB")
    Image.init()  # without it Pillow does not know some of the formats until it has failed to open a file
    image = Image.open(path, formats=_FORMATS)
    if image.width * image.height > MAX_MEGAPIXELS * 1_000_000:
        image.close()
        raise _Unusable(_too_large())
    if image.format == "TIFF" and image.info.get("compression") in _UNCHECKED:
        image.close()
        raise _Unusable(f"a TIFF compressed with {image.info['compression']}, in which damage cannot be seen: store it without")
    return image


def _too_large() -> str:
    return f"larger than {MAX_MEGAPIXELS} megapixels"


@contextmanager
def _pillow() -> Iterator[None]:
    """Turns whatever Pillow and its codecs raise into `_Unusable` with a reason, and silences their warnings about metadata."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except _Unusable:
        raise
    except depth.UnknownDepth as error:
        raise _Unusable(str(error)) from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise _Unusable(_too_large()) from error
    except PIL.UnidentifiedImageError as error:
        raise _Unusable(f"not a picture in any of the formats {', '.join(_FORMATS)}") from error
    except MemoryError as error:
        raise _Unusable("too large for this machine's memory") from error
    except OSError as error:
        raise _Unusable(system_reason(error)) from error
    except Exception as error:  # codecs raise SyntaxError, ValueError, struct.error, IndexError, … over broken bytes
        raise _Unusable(f"cannot be decoded ({type(error).__name__}: {error})") from error


def _upright_rgb(image: Image.Image, path: Path, white: int | None, *, stated: bool) -> Image.Image:
    header = depth.deep(image, path)
    image.load()
    if header is not None:
        image = _eight_bits(image, header, path, white, stated=stated)
    if image.mode in ("F", "I"):
        raise _Unusable(f"{'floating point' if image.mode == 'F' else '32-bit'} pixels have no known range: store 8 or 16 bits")
    return _rgb(image)


def _rgb(image: Image.Image) -> Image.Image:
    """Upright, of a picture with 8 bits a sample."""
    if image.mode == "L" and mosaic.is_mosaic(np.asarray(image)):
        raise _Unusable(mosaic.WHAT)
    upright = ImageOps.exif_transpose(image)
    if upright.mode in _TRANSPARENT or "transparency" in upright.info:
        colours = upright.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colours.size, (0, 0, 0, 255)), colours).convert("RGB")
    return upright.convert("RGB")


def _eight_bits(image: Image.Image, header: depth.Deep, path: Path, white: int | None, *, stated: bool) -> Image.Image:
    """The same picture with 8 bits a sample, and its EXIF. Of colours with full scale 65535 Pillow has read the upper bytes
    already."""
    if stated and white is not None and header.white not in (None, depth.FULL, white):
        raise _Unusable(f"the file says that full scale is {header.white}, and the manifest that it is {white}")
    scale = white if stated and white is not None else header.white or white
    if scale is None:
        raise _Unusable("16 bits a sample, and nothing says what full scale is")
    if scale == depth.FULL and image.mode in ("RGB", *_TRANSPARENT):
        return image
    with _open(path) as again:
        pixels = depth.to_bytes(depth.samples(again, lambda: _open(path)), scale)
    converted = Image.fromarray(pixels)
    converted.info = {key: value for key, value in image.info.items() if key != "transparency"}
    converted.getexif().update(image.getexif())
    return converted


def _encoding(image: Image.Image) -> str:
    """The colour profile or gamma that a camera's picture would not have, in words; empty if there is none."""
    profile = image.info.get("icc_profile")
    if profile:
        try:
            name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile))).strip()
        except Exception:  # a damaged profile does no harm: none is applied
            name = "that cannot be read"
        return "" if "srgb" in name.lower() else f"the colour profile {printable(name)[:60]}"
    gamma = image.info.get("gamma")
    if isinstance(gamma, float) and not _CAMERA_GAMMA[0] <= gamma <= _CAMERA_GAMMA[1] and "srgb" not in image.info:
        return f"a gamma of {gamma:.3g}"
    return ""
