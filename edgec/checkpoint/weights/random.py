"""`random:ARCH`: seeded weights of a known architecture, for when the real ones are not available.

Their latency is real. Their features mean nothing, but the distributions below make patches differ from one another, and every
block change them.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

from edgec.errors import RequestError
from edgec.model.spec import FAMILY, Spec, VitSpec
from edgec.text import shown

if TYPE_CHECKING:
    from torch import Generator, Tensor

PREFIX = "random:"
VERSION = 1
"""To be raised whenever the same seed gives other weights."""


def architecture(reference: str) -> str:
    """ARCH of `random:ARCH`. Raises `RequestError`, listing the known ones, if it is not in the family."""
    name = reference.removeprefix(PREFIX)
    if name not in FAMILY:
        raise RequestError(f"There is no architecture {shown(name)!r}.", evidence=f"known: {', '.join(FAMILY)}")
    return name


def random_identity(reference: str, seed: int) -> str:
    """In place of a file's SHA-256: a hash, in hex, of everything that the weights depend on."""
    return hashlib.sha256(f"edgec random weights {VERSION}: {architecture(reference)}, seed {seed}".encode()).hexdigest()


def random_weights(spec: Spec, seed: int) -> dict[str, Tensor]:
    """Float32 weights under edgec's names, `rope_periods` included for a ViT."""
    import torch

    from edgec.checkpoint.weights.backbone import shapes
    from edgec.model.vit import rope_periods

    generator = torch.Generator().manual_seed(seed)
    weights = {name: _values(name, shape, generator) for name, shape in shapes(spec).items()}
    if isinstance(spec, VitSpec):
        weights["rope_periods"] = rope_periods(spec.head_width)
    return weights


def _values(name: str, shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Layer scales span two decades, as in trained models; biases and tokens are small but not zero, so that losing one would
    show."""
    import torch

    values = torch.empty(shape)
    if name.endswith((".ls1", ".ls2", ".gamma")):
        return 10 ** values.uniform_(-2, 0, generator=generator)
    if name.endswith(".weight") and "norm" in name.split(".")[-2]:
        return values.normal_(1, 0.1, generator=generator)
    # With a larger CLS token, what attention adds would hardly count: the feature would not depend on the frame.
    if name in ("cls_token", "registers") or name.endswith(".bias"):
        return values.normal_(0, 0.02, generator=generator)
    # A normal distribution cut at two deviations, by its inverse: torch's own trunc_normal_ takes ten times as long.
    within = math.erf(math.sqrt(2))
    return values.uniform_(-within, within, generator=generator).erfinv_().mul_(0.02 * math.sqrt(2))
