"""Whether a calibration set is fit to calibrate on: what a build would fail on, and what would make its int8 ranges poor.

`lint` looks at a whole set, `lint_chosen` at the frames that a build has drawn from one, of which it has all that it needs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgec.errors import CalibrationError
from edgec.frames.decoding import Decoder
from edgec.frames.findings import Level as Level
from edgec.frames.findings import LintFinding as LintFinding
from edgec.frames.findings import some
from edgec.frames.measuring import BRIGHT, BURNT, DARK, HUES, NEAR_BITS, Look, light_notes, near
from edgec.frames.shapes import size_findings
from edgec.frames.splitting import MIN_FRAMES, split, too_few
from edgec.frames.types import Crop, Frame, FrameSet, Skipped, Split
from edgec.model.spec import Size

_FEW = 32
_FLAT = 10
_MANY = 0.25
_LIGHTING = 40
_HUE_SHARE = 0.002
_FEW_HUES = 5
_DAMAGED = 50

MOST_FRAMES = 2000
"""Of a larger set a sample is read: more frames tell nothing new, and thousands of pictures take minutes."""


@dataclass(frozen=True)
class Lint:
    """`usable` frames decode, and show no picture that an earlier one shows. `calibration` and `validation` count what a build
    would draw; they are 0 if it could not."""

    usable: int
    sources: int
    calibration: int
    validation: int
    findings: tuple[LintFinding, ...]

    @property
    def has_errors(self) -> bool:
        """Whether any finding is an `error`."""
        return any(finding.level == "error" for finding in self.findings)

    def adding(self, findings: Iterable[LintFinding]) -> Lint:
        """This, with more findings; errors first, then warnings, then notes."""
        order = {"error": 0, "warning": 1, "note": 2}
        return replace(self, findings=tuple(sorted((*self.findings, *findings), key=lambda finding: order[finding.level])))


def lint(
    frameset: FrameSet,
    *,
    size: Size | None = None,
    crop: Crop = "centre",
    limit: int = 128,
    validation: int = 32,
    progress: Callable[[int], None] | None = None,
) -> Lint:
    """The findings about a set. Decodes every frame once; memory holds one. `size` is the build's input size: without
    it sizes are not checked. `progress` is called with the number of frames decoded so far."""
    if frameset.random:
        text = "random noise: every checkpoint but random:ARCH refuses it, as its ranges are not a camera's"
        return Lint(len(frameset.frames), len(frameset.frames), 0, 0, (LintFinding("error", "random", text),))
    decoder = Decoder()
    for number, frame in enumerate(frameset.frames, 1):
        decoder.picture(frame)
        if progress is not None:
            progress(number)
    count, looks = decoder.count(frameset), decoder.looks
    good = [frame for frame in frameset.frames if frame.name in looks]
    findings = [*_damaged(count.damaged), *_noted(frameset), *_few(len(count.usable)), *_duplicates(good, looks)]
    parts = Split((), ())
    try:
        parts = split(frameset, limit=limit, validation=validation, decoder=decoder)
    except CalibrationError as error:
        if len(count.usable) >= MIN_FRAMES:
            findings.append(LintFinding("error", "split", f"{error.what} {error.evidence[0]}"))
    findings += [*_same_pictures(frameset), *_leaks(parts, looks)]
    if size is not None:
        findings += size_findings(good, looks, size, crop)
    if good:
        notes = light_notes([seen.light for seen in looks.values()])
        findings += [LintFinding("warning", "exposure", note) for note in notes]
        findings += [*_exposure(looks), *_colours(list(looks.values()))]
    sources = len({frame.source for frame in count.usable})
    return Lint(len(count.usable), sources, len(parts.calibration), len(parts.validation), ()).adding(findings)


def lint_chosen(parts: Split, sizes: Sequence[Size], *, random: bool = False) -> tuple[LintFinding, ...]:
    """The findings about the frames of a build, by what `split` measured of them; nothing is decoded. What `parts.notes` says is
    not repeated. `random` frames are noise, of which nothing is said."""
    if random or not parts.looks:
        return ()
    chosen = (*parts.calibration, *parts.validation)
    findings = [*_few(len(chosen)), *_leaks(parts, parts.looks)]
    for size in sizes:
        findings += size_findings(chosen, parts.looks, size, "centre")
    findings += [*_exposure(parts.looks), *_colours(list(parts.looks.values()))]
    return Lint(0, 0, 0, 0, ()).adding(findings).findings


def repeating(parts: Split) -> int:
    """How many validation frames nearly repeat a calibration frame."""
    return len({name for within in (False, True) for name in _repeats(parts, parts.looks, within=within)})


def _damaged(skipped: Sequence[Skipped]) -> Iterable[LintFinding]:
    for name, reason in skipped[:_DAMAGED]:
        yield LintFinding("warning", "damaged", f"{name}: {reason}", (name,))
    rest = tuple(name for name, _ in skipped[_DAMAGED:])
    if rest:
        yield LintFinding("warning", "damaged", f"{len(rest)} more cannot be used, as {rest[0]}: {skipped[_DAMAGED][1]}", rest)


def _noted(frameset: FrameSet) -> Iterable[LintFinding]:
    if frameset.sampled_of is not None:
        text = f"a sample was looked at: {len(frameset.frames)} of {frameset.sampled_of} frames, spread evenly over the set"
        yield LintFinding("note", "sampled", text)
    for note in frameset.notes:
        yield LintFinding("note", "read", note)


def _few(usable: int) -> Iterable[LintFinding]:
    if usable < MIN_FRAMES:
        yield LintFinding("error", "count", too_few(usable))
    elif usable < _FEW:
        text = f"{usable} usable frames; under {_FEW}, ranges follow single frames; 100 or more are good"
        yield LintFinding("warning", "count", text)


def _duplicates(good: Sequence[Frame], looks: dict[str, Look]) -> Iterable[LintFinding]:
    hashes = [looks[frame.name].hash for frame in good]
    first: dict[int, int] = {}
    for later, earlier in near(hashes, hashes, NEAR_BITS):
        if earlier < later:
            first.setdefault(later, earlier)
    pairs = [(good[later], good[earlier]) for later, earlier in first.items()]
    across = [(later.name, earlier.name) for later, earlier in pairs if later.source != earlier.source]
    if across:
        text = f"{len(across)} frames nearly repeat another source's: " + some([f"{one} = {other}" for one, other in across])
        yield LintFinding("warning", "near-duplicates", text, tuple(name for name, _ in across))
    within = Counter(later.source for later, earlier in pairs if later.source == earlier.source)
    members = Counter(frame.source for frame in good)
    for source, count in within.items():
        text = (
            f"{source}: {count} of {members[source]} frames nearly repeat an earlier one; a still camera, or too small a stride"
        )
        yield LintFinding("note", "near-duplicates", text, tuple(later.name for later, _ in pairs if later.source == source))


def _same_pictures(frameset: FrameSet) -> Iterable[LintFinding]:
    sides: dict[str, set[str]] = {}
    for frame in frameset.frames:
        sides.setdefault(frame.digest, set()).add(frame.side or "")
    both = [frame.name for frame in frameset.frames if {"calibration", "validation"} <= sides[frame.digest]]
    if both:
        text = f"the very same picture is meant for calibration and for validation: {some(both)}"
        yield LintFinding("error", "leakage", text, tuple(both))


def _repeats(parts: Split, looks: Mapping[str, Look], *, within: bool) -> dict[str, str]:
    """Validation frames that nearly repeat a calibration frame, of the same source (`within`) or of another, and that one."""
    judged, calibrated = parts.validation, parts.calibration
    repeats: dict[str, str] = {}
    for one, other in near([looks[f.name].hash for f in judged], [looks[f.name].hash for f in calibrated], NEAR_BITS):
        if (judged[one].source == calibrated[other].source) is within:
            repeats.setdefault(judged[one].name, calibrated[other].name)
    return repeats


def _leaks(parts: Split, looks: Mapping[str, Look]) -> Iterable[LintFinding]:
    across, within = (_repeats(parts, looks, within=same) for same in (False, True))
    if across:
        named = some([f"{one} = {other}" for one, other in across.items()])
        text = f"{len(across)} validation frames nearly repeat calibration frames of another source: {named}"
        yield LintFinding("error", "leakage", text, tuple(across))
    if within:
        text = (
            f"{len(within)} of {len(parts.validation)} validation frames nearly repeat calibration frames from earlier in the "
            "same source: fidelity is measured on scenes that calibration knew; add other places"
        )
        yield LintFinding("warning", "leakage", text, tuple(within))


def _exposure(looks: Mapping[str, Look]) -> Iterable[LintFinding]:
    kinds = {
        "too dark": [name for name, seen in looks.items() if seen.brightness < DARK],
        "too bright": [name for name, seen in looks.items() if seen.brightness > BRIGHT or seen.burnt > BURNT],
        "flat, with hardly any contrast": [name for name, seen in looks.items() if seen.contrast < _FLAT],
    }
    for kind, names in kinds.items():
        if names:
            level: Level = "warning" if len(names) > _MANY * len(looks) else "note"
            yield LintFinding(level, "exposure", f"{len(names)} of {len(looks)} frames are {kind}: {some(names)}", tuple(names))
    low, high = np.percentile([seen.brightness for seen in looks.values()], [5, 95])
    if high - low < _LIGHTING:
        text = f"one lighting only: nine frames in ten have a mean luma between {low:.0f} and {high:.0f}; add other times of day"
        yield LintFinding("note", "exposure", text)


def _colours(looks: Sequence[Look]) -> Iterable[LintFinding]:
    shares = np.mean([seen.hues for seen in looks], axis=0)
    covered = int((shares >= _HUE_SHARE).sum())
    grey = sum(float(seen.hues.sum()) < 0.01 for seen in looks)
    if grey == len(looks):
        yield LintFinding(
            "warning", "colour", "all frames are grey: ranges for colour are missing; right only for a monochrome camera"
        )
    elif grey > len(looks) / 2:
        yield LintFinding("warning", "colour", f"{grey} of {len(looks)} frames are grey")
    elif covered < _FEW_HUES:
        text = f"{covered} of {HUES} hues cover {_HUE_SHARE:.1%} of the pixels or more: the set knows few colours"
        yield LintFinding("warning", "colour", text)
