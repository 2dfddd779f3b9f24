"""`random:ARCH`: seeded weights of a known architecture, for when the real ones are not at hand.

Latency is real with them. Features are not, but they are not degenerate either: the spreads below are such that patches differ
from one another and that every block changes them.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

from edgec.checkpoint.text import shown
from edgec.errors import RequestError
from edgec.model.spec import FAMILY, Spec, VitSpec

if TYPE_CHECKING:
    from torch import Generator, Tensor

PREFIX = "random:"
VERSION = 1
"""Grows when the same seed gives other weights."""


def architecture(reference: str) -> str:
    """ARCH of `random:ARCH`. Raises `RequestError` naming the family if it is not in it."""
    name = reference.removeprefix(PREFIX)
    if name not in FAMILY:
        raise RequestError(f"There is no architecture {shown(name)!r}.", evidence=f"known: {', '.join(FAMILY)}")
    return name


def random_identity(reference: str, seed: int) -> str:
    """What stands for the SHA-256 of a file: a hash of all that decides the weights."""
    return hashlib.sha256(f"edgec random weights {VERSION}: {architecture(reference)}, seed {seed}".encode()).hexdigest()


def random_weights(spec: Spec, seed: int) -> dict[str, Tensor]:
    """Float32 weights under edgec's names, `rope_periods` included for a ViT."""
    import torch

    from edgec.checkpoint.weights import shapes
    from edgec.model.vit import rope_periods

    generator = torch.Generator().manual_seed(seed)
    weights = {name: _values(name, shape, generator) for name, shape in shapes(spec).items()}
    if isinstance(spec, VitSpec):
        weights["rope_periods"] = rope_periods(spec.head_width)
    return weights


def _values(name: str, shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Layer scales span the two decades that trained models' do; biases and tokens are small but not zero, so that a mistake
    in carrying them shows."""
    import torch

    values = torch.empty(shape)
    if name.endswith((".ls1", ".ls2", ".gamma")):
        return 10 ** values.uniform_(-2, 0, generator=generator)
    if name.endswith(".weight") and "norm" in name.split(".")[-2]:
        return values.normal_(1, 0.1, generator=generator)
    # A larger CLS token would outweigh what attention adds to it: the feature would hardly depend on the frame.
    if name in ("cls_token", "registers") or name.endswith(".bias"):
        return values.normal_(0, 0.02, generator=generator)
    # A normal cut at two deviations, by its inverse distribution: torch's own trunc_normal_ takes ten times as long.
    within = math.erf(math.sqrt(2))
    return values.uniform_(-within, within, generator=generator).erfinv_().mul_(0.02 * math.sqrt(2))
