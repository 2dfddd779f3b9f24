"""Heads: small models that compute from the backbone's features what a robot needs: a class, a mask, a depth map.

A head is read from a file (`edgec.heads.reading`) and checked against the backbone (`edgec.heads.fitting`). Each kind that edgec
knows is one torch module (`edgec.heads.kinds`): on the float32 backbone it is the reference (`edgec.heads.reference`), and it is
exported with the backbone into the hub graph (`edgec.heads.attach`), into which ONNX heads are spliced
(`edgec.heads.onnx_heads`).
"""

from __future__ import annotations

from edgec.errors import HeadError
from edgec.heads.fitting import check_heads, layers_needed
from edgec.heads.reading import identify_heads, read_head, read_heads
from edgec.heads.types import Description, Head, Output

__all__ = [
    "Description",
    "Head",
    "HeadError",
    "Output",
    "check_heads",
    "identify_heads",
    "layers_needed",
    "read_head",
    "read_heads",
]
