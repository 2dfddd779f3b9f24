"""Frames that were decoded, each once, and how many of a set can be used: one rule, for whoever counts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from edgec.errors import CalibrationError
from edgec.frames.measuring import Look, look
from edgec.frames.types import Frame, FrameSet, Skipped


@dataclass(frozen=True)
class Count:
    """`usable` frames can be read and show a picture that no earlier one shows; `copies` are the names of those that show one
    again, `damaged` those that cannot be read. Together they are the whole set."""

    usable: tuple[Frame, ...]
    copies: tuple[str, ...]
    damaged: tuple[Skipped, ...]


@dataclass
class Decoder:
    """Decodes frames, each once, and remembers the hash of their pictures and what was measured of them."""

    skipped: list[Skipped] = field(default_factory=list)
    looks: dict[str, Look] = field(default_factory=dict)
    _pictures: dict[str, str | None] = field(default_factory=dict)

    def picture(self, frame: Frame) -> str | None:
        """The hash of the decoded picture; None if it is damaged."""
        if frame.name not in self._pictures:
            try:
                pixels = frame.read()
                self.looks[frame.name] = look(pixels)
                self._pictures[frame.name] = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
            except CalibrationError as error:
                self.skipped.append((frame.name, "; ".join(error.evidence)))
                self._pictures[frame.name] = None
        return self._pictures[frame.name]

    def count(self, frameset: FrameSet) -> Count:
        """Counts a set, and decodes what of it was not decoded yet."""
        usable: dict[str, Frame] = {}
        copies = []
        for frame in frameset.frames:
            picture = self.picture(frame)
            if picture is not None and usable.setdefault(picture, frame) is not frame:
                copies.append(frame.name)
        return Count(tuple(usable.values()), tuple(copies), (*frameset.skipped, *self.skipped))
