"""Whether a precision pays by what NVIDIA's compiler made of its graphs: by counts, which do not drift, and not by a time.

A lower precision is there to move fewer bytes, or to multiply faster. What it moves can be counted: an int8 product whose kernel
has no epilogue writes its sums, and further kernels read them, scale them and write bytes. In a ViT that is about as much as fp16
moves, and weights of half the size make it pay; in a ConvNeXt, whose maps are large and whose products are few, it is a quarter
more (98 MB a frame against 80 for a ConvNeXt-T at 224 pixels, TensorRT-RTX 1.7.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgec.backends.candidate import Candidate
from edgec.records.compilation import Compilation

BESIDE = "fp16"
"""What the lower precisions are compared with."""
BELOW = ("int8", "fp8")
SAVED = 0.1
"""The share of fp16's traffic, weights included, that has to be saved, unless no more passes between kernels than `GROWTH`."""
GROWTH = 1.2
"""How many times fp16's bytes may pass between kernels. A ViT's int8 passes up to 1.11 times as many (ViT-T/16), and twice the
rate of multiplications may be worth that, or a Jetson's own int8 kernels may need fewer: the board measures."""
KERNELS = 1.5
"""How many times fp16's kernels it may have. An fp8 ViT-T/16 has 220 and fp16 100 (SM 120): its attentions are one kernel each,
but 135 kernels are glue."""


def unprofitable(candidates: Sequence[Candidate]) -> Mapping[str, str]:
    """By name, the candidates of a precision that does not pay in any of its forms on any GPU that was compiled for, each with
    the reason. None where fp16 is not among the candidates, because it was not asked for, or was not compiled."""
    beside = {each.sm: each for candidate in candidates if candidate.precision == BESIDE for each in _accepted(candidate)}
    reasons: dict[str, str] = {}
    for precision in BELOW:
        forms = [candidate for candidate in candidates if candidate.precision == precision]
        pairs = [(form, each, beside[each.sm]) for form in forms for each in _accepted(form) if each.sm in beside]
        if pairs and not any(_pays(low, high) for _, low, high in pairs):
            best, low, high = min(pairs, key=lambda pair: _traffic(pair[1]) / _traffic(pair[2]))
            reasons |= dict.fromkeys((form.name for form in forms), _reason(precision, best, low, high))
    return reasons


def _accepted(candidate: Candidate) -> list[Compilation]:
    return [each for each in candidate.compilations if each.accepted]


def _pays(low: Compilation, high: Compilation) -> bool:
    saved = 1 - _traffic(low) / _traffic(high)
    moves_little = saved >= SAVED or low.moved_bytes <= GROWTH * high.moved_bytes
    return moves_little and low.kernels <= KERNELS * high.kernels


def _traffic(compilation: Compilation) -> int:
    """Bytes that all kernels of one run read and write, weights included."""
    return compilation.moved_bytes + compilation.constant_bytes


def _reason(precision: str, best: Candidate, low: Compilation, high: Compilation) -> str:
    traffic, beside = _traffic(low) / 1e6, _traffic(high) / 1e6
    return (
        f"{precision} does not pay for this model: in its best form ({best.variant}, SM {low.sm}) {low.kernels} kernels pass "
        f"{low.moved_bytes / 1e6:.1f} MB a run between them ({traffic:.1f} with weights), {BESIDE}'s {high.kernels} kernels "
        f"{high.moved_bytes / 1e6:.1f} MB ({beside:.1f}), {low.evidence.value}. --precision {precision} builds it all the same"
    )
