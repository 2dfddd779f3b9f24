"""The modules of heads as PyTorch exports them, in the hub graph's opset and names.

Heads go through the exporter as the backbone does, in a call of their own on the shapes of its features: the backbone's graph is
the same to the last bit whichever heads are asked for, and whether a target has a head's operations is known before it exists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import onnx_ir as ir
import torch
from torch import Tensor, nn

from edgec.graph.export import to_onnx
from edgec.graph.operations import HEADS
from edgec.heads.kinds import module_of
from edgec.heads.types import Head
from edgec.model.spec import Size

Shape = tuple[int, ...]


def exported(heads: Sequence[Head], shapes: Mapping[str, Shape], frame: Size) -> ir.Model:
    """These heads, none of them an ONNX file, as one graph: from features of these shapes to each head's output under its name.
    No two heads share a node or a constant. The caller must not change it, as it is cached.

    Raises `ExportError` if the exporter fails.
    """
    reads = sorted({name for head in heads for name in head.inputs})
    return _exported(tuple(heads), tuple((name, shapes[name]) for name in reads), frame)


@lru_cache(maxsize=2)
def _exported(heads: tuple[Head, ...], shapes: tuple[tuple[str, Shape], ...], frame: Size) -> ir.Model:
    """Cached, because a build needs it twice: before the backbone is exported and after."""
    inputs = {name: torch.zeros(shape) for name, shape in shapes}
    roots = {f"heads.{index}": f"{HEADS}{head.name}" for index, head in enumerate(heads)}
    return to_onnx(_Together(heads, list(inputs), frame), inputs, [head.name for head in heads], roots, shared=False)


class _Together(nn.Module):
    def __init__(self, heads: Sequence[Head], names: Sequence[str], frame: Size) -> None:
        super().__init__()
        self.heads = nn.ModuleList(module_of(head, folded=True) for head in heads)
        self.reads = [[names.index(name) for name in head.inputs] for head in heads]
        self.frame = frame

    def forward(self, *features: Tensor) -> tuple[Tensor, ...]:
        return tuple(
            head([features[index] for index in reads], self.frame) for head, reads in zip(self.heads, self.reads, strict=True)
        )
