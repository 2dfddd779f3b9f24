"""Whether a calibration set is fit to calibrate on: what a build would fail on, and what would make its int8 ranges poor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from edgec.errors import CalibrationError
from edgec.frames.measuring import BRIGHT, BURNT, DARK, HUES, NEAR_BITS, Look, light_notes, look, near
from edgec.frames.splitting import MIN_FRAMES, split
from edgec.frames.types import Crop, Frame, FrameSet, Skipped, Split
from edgec.model.spec import Size

Level = Literal["error", "warning", "note"]

_FEW = 32
_FLAT = 10
_MANY = 0.25
_LIGHTING = 40
_HUE_SHARE = 0.002
_FEW_HUES = 5
_UPSCALED, _CROPPED, _STRETCHED = 1.05, 0.35, 1.1
_NAMED = 5
_DAMAGED = 50

MOST_FRAMES = 2000
"""Of a larger set a sample is read: more frames tell nothing new, and thousands of pictures take minutes."""


@dataclass(frozen=True)
class LintFinding:
    """`check` is the kind of finding, for scripts. An `error` makes a build fail, or its figures wrong."""

    level: Level
    check: str
    text: str
    frames: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lint:
    """`usable` frames decode. `calibration` and `validation` count what a build would draw; they are 0 if it could not."""

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
    """The findings about a set. Decodes every frame once, and those of the split once more; memory holds one frame. `size` is the
    build's input size: without it sizes are not checked. `progress` is called with the number of frames decoded so far."""
    if frameset.random:
        text = "random noise: every checkpoint but random:ARCH refuses it, as its ranges are not a camera's"
        return Lint(len(frameset.frames), len(frameset.frames), 0, 0, (LintFinding("error", "random", text),))
    looks: dict[str, Look] = {}
    skipped = list(frameset.skipped)
    for count, frame in enumerate(frameset.frames, 1):
        try:
            looks[frame.name] = look(frame.read())
        except CalibrationError as error:
            skipped.append((frame.name, "; ".join(error.evidence)))
        if progress is not None:
            progress(count)
    good = [frame for frame in frameset.frames if frame.name in looks]
    findings = [*_damaged(skipped), *_noted(frameset), *_count(good), *_duplicates(good, looks)]
    parts = Split((), ())
    try:
        parts = split(frameset, limit=limit, validation=validation)
    except CalibrationError as error:
        if len(good) >= MIN_FRAMES:
            findings.append(LintFinding("error", "split", f"{error.what} {error.evidence[0]}"))
    findings += _leaks(frameset, parts, looks)
    if size is not None:
        findings += _sizes(good, looks, size, crop)
    if good:
        findings += [*_exposure(looks), *_colours(list(looks.values()))]
    sources = len({frame.source for frame in good})
    return Lint(len(good), sources, len(parts.calibration), len(parts.validation), ()).adding(findings)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


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


def _count(good: Sequence[Frame]) -> Iterable[LintFinding]:
    if len(good) < MIN_FRAMES:
        yield LintFinding("error", "count", f"{len(good)} usable frames; a build needs at least {MIN_FRAMES}")
    elif len(good) < _FEW:
        yield LintFinding(
            "warning", "count", f"{len(good)} usable frames; under {_FEW}, ranges follow single frames; 100 or more are good"
        )


def _duplicates(good: Sequence[Frame], looks: dict[str, Look]) -> Iterable[LintFinding]:
    hashes = [looks[frame.name].hash for frame in good]
    first: dict[int, int] = {}
    for later, earlier in near(hashes, hashes, NEAR_BITS):
        if earlier < later:
            first.setdefault(later, earlier)
    pairs = [(good[later], good[earlier]) for later, earlier in first.items()]
    across = [(later.name, earlier.name) for later, earlier in pairs if later.source != earlier.source]
    if across:
        text = f"{len(across)} frames nearly repeat another source's: " + _some([f"{one} = {other}" for one, other in across])
        yield LintFinding("warning", "near-duplicates", text, tuple(name for name, _ in across))
    within = Counter(later.source for later, earlier in pairs if later.source == earlier.source)
    members = Counter(frame.source for frame in good)
    for source, count in within.items():
        text = (
            f"{source}: {count} of {members[source]} frames nearly repeat an earlier one; a still camera, or too small a stride"
        )
        yield LintFinding("note", "near-duplicates", text, tuple(later.name for later, _ in pairs if later.source == source))


