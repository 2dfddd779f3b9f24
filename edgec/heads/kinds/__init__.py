"""The kinds of heads that edgec knows. A new one is a module of its own in this folder, and its line in `KINDS`."""

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
"""In the order in which a file without description is offered to them."""


def kind_of(head: Head) -> type[HeadModule]:
    """The class of a head that is no ONNX file."""
    return KINDS[head.kind]


def module_of(head: Head, *, folded: bool) -> HeadModule:
    """The module of a head that is no ONNX file, in evaluation mode. `folded` is for deployment: what is linear and constant is
    in the weights beside it; without, weights are as they were read."""
    return kind_of(head).made(head, folded=folded)


def description() -> type[Description]:
    """What may be said of a head: what any kind knows, and the fields that kinds have of their own."""
    own = tuple(dict.fromkeys(kind.said for kind in KINDS.values() if kind.said is not Description))
    names = (*KINDS, ONNX)
    one_of: Any = Literal  # names that are known only now, which no type checker follows
    return create_model("Description", __base__=own or Description, kind=(one_of[names], ...))
