"""The kinds of heads that edgec knows. A new kind is a module in this folder, and a line in `KINDS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import create_model

from edgec.heads.kinds.depth import Depth
from edgec.heads.kinds.linear import Linear
from edgec.heads.kinds.mlp import Mlp
from edgec.heads.kinds.module import HeadModule
from edgec.heads.kinds.segmentation import Segmentation
from edgec.heads.types import ONNX, Description

if TYPE_CHECKING:
    from edgec.heads.types import Head

KINDS: Final[Mapping[str, type[HeadModule]]] = {
    Linear.kind: Linear,
    Segmentation.kind: Segmentation,
    Mlp.kind: Mlp,
    Depth.kind: Depth,
}
"""In the order in which they are asked whether a file without description is theirs."""


def kind_of(head: Head) -> type[HeadModule]:
    """The class of a head that is not an ONNX file."""
    return KINDS[head.kind]


def module_of(head: Head, *, folded: bool) -> HeadModule:
    """The module of a head that is not an ONNX file, in evaluation mode. `folded` is for deployment: everything linear and
    constant is folded into the weights; else weights are as they were read."""
    return kind_of(head).build(head, folded=folded)


def description() -> type[Description]:
    """The class of descriptions of all kinds: the common fields, and those that kinds add."""
    added = tuple(dict.fromkeys(kind.described_by for kind in KINDS.values() if kind.described_by is not Description))
    names = (*KINDS, ONNX)
    one_of: Any = Literal  # of names that type checkers cannot know
    return create_model("Description", __base__=added or Description, kind=(one_of[names], ...))
