"""Which runtimes and precisions a build tries, and which it leaves out, with the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import onnx

from edgec.errors import TargetError
from edgec.lowering.base import Lowering
from edgec.precision.plan import Precision, PrecisionPlan, Range
from edgec.precision.static import static_int8, uniform

Asked = Literal["auto", "fp32", "bf16", "int8"]


@dataclass(frozen=True)
class CandidatePlan:
    """`plan` is None for a candidate that cannot be, and `problem` says why."""

    runtime: str
    precision: str
    plan: PrecisionPlan | None
    problem: str = ""

    @property
    def name(self) -> str:
        return f"{self.runtime}-{self.precision}"


def wanted(asked: Asked, offered: Sequence[tuple[str, Precision]]) -> tuple[tuple[str, Precision], ...]:
    """The pairs of runtime and precision to try: everything that the target offers, or the precision that was asked for.

    Raises `TargetError` if the target does not offer it.
    """
    pairs = tuple(pair for pair in offered if asked in ("auto", pair[1]))
    if not pairs:
        known = ", ".join(dict.fromkeys(precision for _, precision in offered))
        raise TargetError(
            f"This target does not offer {asked}.",
            evidence=f"it offers: {known}",
            remedy=f"use --precision auto, or one of {known}, or another target (`edgec targets`)",
        )
    return pairs


def candidate_plans(
    hub: onnx.ModelProto,
    pairs: Sequence[tuple[str, Precision]],
    lowerings: Mapping[str, Lowering],
    ranges: Mapping[str, Range],
    *,
    rest: Precision,
    activations: Literal["u8", "s8"],
    weight_bits: int,
) -> tuple[CandidatePlan, ...]:
    """A plan for each pair. `rest` is what an int8 plan's other operations run in, where the runtime can; the last two are the
    target's ways with bytes."""
    found = []
    for runtime, precision in pairs:
        lowering = lowerings[runtime]
        availability = lowering.availability()
        if not availability.available:
            found.append(CandidatePlan(runtime, precision, None, f"not installed: {availability.install}"))
        elif precision not in lowering.precisions:
            found.append(CandidatePlan(runtime, precision, None, f"{lowering.title} has no fast {precision} on CPUs"))
        elif precision == "int8":
            plan = static_int8(
                hub,
                ranges,
                kinds=lowering.int8_kinds,
                rest=rest if rest in lowering.precisions else "fp32",
                activations=activations,
                weight_bits=weight_bits,
            )
            found.append(CandidatePlan(runtime, precision, plan))
        else:
            found.append(CandidatePlan(runtime, precision, uniform(precision)))
    return tuple(found)
