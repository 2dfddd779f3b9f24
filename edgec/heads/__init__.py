"""Heads: small models that read the backbone's features and say what a robot asks for: a class, a mask, a depth map.

A head is read from a file (`edgec.heads.reading`), checked against the backbone (`edgec.heads.fitting`), merged into the hub
graph (`edgec.heads.attach`), and run in PyTorch on the float32 backbone's features, by code that shares nothing with the graph's
(`edgec.heads.reference`).
"""

from __future__ import annotations

from edgec.errors import HeadError
from edgec.heads.fitting import check_heads, layers_needed
from edgec.heads.reading import identify_heads, read_head, read_heads
from edgec.heads.types import Description, Head, Kind, Output

__all__ = [
    "Description",
    "Head",
    "HeadError",
    "Kind",
    "Output",
    "check_heads",
    "identify_heads",
    "layers_needed",
    "read_head",
    "read_heads",
]
