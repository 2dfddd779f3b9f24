"""Bytes on disk to a `Checkpoint`: dimensions, weights under one set of names, normalisation, licence and provenance."""

from __future__ import annotations

from edgec.checkpoint.reader import read
from edgec.checkpoint.source import Identity, identify
from edgec.checkpoint.types import Checkpoint, Finding, Form, Licence
from edgec.model.normalisation import Normalisation

__all__ = ["Checkpoint", "Finding", "Form", "Identity", "Licence", "Normalisation", "identify", "read"]
