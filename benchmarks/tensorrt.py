"""What TensorRT would make of the symmetric plan: the very Q/DQ graph that it is given, run node by node on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from benchmarks.contender import Judgement, judge
from edgec.fidelity.metrics import Features
from edgec.frames import Pixels
from edgec.graph.operations import operations
from edgec.graph.planned import apply_plan
from edgec.graph.session import features_of, open_session
from edgec.graph.statistics import Statistics
from edgec.precision.planning import int8_plan
from edgec.records.evidence import Evidence

KINDS = ("linear", "convolution")


@dataclass(frozen=True)
class Simulated:
    """`share` is that of all multiply-accumulates which run in int8, `of_weights` of those of products and convolutions with
    weights: attention's own products stay out of int8, so that TensorRT can fuse them."""

    judgement: Judgement
    share: float
    of_weights: float


def simulate(
    hub: ir.Model,
    statistics: dict[str, Statistics],
    frames: Sequence[Pixels],
    expected: Sequence[Features],
    threads: int,
) -> Simulated:
    """Builds the symmetric plan for `hub`, runs its graph on `frames`, and counts its work in int8."""
    plan = int8_plan(hub, statistics, kinds=KINDS, rest="fp32", activations="s8")
    session = open_session(apply_plan(hub, plan), threads=threads, optimise=False)
    judgement = judge(lambda frame: features_of(session, frame[None]), frames, expected, Evidence.SIMULATED)
    all_operations = operations(hub)
    int8 = sum(operation.macs for operation in all_operations if plan.precision_of(operation.name) == "int8")
    with_weights = sum(operation.macs for operation in all_operations if operation.weight)
    return Simulated(judgement, int8 / sum(operation.macs for operation in all_operations), int8 / with_weights)
