"""How far a rerun may be from what was recorded, by precision, if kernels differ. Nothing in an artefact can loosen this.

Between instruction sets the outputs of the same int8 files of ViT-S/16 differ by up to a third of this (bf16 and int8 round at
other places); a wrong weight or axis changes far more. fp16 is imitated, and rounded the same way everywhere: its bounds leave
room for sums in another order, and have not been tested between machines.
"""

from __future__ import annotations

TOLERANCES = {
    "fp32": (1e-3, 0.9999),
    **dict.fromkeys(("fp16", "w8", "w6", "w4"), (2e-2, 0.999)),
    **dict.fromkeys(("bf16", "int8", "fp8"), (0.1, 0.995)),
}
"""The largest difference from the shipped features as a share of their largest value, and the smallest cosine."""
MIN_AGREEMENT = {"fp32": 0.999, **dict.fromkeys(("fp16", "w8", "w6", "w4", "bf16", "int8", "fp8"), 0.99)}
"""The share of a frame's labels that must be the recorded ones. It is lower for precisions that machines round differently: along
a mask's edge two classes are nearly equal."""
