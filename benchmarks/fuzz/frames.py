"""Frames: pictures of every format, folders, lists and manifests of strangers; `edgec calibration lint`, and decoding."""

from __future__ import annotations

import io
import os
import shutil
import struct
import zlib
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.fuzz.kinds import Try, command
from benchmarks.fuzz.mutations import TEXTS, bytes_changed, toml_text, value_changed

_MANIFEST: dict[str, Any] = {
    "name": "robot",
    "description": "made here",
    "seed": 3,
    "crop": "centre",
    "sources": [{"path": ["set/*.png", "set"], "name": "first", "every": 2, "limit": 5}, {"path": "more", "name": "second"}],
    "split": {"share": 0.25, "sources": ["second"]},
}


def prepare(corpus: Path) -> None:
    """A small picture in each format and mode that the formats have, one of several frames, and one with EXIF."""
    from PIL import Image

    from tests.support.frames import draw_pictures

    source = Image.open(next(draw_pictures(corpus / "drawn", 1).iterdir())).convert("RGB")
    shutil.rmtree(corpus / "drawn")
    for mode in ("RGB", "L", "1", "P", "RGBA", "LA", "CMYK", "I;16", "I", "F", "YCbCr"):
        for suffix in ("png", "jpg", "bmp", "webp", "tif", "ppm"):
            image = source.convert("L").convert(mode) if mode in ("I;16", "I", "F", "LA") else source.convert(mode)
            try:
                image.save(corpus / f"{mode.replace(';', '-')}.{suffix}")
            except (OSError, ValueError, KeyError):
                (corpus / f"{mode.replace(';', '-')}.{suffix}").unlink(missing_ok=True)
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "group4", "jpeg"):
        image = source.convert("1") if compression == "group4" else source
        image.save(corpus / f"{compression}.tif", compression=compression)
    exif = source.getexif()
    exif[0x0112] = 6
    source.save(corpus / "turned.jpg", exif=exif.tobytes(), progressive=True)
    source.save(corpus / "several.webp", save_all=True, append_images=[source.rotate(90)])
    source.save(corpus / "several.tif", save_all=True, append_images=[source.rotate(90)])
    source.save(corpus / "several.png", save_all=True, append_images=[source.rotate(90)])


def draw(random: Random, corpus: Path, place: Path) -> Try:
    """A folder, list, manifest or single picture for `edgec calibration lint`."""
    folder = place / "set"
    folder.mkdir()
    what = _fill(random, corpus, folder)
    target: Path = folder
    choice = random.random()
    if choice < 0.2:
        target = place / random.choice(("list.txt", "li\x1b[31mst.txt"))
        lines = [f"set/{path.name}" for path in folder.iterdir()] + [
            random.choice(TEXTS) for _ in range(random.choice((0, 1, 4)))
        ]
        data = b"\n".join(line.encode("utf-8", "surrogatepass") if "\ud800" in line else os.fsencode(line) for line in lines)
        target.write_bytes(bytes_changed(random, data) if random.random() < 0.3 else data)
    elif choice < 0.35:
        _copied(folder, place / "more")
        target = place / "set.toml"
        target.write_bytes(toml_text(random, value_changed(random, _MANIFEST)))
    elif choice < 0.5:
        target = random.choice(sorted(folder.iterdir()))
    json_too = ("--json",) * (random.random() < 0.5)
    size = random.choice(("224", "64x96", "32"))
    return Try(
        f"{target.name!r}: {what}",
        command("calibration", "lint", target, "--input-size", size, *json_too),
        lambda: _wrong(target),
        (0, 4),
    )


def _fill(random: Random, corpus: Path, folder: Path) -> str:
    """Some good pictures and some that are not."""
    sources = sorted(corpus.iterdir())
    for number in range(random.choice((0, 3, 9))):
        shutil.copy(random.choice(sources), folder / f"{number}{random.choice(sources).suffix}")
    done = []
    for _ in range(random.choice((1, 1, 3))):
        source = random.choice(sources)
        name = random.choice((source.name, source.name, f"bad{random.choice(sources).suffix}", _odd_name(random, source.suffix)))
        path = folder / name
        choice = random.random()
        if path.is_symlink() or (path.exists() and not path.is_file()):
            continue
        if choice < 0.6:
            path.write_bytes(bytes_changed(random, source.read_bytes(), [random.choice(sources).read_bytes()]))
            done.append(f"bytes of {source.name}")
        elif choice < 0.85:
            data, description = random.choice((_png, _tiff, _bomb, _ppm, _bmp))(random)
            path.write_bytes(data)
            done.append(description)
        else:
            done.append(_odd_entry(random, path))
    return ", ".join(done)


def _copied(folder: Path, target: Path) -> None:
    target.mkdir()
    for path in folder.iterdir():
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 1 << 24:
            shutil.copy(path, target)


def _odd_name(random: Random, suffix: str) -> str:
    texts = [text.replace("/", "_").replace("\0", "_").encode("utf-8", "surrogatepass")[:200] for text in TEXTS]
    return os.fsdecode(random.choice([text for text in texts if text not in (b".", b"..")]) + suffix.encode())


