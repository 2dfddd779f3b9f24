"""Plain int8 plans: ranges from calibration and nothing else, so that a pass can be tested without a search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import onnx_ir as ir

from edgec.frames.types import Pixels
from edgec.graph.operations import operations
from edgec.graph.plan import Bytes, Precision, PrecisionPlan, Range
from edgec.graph.statistics import observe


def observed_ranges(hub: ir.Model, tensors: Sequence[str], frames: Iterable[Pixels], batch: int) -> dict[str, Range]:
    return {name: entry.range for name, entry in observe(hub, tensors, frames, batch).items()}


def plain_int8(
    hub: ir.Model,
    ranges: Mapping[str, Range],
    *,
    kinds: tuple[str, ...],
    rest: Precision,
    activations: Bytes = "u8",
    paired: bool = False,
) -> PrecisionPlan:
    """Every operation of these kinds in static int8, or in fp8 if activations are."""
    static: Precision = "fp8" if activations == "fp8" else "int8"
    chosen = [entry for entry in operations(hub) if entry.kind in kinds]
    return PrecisionPlan(
        static,
        rest,
        operations={entry.name: static for entry in chosen},
        ranges={entry.activation: ranges[entry.activation] for entry in chosen},
        activations=activations,
        paired=paired,
    )