def _leaks(frameset: FrameSet, parts: Split, looks: dict[str, Look]) -> Iterable[LintFinding]:
    sides: dict[str, set[str]] = {}
    for frame in frameset.frames:
        sides.setdefault(frame.digest, set()).add(frame.side or "")
    both = [frame.name for frame in frameset.frames if {"calibration", "validation"} <= sides[frame.digest]]
    if both:
        text = f"the very same picture is meant for calibration and for validation: {_some(both)}"
        yield LintFinding("error", "leakage", text, tuple(both))
    across: dict[str, str] = {}
    within: dict[str, str] = {}
    judged, calibrated = parts.validation, parts.calibration
    for one, other in near([looks[f.name].hash for f in judged], [looks[f.name].hash for f in calibrated], NEAR_BITS):
        same_source = judged[one].source == calibrated[other].source
        (within if same_source else across).setdefault(judged[one].name, calibrated[other].name)
    if across:
        named = _some([f"{one} = {other}" for one, other in across.items()])
        text = f"{len(across)} validation frames nearly repeat calibration frames of another source: {named}"
        yield LintFinding("error", "leakage", text, tuple(across))
    if within:
        text = (
            f"{len(within)} of {len(judged)} validation frames nearly repeat calibration frames from earlier in the same source: "
            "fidelity is measured on scenes that calibration knew; add other places"
        )
        yield LintFinding("warning", "leakage", text, tuple(within))


def _sizes(good: Sequence[Frame], looks: dict[str, Look], size: Size, crop: Crop) -> Iterable[LintFinding]:
    upscaled: list[str] = []
    cropped: list[str] = []
    stretched: list[str] = []
    losses: list[float] = []
    for frame in good:
        seen, policy = looks[frame.name], frame.crop or crop
        vertical, horizontal = size.height / seen.height, size.width / seen.width
        low, high = sorted((vertical, horizontal))
        if (low if policy == "pad" else high) > _UPSCALED:
            upscaled.append(frame.name)
        lost = 1 - low / high
        losses.append(lost)
        if policy == "resize":
            stretched += [frame.name] * (high / low > _STRETCHED)
        else:
            cropped += [frame.name] * (lost > _CROPPED)
    total = len(good)
    if upscaled:
        text = f"{len(upscaled)} of {total} frames are smaller than {size} and would be enlarged: {_some(upscaled)}"
        yield LintFinding("warning", "size", text, tuple(upscaled))
    if cropped:
        text = (
            f"{len(cropped)} of {total} frames lose more than {_CROPPED:.0%} of their area, or are that much padding, at {size}"
        )
        yield LintFinding("warning", "aspect", f"{text}: {_some(cropped)}", tuple(cropped))
    if stretched:
        text = f"{len(stretched)} of {total} frames are stretched by more than {_STRETCHED - 1:.0%} at {size}: {_some(stretched)}"
        yield LintFinding("warning", "aspect", text, tuple(stretched))
    if losses and not cropped and not stretched and float(np.mean(losses)) > 0.01:
        yield LintFinding("note", "aspect", f"at {size} a frame loses {float(np.mean(losses)):.0%} of its area on average")


def _exposure(looks: dict[str, Look]) -> Iterable[LintFinding]:
    kinds = {
        "too dark": [name for name, seen in looks.items() if seen.brightness < DARK],
        "too bright": [name for name, seen in looks.items() if seen.brightness > BRIGHT or seen.burnt > BURNT],
        "flat, with hardly any contrast": [name for name, seen in looks.items() if seen.contrast < _FLAT],
    }
    for kind, names in kinds.items():
        if names:
            level: Level = "warning" if len(names) > _MANY * len(looks) else "note"
            yield LintFinding(level, "exposure", f"{len(names)} of {len(looks)} frames are {kind}: {_some(names)}", tuple(names))
    for note in light_notes([seen.light for seen in looks.values()]):
        yield LintFinding("warning", "exposure", note)
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
