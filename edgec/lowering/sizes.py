"""Runtimes whose files hold one model for several sizes of frames, its weights once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from edgec.lowering.base import LoweredModel
from edgec.model.spec import Size

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgec.graph.plan import PrecisionPlan


@runtime_checkable
class ManySizes(Protocol):
    """A lowering whose files hold one model for several sizes. Its runner tells sizes apart by the shape of the frames."""

    def lower_sizes(self, hubs: Sequence[ir.Model], plan: PrecisionPlan, directory: Path) -> LoweredModel:
        """As `Lowering.lower`, of hub graphs of one checkpoint at several sizes, the default first. The plan goes by names of
        operations and tensors, which are the same at every size."""
        ...


def function_name(size: Size) -> str:
    """The name of a size's function, in files that name functions."""
    return f"frames_{size}"
