"""A ConvNeXt's dimensions and weights from the tensors of any form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgec.checkpoint.layouts.forms import Recognised
from edgec.checkpoint.statements import Statements
from edgec.checkpoint.types import Finding
from edgec.checkpoint.weights.backbone import Backbone, block_counts, check_kind, check_parameters, commonest, finish, shapes
from edgec.checkpoint.weights.shelf import Shelf
from edgec.errors import MismatchedWeights
from edgec.model.spec import ConvNextSpec

if TYPE_CHECKING:
    from torch import Tensor

STAGES = 4
STEM = 4
"""Side of the first convolution's patches."""
NORM_EPS = 1e-6


def read_convnext(recognised: Recognised, shelf: Shelf, statements: Statements, findings: list[Finding]) -> Backbone:
    """The backbone; what is odd is added to `findings`. Raises `MismatchedWeights`, `NonFiniteWeights`, or `UnknownForm` if a
    statement describes another model."""
    layout = recognised.layout
    depths = tuple(block_counts(shelf.tensors, layout.block))
    if len(depths) != STAGES:
        raise MismatchedWeights(
            f"A ConvNeXt of {len(depths)} stages is not DINOv3's.", evidence=f"needed {STAGES} stages of blocks"
        )
    widths = []
    for stage, depth in enumerate(depths):
        norms = (shelf.shape(layout.stored(f"stages.{stage}.blocks.{block}.norm.weight")) for block in range(depth))
        widths.append(commonest((shape[0] if shape else None for shape in norms), f"width of stage {stage}"))
    check_kind(statements, "convnext", "gelu")
    for name, value in (("depths", depths), ("widths", tuple(widths)), ("channels", 3), ("stem", STEM)):
        statements.check(name, value)
    spec = ConvNextSpec(depths, tuple(widths), statements.number("norm_eps", NORM_EPS))
    check_parameters(spec)
    _compare_duplicate(shelf, findings)
    weights: dict[str, Tensor] = {}
    for name, shape in shapes(spec).items():
        weights[name] = shelf.take(layout.stored(name), shape, 1.0 if name.endswith(".gamma") else None)
    return finish(spec, weights, shelf, recognised)


def _compare_duplicate(shelf: Shelf, findings: list[Finding]) -> None:
    """Meta's code stores the last norm twice, as `norm` and as `norms.3`: warns if they differ."""
    import torch

    for kind in ("weight", "bias"):
        last, copy = shelf.tensors.get(f"norm.{kind}"), shelf.tensors.get(f"norms.3.{kind}")
        if last is not None and copy is not None and not torch.equal(last.float(), copy.float()):
            findings.append(Finding("warning", f"norms.3.{kind} should be a copy of norm.{kind} and is not; norm.{kind} is used"))
