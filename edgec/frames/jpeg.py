"""Whether a JPEG holds all the data that its picture is decoded from.

Where data ends early or is damaged, libjpeg fills with grey and warns, and Pillow drops the warning: the picture looks decoded.
Therefore two checks. The markers must name all scans and restart intervals. And bytes that are inserted after the end of the data
must change nothing: the decoder of a whole picture never reads them, and one whose data is short does.
"""

from __future__ import annotations

import io
import random
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgec.extras import later

if TYPE_CHECKING:
    from PIL import Image
else:
    Image = later("PIL.Image")

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_SOI, _EOI, _SOS, _DRI = 0xD8, 0xD9, 0xDA, 0xDD
_RESTARTS = range(0xD0, 0xD8)
_MARKER = re.compile(rb"\xff+([\x01-\xfe])", re.DOTALL)
_MORE = bytes(random.Random(0).choices(range(255), k=512))  # noqa: S311 - not for secrets; no 255, which would begin a marker
_MOST_DECODED = 20_000_000
"""Pixels, over all scans, up to which progressive pictures are decoded once a scan to look for surplus data."""
_LEFT = 8
"""Bytes at the end of the data that may be unused: cameras pad."""
_COEFFICIENTS = 64
_SHORT, _SURPLUS = "its data ends before the picture does", "its data is damaged: some of it belongs to no part of the picture"


class _Malformed(Exception):
    """The markers contradict each other."""


@dataclass
class _Component:
    horizontal: int
    vertical: int
    missing: list[int] = field(default_factory=lambda: [-1] * _COEFFICIENTS)
    """By coefficient, how many of its bits no scan has brought yet; -1 if no scan had it at all."""


@dataclass
class _Layout:
    """`stretches` of compressed data begin after a scan's header or a restart marker, and end before the next marker."""

    width: int = 0
    height: int = 0
    progressive: bool = False
    components: dict[int, _Component] = field(default_factory=dict)
    interval: int = 0
    scans: int = 0
    unit: tuple[int, int] = (1, 1)
    """Of the last scan: how many blocks of eight by eight pixels are coded together, down and across."""
    stretches: list[tuple[int, int]] = field(default_factory=list)


def fault(data: bytes) -> str | None:
    """Why a JPEG that Pillow decodes is damaged; None if its data is complete. It is decoded up to five times."""
    try:
        layout = _layout(data)
    except (_Malformed, IndexError) as error:
        return str(error) or _SHORT
    # Averages of eight by eight pixels are cheap, though all data is read for them; in progressive ones not all of it shows.
    small = not layout.progressive
    filled = _replaced(data, [(end, end, _MORE) for _, end in layout.stretches])
    if not np.array_equal(_decoded(data, small=small), _decoded(filled, small=small)):
        return _SHORT
    return _SURPLUS if _has_surplus(data, layout) else None


def _layout(data: bytes) -> _Layout:
    layout = _Layout()
    place = 2
    while True:
        match = _MARKER.search(data, place)
        if match is None:
            break  # without an end marker, Pillow itself refuses a file that lacks something
        marker, place = match.group(1)[0], match.end()
        if marker == _EOI:
            break
        if marker == 1 or marker == _SOI or marker in _RESTARTS:
            continue
        length = int.from_bytes(data[place : place + 2], "big")
        segment = data[place + 2 : place + length]
        place += max(length, 2)
        if marker in _FRAMES:
            _read_frame(layout, marker, segment)
        elif marker == _DRI:
            layout.interval = int.from_bytes(segment[:2], "big")
        elif marker == _SOS:
            units = _read_scan(layout, segment)
            place = _read_data(layout, data, place, units)
    if not layout.scans:
        raise _Malformed(_SHORT)
    for component in layout.components.values():
        if any(component.missing if layout.progressive else component.missing[:1]):
            raise _Malformed("scans are missing: not every coefficient of the picture is there")
    return layout


def _read_frame(layout: _Layout, marker: int, segment: bytes) -> None:
    layout.progressive = marker in _PROGRESSIVE
    layout.height, layout.width = int.from_bytes(segment[1:3], "big"), int.from_bytes(segment[3:5], "big")
    for at in range(6, 6 + 3 * segment[5], 3):
        layout.components[segment[at]] = _Component(max(1, segment[at + 1] >> 4), max(1, segment[at + 1] & 15))


