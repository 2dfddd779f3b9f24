"""The least time that a graph could take on cards whose rates are known: from data sheets, never a latency to expect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx_ir as ir

from edgec.backends.jetson.roofline import estimate_ms, lower_bound
from edgec.backends.rtx.profile import RtxProfile
from edgec.graph.work import count_work
from edgec.lowering.tensorrt.check import read_graph
from edgec.records.compilation import Compilation
from edgec.records.report import Bound


def bounds_of(graph: Path, generations: Sequence[RtxProfile], compilations: Sequence[Compilation]) -> tuple[Bound, ...]:
    """One for each card. `power_mode` of a bound is the card's name."""
    work = count_work(ir.from_proto(read_graph(graph)))

    def bounds() -> Iterator[Bound]:
        for generation in generations:
            compiled = [each for each in compilations if generation.name in each.boards and each.accepted]
            for card in generation.rtx.cards:
                least = lower_bound(work, card.name, card.rates, card.cache_mib)
                if least is None:
                    continue
                estimate = round(estimate_ms(least, compiled[0], card.rates), 4) if compiled else None
                yield Bound(
                    board=generation.name,
                    power_mode=card.name,
                    bound_ms=round(least.bound_ms, 4),
                    limited_by=least.limited_by,
                    estimate_ms=estimate,
                )

    return tuple(bounds())
