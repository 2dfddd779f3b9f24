"""What edgec allows, whatever a manifest says: how far a re-run may be from what was recorded, and what may be lost of float32.

Measured with ViT-T/16 and two heads, int8, fp32 and w8, in OpenVINO, ONNX Runtime and edgec's evaluators: on the machine that
built them the same bits come back, run after run. Where kernels differ (other instructions, other numbers of threads) fp32 moves
by 5e-7 of an output's largest value, int8 by 2e-3, and by 2e-2 where one of the two saturates sums.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgec.lowering.base import Runner
from edgec.onboard.tolerances import MIN_AGREEMENT, TOLERANCES
from edgec.records.manifest import Execution, Golden, Manifest

LEAST_FIDELITY = {
    "fp32": 0.999,
    **dict.fromkeys(("fp16", "bf16", "w8"), 0.9),
    **dict.fromkeys(("int8", "w6"), 0.8),
    "w4": 0.5,
}
"""Per precision, the least cosine to float32 (of CLS, of patches, of their worst percentile) that an artefact is verified with
unless whoever verifies says otherwise."""
LEAST_GATE = 0.5
"""The least that a board's own gate may be, under the same condition."""
_SAME = (1e-6, 1 - 1e-9)
"""As good as the same bits: a flip of the last bit of one value in a thousand weights may drown, nothing larger."""
_STILL = 1e-6
"""Features that moved by no more, as a share of the largest, come from the same kernels."""
_HEAD_MOVES = 10.0
"""How many times as far as the features, in shares of the largest value, what a head makes of them may move. A linear head and a
segmentation moved by less than once."""
_HEAD_SLACK = 1e-4
_LABELS_STILL = 0.9999


@dataclass(frozen=True)
class Allowed:
    """Of one output beside what was recorded: `difference` as a share of its largest value, `cosine` the smallest, `labels` the
    least share of a frame's that are the same."""

    difference: float
    cosine: float
    labels: float

    def of_head(self, moved: float | None) -> Allowed:
        """What is allowed of a head whose features moved by this share of their largest value; None: it gives none to look at."""
        if moved is None:
            return self
        difference = min(self.difference, _HEAD_MOVES * moved + _HEAD_SLACK)
        return Allowed(difference, self.cosine, max(self.labels, _LABELS_STILL) if moved <= _STILL else self.labels)


def limits(precision: str) -> Allowed:
    """The most that any manifest may allow. Raises `KeyError` for a precision that edgec does not know."""
    difference, cosine = TOLERANCES[precision]
    return Allowed(difference, cosine, MIN_AGREEMENT[precision])


def allowed(precision: str, golden: Golden | None = None, *, same: bool) -> Allowed:
    """`same`: the golden frames ran here as they did when they were recorded (`ran_alike`). `golden`, the manifest's, can only
    make it less."""
    most = limits(precision)
    difference, cosine = _SAME if same else (most.difference, most.cosine)
    if golden is not None:
        difference, cosine = min(difference, golden.relative_tolerance), max(cosine, golden.min_cosine)
    return Allowed(difference, cosine, 1.0 if same else most.labels)


def looser(precision: str, golden: Golden) -> list[str]:
    """In words, what a manifest allows beyond the limits."""
    try:
        most = limits(precision)
    except KeyError:
        return [f"precision is {precision[:40]!r}, which edgec does not know"]
    said = []
    tolerance = golden.relative_tolerance
    if tolerance > most.difference:
        said.append(f"golden.relative_tolerance is {tolerance:g}; of {precision}, {most.difference:g} is the most")
    if golden.min_cosine < most.cosine:
        said.append(f"golden.min_cosine is {golden.min_cosine:g}; of {precision}, {most.cosine:g} is the least")
    return said


def ran_alike(manifest: Manifest, runner: Runner, here: Execution) -> bool:
    """Whether the same features must come back: the same kind of machine, the same version of the runtime, as many threads, and
    the same types in the runtime's own words."""
    return manifest.execution == here and manifest.execution_precision == runner.execution_precision
