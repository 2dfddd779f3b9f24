"""Folders, videos, lists and manifests → uint8 RGB frames, and the split into those to calibrate on and those to judge by."""

from edgec.frames.fitting import batches, fit
from edgec.frames.loading import load, shipped
from edgec.frames.splitting import split
from edgec.frames.types import Crop, Frame, FrameSet, Pixels, Side, Skipped, Split

__all__ = ["Crop", "Frame", "FrameSet", "Pixels", "Side", "Skipped", "Split", "batches", "fit", "load", "shipped", "split"]
