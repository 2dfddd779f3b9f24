"""Divides frames into calibration and validation, so that no validation frame is, or nearly is, a calibration frame.

Consecutive frames of one camera look alike. So the end of a sequence is for validation and its beginning for calibration, with a
sixteenth between them for neither; a short sequence, like a single picture, goes to one side as a whole.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from edgec.errors import CalibrationError, RequestError
from edgec.frames.decoding import Decoder
from edgec.frames.measuring import light_notes
from edgec.frames.sampling import middles
from edgec.frames.types import Frame, FrameSet, Skipped, Split

MIN_CALIBRATION, MIN_VALIDATION = 6, 2
MIN_FRAMES = MIN_CALIBRATION + MIN_VALIDATION

_SHORT = MIN_FRAMES
_GUARD = 16
_SHOWN = 10

Strata = list[list[Frame]]
"""Each list holds frames of one origin: a sequence, or the single pictures of one folder in an order drawn by the seed."""


def split(
    frameset: FrameSet, *, limit: int = 128, validation: int = 32, seed: int | None = None, decoder: Decoder | None = None
) -> Split:
    """At most `limit` frames to calibrate on and `validation` to judge by, evenly over the sources and over each one's time.

    The set's manifest may say which sources are for validation; else about a quarter of the frames is. The same set, numbers and
    seed (by default the set's own) give the same split. Every chosen frame is decoded once: damaged ones are replaced if there
    are others, and of frames with exactly the same picture only one is used. A `decoder` may have decoded some already.

    Raises `RequestError` for numbers that are too small, `CalibrationError` if fewer than 6 calibration or 2 validation frames
    remain.
    """
    if limit < MIN_CALIBRATION or validation < MIN_VALIDATION:
        raise RequestError(
            f"A build needs at least {MIN_CALIBRATION} calibration and {MIN_VALIDATION} validation frames.",
            evidence=f"asked for {limit} and {validation}",
        )
    seed = frameset.seed if seed is None else seed
    decoder = decoder or Decoder()
    frames, copies = _distinct(frameset.frames)
    while True:
        for_validation, for_calibration = _pools(frames, frameset.validation_share, seed)
        share = max(MIN_VALIDATION, round(frameset.validation_share * len(frames)))
        explicit = any(frame.side for frame in frames)
        draw = _Draw(decoder, {frame.name: position for position, frame in enumerate(frameset.frames)})
        judged = draw.take(for_validation, validation if explicit else min(validation, share))
        calibrated = draw.take(for_calibration, limit)
        if len(judged) >= MIN_VALIDATION and len(calibrated) >= MIN_CALIBRATION:
            looks = {frame.name: decoder.looks[frame.name] for frame in (*calibrated, *judged)}
            notes = light_notes([each.light for each in looks.values()])
            return Split(calibrated, judged, tuple(decoder.skipped), (*copies, *draw.copies), notes, looks)
        # Too few frames, and some of them unusable: the others may still be enough if they are divided again.
        unusable = {name for name, _ in decoder.skipped} | set(draw.copies)
        remaining = [frame for frame in frames if frame.name not in unusable]
        if explicit or len(remaining) == len(frames) or len(remaining) < MIN_FRAMES:
            raise _too_few(frameset, len(calibrated), len(judged), decoder.skipped, [*copies, *draw.copies])
        frames, copies = remaining, [*copies, *draw.copies]


@dataclass
class _Draw:
    """Draws good frames from strata, none with a picture that was drawn before."""

    decoder: Decoder
    position: dict[str, int]
    copies: list[str] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)

    def take(self, strata: Strata, count: int) -> tuple[Frame, ...]:
        remaining = [list(stratum) for stratum in strata]
        taken: list[Frame] = []
        while len(taken) < count and any(remaining):
            picked: list[Frame] = []
            quotas = _quotas([len(stratum) for stratum in remaining], count - len(taken))
            for stratum, quota in zip(remaining, quotas, strict=True):
                chosen = middles(stratum, quota)
                picked += chosen
                names = {frame.name for frame in chosen}
                stratum[:] = [frame for frame in stratum if frame.name not in names]
            taken += filter(self._is_good, sorted(picked, key=self._position))
        return tuple(sorted(taken, key=self._position))

    def _position(self, frame: Frame) -> int:
        return self.position[frame.name]

    def _is_good(self, frame: Frame) -> bool:
        picture = self.decoder.picture(frame)
        if picture is None:
            return False
        if picture in self._seen:
            self.copies.append(frame.name)
            return False
        self._seen.add(picture)
        return True


def _quotas(sizes: Sequence[int], count: int) -> list[int]:
    """`count` divided equally; what a small stratum cannot give, the larger ones do."""
    quotas = [0] * len(sizes)
    open_strata = [index for index, size in enumerate(sizes) if size]
    while count > 0 and open_strata:
        share = max(1, count // len(open_strata))
        for index in open_strata:
            more = min(share, sizes[index] - quotas[index], count)
            quotas[index] += more
            count -= more
        open_strata = [index for index in open_strata if quotas[index] < sizes[index]]
    return quotas


def _distinct(frames: Sequence[Frame]) -> tuple[list[Frame], list[str]]:
    """One frame for each digest, of the validation side if there is one, and the names of the others."""
    by_digest: dict[str, Frame] = {}
    for frame in sorted(frames, key=lambda frame: frame.side != "validation"):
        by_digest.setdefault(frame.digest, frame)
    names = {frame.name for frame in by_digest.values()}
    return [frame for frame in frames if frame.name in names], [frame.name for frame in frames if frame.name not in names]


def _pools(frames: Sequence[Frame], share: float, seed: int) -> tuple[Strata, Strata]:
    """The strata to draw validation and calibration frames from: no frame and no short sequence is in both."""

    def drawn(name: str) -> str:
        return hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()

    sources: dict[str, list[Frame]] = defaultdict(list)
    for frame in frames:
        sources[frame.source].append(frame)
    if any(frame.side for frame in frames):
        judged = [frame for frame in frames if frame.side == "validation"]
        return _strata(judged, drawn), _strata([frame for frame in frames if frame.side != "validation"], drawn)

    judged, calibrated, units = [], [], []
    for source in sorted(sources, key=drawn):
        members = sorted(sources[source], key=lambda frame: frame.order)
        if len(members) < _SHORT:
            units.append(members)
            continue
        tail = min(max(MIN_VALIDATION, math.ceil(share * len(members))), len(members) - MIN_CALIBRATION)
        judged += members[len(members) - tail :]
        calibrated += members[: len(members) - tail - len(members) // _GUARD]
    loose = [frame for members in units for frame in members]
    cut = _cut([len(members) for members in units], share, alone=not judged)
    return _strata(judged + loose[cut:], drawn), _strata(calibrated + loose[:cut], drawn)


def _cut(sizes: Sequence[int], share: float, *, alone: bool) -> int:
    """How many frames of the units, in order, are for calibration: a sum of whole units, near the share. If these are all frames
    (`alone`) and no such sum leaves enough on both sides, one unit is divided."""
    total = sum(sizes)
    least, most = (MIN_CALIBRATION, total - MIN_VALIDATION) if alone else (0, total)
    ideal = total - round(share * total)
    sums = [sum(sizes[:count]) for count in range(len(sizes) + 1)]
    allowed = [value for value in sums if least <= value <= most]
    return min(allowed, key=lambda value: abs(value - ideal)) if allowed else max(0, min(max(ideal, least), most))


def _strata(frames: Sequence[Frame], drawn: Callable[[str], str]) -> Strata:
    """A stratum for each sequence, in time, and one for the single pictures of each folder, in an order drawn by the seed."""
    together: dict[str, list[Frame]] = defaultdict(list)
    for frame in frames:
        together[frame.source].append(frame)
    strata: dict[str, list[Frame]] = {}
    for source, members in together.items():
        if len(members) > 1:
            strata[f"sequence {source}"] = members
        else:
            strata.setdefault(f"folder {PurePosixPath(source).parent}", []).extend(members)
    return [
        sorted(members, key=lambda frame: drawn(frame.name)) if kind.startswith("folder") else members
        for kind, members in sorted(strata.items(), key=lambda item: drawn(item[0]))
    ]


def _too_few(
    frameset: FrameSet, calibrated: int, judged: int, damaged: Sequence[Skipped], copies: Sequence[str]
) -> CalibrationError:
    skipped = [*frameset.skipped, *damaged]
    facts = [
        f"to calibrate on: {calibrated} of at least {MIN_CALIBRATION}; to judge by: {judged} of at least {MIN_VALIDATION}",
        *(f"damaged: {name}: {reason}" for name, reason in skipped[:_SHOWN]),
        *(f"the same picture as another: {name}" for name in copies[:_SHOWN]),
    ]
    hidden = max(0, len(skipped) - _SHOWN) + max(0, len(copies) - _SHOWN)
    return CalibrationError(
        f"The calibration set {frameset.name} has too few usable frames.",
        evidence=[*facts, f"and {hidden} more"] if hidden else facts,
        remedy=f"give at least {MIN_FRAMES} different pictures; 100 or more calibrate well",
    )


def too_few(usable: int) -> str:
    """What everybody says who counts fewer usable frames than a build needs."""
    return f"{usable} usable frames; a build needs at least {MIN_FRAMES}"