def _read_scan(layout: _Layout, segment: bytes) -> int:
    """Notes which coefficients the scan brings, and returns how many units of data it must have."""
    names = [segment[1 + 2 * at] for at in range(segment[0])]
    first, last, bits = segment[1 + 2 * len(names) : 4 + 2 * len(names)]
    members = [layout.components[name] for name in names if name in layout.components]
    if not members or len(members) != len(names):
        raise _Malformed("a scan names a component that the picture does not have")
    for component in members:
        for at in range(first, min(last, _COEFFICIENTS - 1) + 1) if layout.progressive else range(_COEFFICIENTS):
            component.missing[at] = bits & 15 if layout.progressive else 0
    layout.scans += 1
    across = max(each.horizontal for each in layout.components.values())
    down = max(each.vertical for each in layout.components.values())
    if len(members) > 1:
        layout.unit = (down, across)
        return -(-layout.width // (8 * across)) * -(-layout.height // (8 * down))
    layout.unit = (down // members[0].vertical, across // members[0].horizontal)
    wide = -(-layout.width * members[0].horizontal // across)
    high = -(-layout.height * members[0].vertical // down)
    return -(-wide // 8) * -(-high // 8)


def _read_data(layout: _Layout, data: bytes, place: int, units: int) -> int:
    """Notes the stretches of a scan's data, and returns where they end."""
    restarts = 0
    end = len(data)
    for match in _MARKER.finditer(data, place):
        marker = match.group(1)[0]
        if marker not in _RESTARTS:
            end = match.start()
            break
        if marker - _RESTARTS[0] != restarts % 8:
            raise _Malformed("a restart marker is missing: some of the picture's data is lost")
        restarts += 1
        layout.stretches.append((place, match.start()))
        place = match.end()
    if layout.interval and layout.height and restarts != -(-units // layout.interval) - 1:
        raise _Malformed("restart markers are missing: some of the picture's data is lost")
    layout.stretches.append((place, end))
    return end


def _has_surplus(data: bytes, layout: _Layout) -> bool:
    """Whether the last bytes of a stretch change nothing: the decoder was done before it reached them, so it had lost its place.
    Padding, one byte repeated, does not count."""
    tails: dict[int, int] = {}
    for number, (begin, end) in enumerate(layout.stretches):
        last = begin + len(data[begin:end].rstrip(data[end - 1 : end]))
        last = last if end - last >= _LEFT else end
        if last - begin >= 4 * _LEFT:
            tails[number] = last
    if layout.scans == 1:
        groups = [tails]
    elif len(tails) * layout.width * layout.height <= _MOST_DECODED:
        groups = [{number: tail} for number, tail in tails.items()]  # each affects the whole picture
    else:
        return False
    whole = _decoded(data)
    return any(_is_idle(data, whole, layout, group) for group in groups)


def _is_idle(data: bytes, whole: NDArray[Any], layout: _Layout, tails: dict[int, int]) -> bool:
    """Whether other tails of the stretches leave the picture unchanged in the part of at least one of them."""
    idle = set(tails)
    for at in range(0, 4 * _LEFT, _LEFT):  # a single other tail may by chance decode to the same
        other = _decoded(_replaced(data, [(tail - _LEFT, tail, _MORE[at : at + _LEFT]) for tail in tails.values()]))
        differs = whole != other
        idle = _unchanged(differs, layout, idle)
        if not idle:
            return False
    # In areas of one even colour the data may not matter at all; then no part of it can be told from padding.
    places = [layout.stretches[number] for number in tails]
    other = _decoded(_replaced(data, [(begin, end, (_MORE * (end // len(_MORE) + 1))[: end - begin]) for begin, end in places]))
    return bool(idle - _unchanged(whole != other, layout, set(tails)))


def _unchanged(differs: NDArray[np.bool_], layout: _Layout, stretches: set[int]) -> set[int]:
    """The stretches of which no pixel differs; `differs` is [height, width]. Pixels at the edge of a unit do not count, as
    colours of its neighbours are mixed into them; nor do stretches whose last unit is not whole in the picture."""
    if len(stretches) == 1 and (layout.scans > 1 or not layout.interval):
        return set() if differs.any() else stretches
    high, wide = (8 * each for each in layout.unit)
    rows, columns = layout.height // high, layout.width // wide
    across = -(-layout.width // wide)
    units = np.zeros((-(-layout.height // high), across), np.bool_)
    inner = differs[: rows * high, : columns * wide].reshape(rows, high, columns, wide)[:, 2:-2, :, 2:-2]
    units[:rows, :columns] = inner.any(axis=(1, 3))
    flat = units.ravel()
    unchanged = set()
    for number in stretches:
        begin, end = number * layout.interval, min((number + 1) * layout.interval, flat.size)
        row, column = divmod(end - 1, across)
        if row < rows and column < columns and not flat[begin:end].any():
            unchanged.add(number)
    return unchanged


def _replaced(data: bytes, places: list[tuple[int, int, bytes]]) -> bytes:
    """The data with other bytes from each `begin` to its `end`."""
    parts, last = [], 0
    for begin, end, other in places:
        parts += [data[last:begin], other]
        last = end
    return b"".join([*parts, data[last:]])


def _decoded(data: bytes, *, small: bool = False) -> NDArray[Any]:
    """The pixels, each as one number; with `small`, averages of eight by eight."""
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        if small:
            image.draft(image.mode, (max(1, image.width // 8), max(1, image.height // 8)))
        pixels = np.asarray(image)
    if pixels.ndim == 2:
        return pixels
    return pixels.astype(np.uint32) @ np.array([1, 1 << 8, 1 << 16, 1 << 24], np.uint32)[: pixels.shape[2]]
