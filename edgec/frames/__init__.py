"""Folders, videos, bags, lists and manifests → uint8 RGB frames, and their split into calibration and validation frames."""

from edgec.frames.fitting import batches, fit
from edgec.frames.loading import load, require_use, shipped
from edgec.frames.recordings import Reading
from edgec.frames.splitting import split
from edgec.frames.types import Crop, Frame, FrameSet, Origin, Pixels, Side, Skipped, Split

__all__ = [
    "Crop",
    "Frame",
    "FrameSet",
    "Origin",
    "Pixels",
    "Reading",
    "Side",
    "Skipped",
    "Split",
    "batches",
    "fit",
    "load",
    "require_use",
    "shipped",
    "split",
]
