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
    """A lowering that makes such files. What its `load` gives takes frames of each size, and tells sizes by the frames' shape."""

    def lower_sizes(self, hubs: Sequence[ir.Model], plan: PrecisionPlan, directory: Path) -> LoweredModel:
        """As `Lowering.lower`, of hub graphs of one checkpoint at several sizes; the first is the default. The plan goes by the
        names of operations and tensors, which are the same at every size."""
        ...


def function_name(size: Size) -> str:
    """What a size's function is called in files that name functions."""
    return f"frames_{size}"
