"""The least time that a graph could take on a Jetson: from data sheets, never a latency to expect.

A run takes no less than its multiplications take at the GPU's peak, and no less than the memory takes to deliver the weights that
cannot have stayed in the caches since the last run. What passes between operations may stay in the caches: it is counted
separately and is not part of the bound. Where NVIDIA's compiler has seen the graph, `estimate_ms` counts that, and kernels, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from edgec.backends.jetson.profile import Jetson, Rates
from edgec.records.compilation import Compilation
from edgec.records.evidence import Evidence

LAUNCH_MS = 0.002
"""What a kernel costs beside its own work, in a CUDA graph: an assumption that no measurement of edgec's supports yet."""
FAR_LAUNCH_MS = 3 * LAUNCH_MS
"""The same at the far end of a range: as much of an assumption."""
SHARES = (0.06, 0.35)
"""The shares of a GPU's peak that published engines of DINO backbones reach, from the lowest to the highest. Depth-Anything-S
takes 23.5 ms at 308 pixels and 98 ms at 518 on an Orin with 8 GB and TensorRT 8.5: its backbone alone has 25 and 93 GFLOPs, about
1 TFLOP/s, 6 % of the 17 of an Orin NX and 10 % of an Orin Nano's 10. RF-DETR nano takes 6.9 ms on an Orin Nano: 25 GFLOPs of
backbone, 3.6 TFLOP/s, 21 % of 16.7 (Super) or 35 % of 10.3. The heads' work comes on top, which nobody states."""
REASONING = (
    "Likely ranges are estimates, not measurements: from the multiplications at 35 % of the GPU's peak, or its memory at full "
    "rate, whichever takes longer, up to 6 % of the fp16 peak. Such shares published engines of DINO backbones reach on Orin "
    "(Depth-Anything-S, RF-DETR nano). Where NVIDIA's compiler has seen the graph, 2 us a kernel are added, and at the far end 6 "
    "us and all bytes that kernels pass on."
)
"""For reports."""


class Work(Protocol):
    """What one run of a strongly typed graph does, as `edgec.graph.work.count_work` counts it."""

    @property
    def macs(self) -> Mapping[Literal["int8", "fp8", "fp16", "fp32"], int]:
        """Multiplications with their additions, by the type that they are computed in."""

    @property
    def weight_bytes(self) -> int:
        """Bytes of all constants, as stored in the graph."""

    @property
    def frame_bytes(self) -> int:
        """Bytes of the batch of frames that is read."""

    @property
    def exchanged_bytes(self) -> int:
        """Bytes that pass from one operation to the next, written and read."""


@dataclass(frozen=True)
class LatencyBound:
    """Milliseconds for one batch. A run takes at least `bound_ms`, the larger of the first two; `exchange_ms` is what the memory
    would take for `Work.exchanged_bytes`, and is not part of the bound."""

    mode: str
    compute_ms: float
    memory_ms: float
    exchange_ms: float
    evidence: Evidence = Evidence.ESTIMATED

    @property
    def bound_ms(self) -> float:
        """The least time for one batch."""
        return max(self.compute_ms, self.memory_ms)

    @property
    def limited_by(self) -> Literal["compute", "memory"]:
        """Which of the two decides `bound_ms`."""
        return "compute" if self.compute_ms >= self.memory_ms else "memory"


def lower_bound(work: Work, mode: str, rates: Rates, cache_mib: float) -> LatencyBound | None:
    """None if the rates lack a precision that the graph computes in."""
    peaks = {"int8": rates.int8_tops, "fp8": rates.fp8_tflops, "fp16": rates.fp16_tflops, "fp32": rates.fp32_tflops}
    seconds = 0.0
    for kind, macs in work.macs.items():
        peak = peaks[kind]
        if peak is None:
            return None
        seconds += 2 * macs / (peak * 1e12)
    bandwidth = rates.bandwidth_gbs * 1e9
    read = max(0.0, work.weight_bytes - cache_mib * 2**20)
    return LatencyBound(
        mode=mode,
        compute_ms=1e3 * seconds,
        memory_ms=1e3 * (read + work.frame_bytes) / bandwidth,
        exchange_ms=1e3 * work.exchanged_bytes / bandwidth,
    )


def lower_bounds(work: Work, board: Jetson) -> tuple[LatencyBound, ...]:
    """One for each power mode whose rates are known, the fastest mode first."""
    bounds = (lower_bound(work, mode.name, mode.rates, board.cache_mib) for mode in board.modes if mode.rates is not None)
    return tuple(bound for bound in bounds if bound is not None)


def estimate_ms(bound: LatencyBound, compilation: Compilation, rates: Rates) -> float:
    """Milliseconds that a batch would take if every byte between kernels went through the memory, with `LAUNCH_MS` for each
    kernel. No bound: what stays in the caches is faster, and no kernel reaches the peaks."""
    memory_ms = bound.memory_ms + 1e3 * compilation.moved_bytes / (rates.bandwidth_gbs * 1e9)
    return max(bound.compute_ms, memory_ms) + LAUNCH_MS * compilation.kernels


def likely_ms(bound: LatencyBound, work: Work, rates: Rates, compilation: Compilation | None) -> tuple[float, float]:
    """The range in which a batch's time is likely to lie, in ms of two digits: by the published `SHARES` of the peak and, where
    the compiler has seen the graph, by its launches and bytes. What int8 or fp8 reaches nobody has published: at the far end its
    products are no faster than fp16's."""
    kernels = compilation.kernels if compilation else 0
    moved = 1e3 * compilation.moved_bytes / (rates.bandwidth_gbs * 1e9) if compilation else 0.0
    fp32 = work.macs.get("fp32", 0)
    others = sum(macs for kind, macs in work.macs.items() if kind != "fp32")
    as_fp16_ms = 2e-9 * (others / rates.fp16_tflops + fp32 / rates.fp32_tflops)
    least = max(bound.compute_ms / SHARES[1], bound.memory_ms) + LAUNCH_MS * kernels
    most = max(as_fp16_ms, bound.compute_ms) / SHARES[0] + bound.memory_ms + moved + FAR_LAUNCH_MS * kernels
    return two_digits(least), two_digits(most)


def two_digits(value: float) -> float:
    """Rounded to what an estimate may claim."""
    return float(f"{value:.2g}")
