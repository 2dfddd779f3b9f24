"""How far a re-run may be from what was recorded, by precision, where kernels differ. Nothing that an artefact says makes it
more.

Between instruction sets the same int8 files of ViT-S/16 differ by up to a third of that (bf16 and int8 round elsewhere); a wrong
weight or axis differs by far more. fp16 is imitated, rounded alike everywhere: its bounds leave room for sums in another order,
and have not been tried between machines.
"""

from __future__ import annotations

TOLERANCES = {
    "fp32": (1e-3, 0.9999),
    **dict.fromkeys(("fp16", "w8", "w6", "w4"), (2e-2, 0.999)),
    **dict.fromkeys(("bf16", "int8"), (0.1, 0.995)),
}
"""The largest difference to the shipped features as a share of their largest value, and the smallest cosine."""
MIN_AGREEMENT = {"fp32": 0.999, **dict.fromkeys(("fp16", "w8", "w6", "w4", "bf16", "int8"), 0.99)}
"""Share of a frame's labels that must be those recorded; less in precisions that machines round in ways of their own: along a
mask's edge two classes are nearly equal."""
