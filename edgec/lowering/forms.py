"""Runtimes for which one plan can be written in more than one form, of which only the device can say which is faster."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from edgec.lowering.base import LoweredModel

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgec.graph.plan import PrecisionPlan


@runtime_checkable
class ManyForms(Protocol):
    """A lowering that has other forms than its usual one, which computes the same but for rounding."""

    forms: Mapping[str, tuple[str, ...]]
    """Names of the other forms, by precision."""

    def lower_form(self, hub: ir.Model, plan: PrecisionPlan, form: str, directory: Path) -> LoweredModel:
        """As `Lowering.lower`, in this form."""
        ...