def _odd_entry(random: Random, path: Path) -> str:
    """What is no file, or leads elsewhere."""
    if path.exists():
        return "nothing"
    kind = random.choice(("fifo", "loop", "parent", "device", "missing", "folder", "empty", "sparse", "secret"))
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "sparse":
        with path.open("wb") as file:
            file.write(b"\x89PNG\r\n\x1a\n")
            file.truncate(random.choice((10**6, 10**9, 200 * 10**9)))
    else:
        targets = {"loop": path.name, "parent": "..", "device": "/dev/zero", "missing": "nowhere", "secret": "/proc/self/environ"}
        path.symlink_to(targets[kind])
    return kind


def _png(random: Random) -> tuple[bytes, str]:
    """Chunks with right checksums that lie."""
    numbers = (0, 1, 2, 64, 9000, 2**31 - 1, 2**32 - 1)
    width, height = random.choice(numbers), random.choice(numbers)
    depth, colour = random.choice((1, 2, 4, 8, 16, 0, 255)), random.choice((0, 2, 3, 4, 6, 9))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, random.choice((0, 1, 7))))]
    extra = (b"PLTE", b"tRNS", b"iCCP", b"zTXt", b"iTXt", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"gAMA", b"pHYs", b"ABCD")
    for _ in range(random.choice((0, 1, 4))):
        name = random.choice(extra)
        bomb = b"a\0\0" + zlib.compress(bytes(20_000_000)) if name in (b"iCCP", b"zTXt") else b""
        chunks.append((name, random.choice((b"", random.randbytes(random.choice((1, 3, 12, 26, 700))), bomb))))
    pixels = zlib.compress(bytes(random.choice((0, 10, 200_000, 30_000_000))))
    chunks += [(b"IDAT", pixels)] * random.choice((0, 1, 1, 2)) + [(b"IEND", b"")]
    written = [struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(written), f"PNG {width}x{height}, {depth} bits of {colour}"


def _tiff(random: Random) -> tuple[bytes, str]:
    """A directory whose entries were drawn."""
    order = random.choice("<>")
    tags = (
        254,
        256,
        257,
        258,
        259,
        262,
        270,
        273,
        274,
        277,
        278,
        279,
        282,
        284,
        317,
        320,
        322,
        323,
        324,
        325,
        338,
        339,
        34665,
        700,
    )
    entries = []
    for tag in sorted(random.sample(tags, random.choice((3, 10, len(tags))))):
        form, count = random.choice((1, 2, 3, 4, 5, 7, 11, 12, 16, 99)), random.choice((0, 1, 1, 1, 3, 2**16, 2**31))
        entries.append(
            struct.pack(f"{order}HHII", tag, form, count, random.choice((0, 1, 2, 8, 64, 2**31, random.getrandbits(9))))
        )
    directory = struct.pack(f"{order}H", len(entries)) + b"".join(entries) + struct.pack(f"{order}I", random.choice((0, 8)))
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8) + directory + bytes(4096), "TIFF"


def _bomb(random: Random) -> tuple[bytes, str]:
    """Few bytes, many pixels, nothing wrong otherwise."""
    from PIL import Image

    side = random.choice((3000, 3000, 5000, 5000, 9000, 9434, 20_000, 20_000))
    file = io.BytesIO()
    Image.new("L" if random.random() < 0.7 else "1", (side, side)).save(
        file, random.choice(("PNG", "WEBP") if side < 4000 else ("PNG",))
    )
    return file.getvalue(), f"{side}x{side}"


def _ppm(random: Random) -> tuple[bytes, str]:
    parts = [random.choice(("P1", "P2", "P3", "P4", "P5", "P6", "P7", "Pf", "Py"))]
    parts += [random.choice(("64", "0", "-1", "9" * 400, "1e3", "99999", "# a comment\n64")) for _ in range(2)]
    parts.append(random.choice(("255", "65535", "0", "1", "9" * 30)))
    return (" ".join(parts) + "\n").encode() + bytes(random.choice((0, 100, 64 * 64 * 3))), f"PPM {parts[0]}"


def _bmp(random: Random) -> tuple[bytes, str]:
    width, height = (random.choice((0, 1, 64, -64, 9000, 2**31 - 1)) for _ in range(2))
    bits, packing = random.choice((0, 1, 4, 8, 16, 24, 32, 64)), random.choice((0, 1, 2, 3, 4, 9))
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, packing, 0, 0, 0, random.choice((0, 256, 2**31)), 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, random.choice((54, 0, 2**31))) + header + bytes(20_000), f"BMP {width}x{height}"


def _wrong(target: Path) -> str:
    """Every frame of a set that was accepted decodes to what it must, or is refused by name."""
    import numpy as np

    from edgec.errors import CalibrationError
    from edgec.frames import load

    try:
        frames = load(str(target)).frames
    except CalibrationError:
        return ""  # of the same exit code as a set with errors in it
    for frame in frames[:20]:
        try:
            pixels = frame.read()
        except CalibrationError:
            continue
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[-1] != 3 or 0 in pixels.shape:
            return f"{frame.name} is {pixels.dtype} {pixels.shape}"
    return ""
