"""From a runtime's steps to the hub graph's operations: kinds in words that are the same for every runtime, blocks, work.

They follow from names and from the runtime's own words for what a step does. A step of which neither says enough is "other", or
has no block or work: nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from edgec.graph.blocks import block_of, numbered_blocks
from edgec.lowering.base import Step
from edgec.records.report import OperationTime

OTHER: Final = "other"
WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "attention": ("scaleddotproductattention", "attention", "multiheadattention", "qattention", "mha", "softmax"),
    "product": (
        *("matmul", "fullyconnected", "gemm", "fusedgemm", "fusedmatmul", "matmulnbits"),
        *("matmulinteger", "matmulintegertofloat", "dynamicquantizematmul", "qlinearmatmul", "qgemm"),
    ),
    "convolution": ("convolution", "groupconvolution", "conv", "fusedconv", "qlinearconv"),
    "norm": ("mvn", "layernormalization", "simplifiedlayernormalization", "skiplayernormalization", "rms"),
    "activation": ("gelu", "biasgelu", "fastgelu", "quickgelu", "erf", "swish", "silu", "sigmoid", "tanh", "relu", "exp"),
    "quantise": ("fakequantize", "quantizelinear", "dequantizelinear", "dynamicquantizelinear"),
    "elementwise": (
        *("add", "multiply", "mul", "muladd", "subtract", "sub", "divide", "div", "neg", "negative", "power", "pow", "sqrt"),
        *("eltwise", "rope", "rotaryembedding", "convert", "cast", "clamp", "clip"),
    ),
    "reorder": (
        *("reorder", "transpose", "reshape", "permute", "split", "variadicsplit", "slice", "stridedslice", "gather"),
        *("concat", "concatenation", "reorderinput", "reorderoutput", "squeeze", "unsqueeze", "broadcast", "expand", "tile"),
    ),
}
"""The runtimes' words by kind. A fusion counts as the first of these kinds that it contains. Softmax is part of attention; a
rotary embedding consists of multiplications and an addition."""

_HUB_KINDS = {"linear": "product", "attention": "attention"}
_BLOCK_KINDS = ("product", "attention", "convolution")
_OURS = (".quantised", ".dequantised", ".smooth")
"""Endings of the names of nodes that lowering adds to the hub graph."""


@dataclass(frozen=True)
class KnownOperation:
    """An operation of the hub graph that the artefact names. `kind` is `edgec.graph.operations.Kind`, or empty; `macs` are of a
    batch, None if not known."""

    name: str
    kind: str = ""
    macs: int | None = None


def mapped(
    steps: Sequence[Step], known: Iterable[KnownOperation], rates_gflops: Mapping[str, float]
) -> tuple[OperationTime, ...]:
    """The steps with kinds, blocks, work, and the share of the rates (GFLOP a second by type) that they reach."""
    facts = {each.name: each for each in known}
    blocks = numbered_blocks(facts)
    return tuple(_mapped(step, facts, blocks, rates_gflops) for step in steps)


def _mapped(
    step: Step, facts: Mapping[str, KnownOperation], blocks: Mapping[str, int], rates_gflops: Mapping[str, float]
) -> OperationTime:
    kind = kind_of(step, facts)
    covered = [facts[name] for name in step.operations if name in facts] if kind in _BLOCK_KINDS else []
    macs = [each.macs for each in covered if each.macs is not None]
    gflops = 2e-9 * sum(macs) if macs and len(macs) == len(covered) else None
    rate = rates_gflops.get(step.computes_in)
    # A depthwise convolution is no product of matrices.
    bounded = gflops and rate and step.mean_ms > 0 and all(each.kind != "depthwise" for each in covered)
    return OperationTime(
        name=step.name,
        kind=kind,
        block=_block(step.operations, blocks),
        operations=tuple(name for name in step.operations if not name.endswith(_OURS)),
        execution=step.execution,
        mean_ms=step.mean_ms,
        gflops=gflops,
        roofline_share=1000 * gflops / rate / step.mean_ms if bounded and gflops and rate else None,
    )


def kind_of(step: Step, facts: Mapping[str, KnownOperation]) -> str:
    """The kind of a step, by the products in it that the artefact names, or else by the runtime's words for what it does."""
    words = {kind for kind, known in WORDS.items() if not set(known).isdisjoint(step.layers)}
    if words & set(_BLOCK_KINDS) or not words:
        for name in step.operations:
            if name in facts and facts[name].kind not in ("", "head"):
                return _HUB_KINDS.get(facts[name].kind, "convolution")
    return next((kind for kind in WORDS if kind in words), OTHER)


def _block(operations: Sequence[str], blocks: Mapping[str, int]) -> int | None:
    """The block that all of these operations are in; None if there is none, or several."""
    prefixes = set(map(block_of, operations))
    return blocks.get(prefixes.pop()) if len(prefixes) == 1 else None
