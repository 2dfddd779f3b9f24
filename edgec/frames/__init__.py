"""Folders, videos, lists and manifests → uint8 RGB frames, and their split into calibration and validation frames."""

from edgec.frames.fitting import batches, fit
from edgec.frames.loading import load, shipped
from edgec.frames.splitting import split
from edgec.frames.types import Crop, Frame, FrameSet, Pixels, Side, Skipped, Split

__all__ = ["Crop", "Frame", "FrameSet", "Pixels", "Side", "Skipped", "Split", "batches", "fit", "load", "shipped", "split"]
