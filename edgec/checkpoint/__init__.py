"""Bytes on disk to a `Checkpoint`: dimensions, weights under one set of names, normalisation, licence and provenance.

`location/` finds the files, `containers/` reads tensors from their bytes, `statements/` reads the configurations around them,
`layouts/` recognises the names, `weights/` brings them to edgec's, `provenance/` finds licence and normalisation. `reader` joins
these.
"""

from __future__ import annotations

from edgec.checkpoint.location.source import Identity, identify
from edgec.checkpoint.reader import read
from edgec.checkpoint.types import Checkpoint, Finding, Form, Licence
from edgec.model.normalisation import Normalisation

__all__ = ["Checkpoint", "Finding", "Form", "Identity", "Licence", "Normalisation", "identify", "read"]
