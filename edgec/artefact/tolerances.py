"""What edgec allows, whatever a manifest says: how far a rerun may be from what was recorded, and what may be lost of float32.

Measured with ViT-T/16 and two heads, int8, fp32 and w8, in OpenVINO, ONNX Runtime and edgec's evaluators: on the machine that
built them the same bits are computed in every run. Where kernels differ (other instructions, other numbers of threads) fp32 moves
by 5e-7 of an output's largest value, int8 by 2e-3, and by 2e-2 if one of the two saturates sums.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgec.lowering.base import Runner
from edgec.onboard.tolerances import MIN_AGREEMENT, TOLERANCES
from edgec.records.manifest import Execution, Golden, Manifest

LEAST_FIDELITY = {
    "fp32": 0.999,
    **dict.fromkeys(("fp16", "bf16", "w8"), 0.9),
    **dict.fromkeys(("int8", "fp8", "w6"), 0.8),
    "w4": 0.5,
}
"""By precision, the least cosine to float32 (of CLS, of patches, of their worst percentile) that `verify` accepts unless the user
gives another."""
LEAST_GATE = 0.5
"""The lowest gate that a board may get, unless the user gives another."""
_SAME = (1e-6, 1 - 1e-9)
"""As good as the same bits: only a flip of the last bit of one value in a thousand weights could go unnoticed."""
STILL = 1e-6
"""Features that moved by no more than this, as a share of the largest value, come from the same kernels."""
HEAD_MOVES = 10.0
"""A head's output may move this many times as far as its features, in shares of the largest value. A linear head and a
segmentation moved less than their features did."""
HEAD_SLACK = 1e-4
LABELS_STILL = 0.9999


@dataclass(frozen=True)
class Allowed:
    """How far one output may be from what was recorded: the largest `difference` as a share of its largest value, the smallest
    `cosine`, and for `labels` the least share of a frame's pixels that agree."""

    difference: float
    cosine: float
    labels: float

    def of_head(self, moved: float | None) -> Allowed:
        """What a head's output may move if the features moved by this share of their largest value; None if the artefact does not
        output features."""
        if moved is None:
            return self
        difference = min(self.difference, HEAD_MOVES * moved + HEAD_SLACK)
        return Allowed(difference, self.cosine, max(self.labels, LABELS_STILL) if moved <= STILL else self.labels)


def limits(precision: str) -> Allowed:
    """The most that a manifest may allow. Raises `KeyError` for a precision that edgec does not know."""
    difference, cosine = TOLERANCES[precision]
    return Allowed(difference, cosine, MIN_AGREEMENT[precision])


def allowed(precision: str, golden: Golden | None = None, *, same: bool) -> Allowed:
    """What a rerun may differ by. `same`: the golden frames ran here as when they were recorded (`ran_alike`). The manifest's
    `golden` can only tighten it."""
    most = limits(precision)
    difference, cosine = _SAME if same else (most.difference, most.cosine)
    if golden is not None:
        difference, cosine = min(difference, golden.relative_tolerance), max(cosine, golden.min_cosine)
    return Allowed(difference, cosine, 1.0 if same else most.labels)


def looser(precision: str, golden: Golden) -> list[str]:
    """What a manifest allows beyond the limits, a sentence each."""
    try:
        most = limits(precision)
    except KeyError:
        return [f"precision is {precision[:40]!r}, which edgec does not know"]
    problems = []
    tolerance = golden.relative_tolerance
    if tolerance > most.difference:
        problems.append(f"golden.relative_tolerance is {tolerance:g}; {most.difference:g} is the most for {precision}")
    if golden.min_cosine < most.cosine:
        problems.append(f"golden.min_cosine is {golden.min_cosine:g}; {most.cosine:g} is the least for {precision}")
    return problems


def ran_alike(manifest: Manifest, runner: Runner, here: Execution) -> bool:
    """Whether the same features are required: the same kind of machine, the same version of the runtime, as many threads, and the
    same types according to the runtime."""
    return manifest.execution == here and manifest.execution_precision == runner.execution_precision
