"""A ViT's dimensions and weights from the tensors of any form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from edgec.checkpoint.layouts.forms import Recognised
from edgec.checkpoint.layouts.tables import Layout
from edgec.checkpoint.statements import Statements
from edgec.checkpoint.types import Finding
from edgec.checkpoint.weights.backbone import Backbone, block_counts, check_kind, check_parameters, commonest, finish, shapes
from edgec.checkpoint.weights.shelf import Shelf
from edgec.errors import MismatchedWeights
from edgec.model.spec import VitSpec
from edgec.text import counted

if TYPE_CHECKING:
    from torch import Tensor

HEAD_WIDTH = 64
ROPE_BASE = 100.0
NORM_EPS = 1e-5
_BIASES = {
    "bias_q": (".attn.q.bias",),
    "bias_k": (".attn.k.bias",),
    "bias_v": (".attn.v.bias",),
    "bias_proj": (".attn.proj.bias",),
    "bias_mlp": (".mlp.fc1.bias", ".mlp.fc2.bias", ".mlp.gate.bias", ".mlp.up.bias", ".mlp.down.bias"),
}
_HEADS_REMEDY = (
    "give a Hugging Face directory, whose config.json says how many heads there are, or --config FILE with num_attention_heads"
)


def read_vit(recognised: Recognised, shelf: Shelf, statements: Statements, findings: list[Finding]) -> Backbone:
    """The backbone; what is odd is added to `findings`. Raises `MismatchedWeights`, `NonFiniteWeights`, or `UnknownForm` if a
    statement describes another model."""
    layout = recognised.layout
    width, patch, registers, depth = _outline(layout, shelf)
    gated = layout.stored("blocks.0.mlp.gate.weight") in shelf
    hidden = "gate" if gated else "fc1"
    rows = (shelf.shape(layout.stored(f"blocks.{block}.mlp.{hidden}.weight")) for block in range(depth))
    mlp_width = commonest((shape[0] if shape else None for shape in rows), "MLP")
    separate = "cls_norm" in layout.names and "cls_norm.weight" in shelf
    check_kind(statements, "vit", "silu" if gated else "gelu")
    for name, value in (
        ("width", width),
        ("depth", depth),
        ("mlp_width", mlp_width),
        ("gated", gated),
        ("registers", registers),
        ("patch", patch),
        ("channels", 3),
        ("separate_cls_norm", separate),
    ):
        statements.check(name, value)
    if not gated:  # the width of a gated MLP is rounded
        statements.check("mlp_ratio", mlp_width / width)
    periods, heads = _rope(layout, shelf, statements, width, findings)
    spec = VitSpec(
        width,
        depth,
        heads,
        mlp_width,
        mlp="swiglu" if gated else "gelu",
        registers=registers,
        patch=patch,
        norm_eps=statements.number("norm_eps", NORM_EPS),
        key_bias=True,
        separate_cls_norm=separate,
    )
    check_parameters(spec)
    weights: dict[str, Tensor] = {"rope_periods": periods}
    for block in range(depth):
        weights |= _attention(layout, shelf, block, width, findings)
    for name, shape in shapes(spec).items():
        if name not in weights:
            weights[name] = shelf.take(layout.stored(name), shape, 0.0 if 0 in shape else _neutral(name))
    _check_biases(statements, weights)
    spec = _with_key_bias(spec, weights, findings)
    return finish(spec, weights, shelf, recognised)


def _outline(layout: Layout, shelf: Shelf) -> tuple[int, int, int, int]:
    """Width, patch size, registers and depth."""
    depth = block_counts(shelf.tensors, layout.block)[0]
    kernel = shelf.shape(layout.stored("patch_embed.weight"))
    if kernel is None or len(kernel) != 4 or kernel[1] != 3 or kernel[2] != kernel[3] or 0 in kernel:
        raise MismatchedWeights(
            "The patch embedding does not take square patches of RGB pixels.",
            evidence=f"{layout.stored('patch_embed.weight')} has the shape {list(kernel or ())}; needed [width, 3, patch, patch]",
        )
    norms = (shelf.shape(layout.stored(f"blocks.{block}.norm1.weight")) for block in range(depth))
    width = commonest([kernel[0], *(shape[0] if shape else None for shape in norms)], "width")
    registers = shelf.shape(layout.stored("registers")) or (1, 0, width)
    if len(registers) != 3:
        raise MismatchedWeights(
            "The registers have no usable shape.", evidence=f"{list(registers)}; needed [1, registers, {width}]"
        )
    return width, kernel[2], registers[1], depth


def _rope(layout: Layout, shelf: Shelf, statements: Statements, width: int, findings: list[Finding]) -> tuple[Tensor, int]:
    """The rotary periods and the number of heads: from Meta's stored periods, from statements, or as the family has them."""
    import torch

    from edgec.model.vit import rope_periods

    stored = shelf.take_small(layout.stored("rope_periods")) if "rope_periods" in layout.names else None
    heads = statements.whole("heads")
    if stored is not None:
        if stored.ndim != 1 or not len(stored) or not bool((torch.isfinite(stored) & (stored > 0)).all()):
            raise MismatchedWeights(
                "The rotary periods are not usable.",
                evidence=f"{layout.stored('rope_periods')} is {stored.flatten()[:8].tolist()}",
            )
        heads = width // (4 * len(stored)) if heads is None else heads
    elif heads is None:
        if width % HEAD_WIDTH:
            raise MismatchedWeights(
                f"Nothing says how many attention heads a width of {width} is divided into.",
                evidence=f"heads {HEAD_WIDTH} wide, as in every model of the family, do not fit",
                remedy=_HEADS_REMEDY,
            )
        heads = width // HEAD_WIDTH
        findings.append(Finding("note", f"{heads} heads of {HEAD_WIDTH}: assumed, as in every model of the family"))
    if heads < 1 or width % heads or (width // heads) % 4 or (stored is not None and len(stored) * 4 * heads != width):
        raise MismatchedWeights(
            f"A width of {width} cannot be divided into {heads} heads.",
            evidence=f"{len(stored)} rotary periods stored" if stored is not None else "a head's width must be a multiple of 4",
            remedy=_HEADS_REMEDY,
        )
    theta = statements.number("rope_theta", ROPE_BASE)
    periods = rope_periods(width // heads, theta)
    if stored is not None:
        _check_theta(statements, stored, periods)
        return stored, heads
    if layout.form == "meta":
        findings.append(
            Finding("warning", f"no rotary periods stored: those of base {theta:g} in bfloat16 are used, as in Meta's files")
        )
        periods = periods.to(torch.bfloat16).to(torch.float32)
    return periods, heads


def _check_theta(statements: Statements, stored: Tensor, periods: Tensor) -> None:
    """Stored periods follow from their base, up to bfloat16. Raises `MismatchedWeights` if another base is stated."""
    stated = [statement for statement in statements.about("rope_theta") if not statement.default]
    if stated and float((stored / periods - 1).abs().max()) > 2**-7:
        raise MismatchedWeights(
            f"{stated[0].where} and the stored rotary periods disagree.",
            evidence=f"{stated[0]}, the longest period stored is {float(stored.max()):.4g} instead of {float(periods.max()):.4g}",
            remedy="take both from the same checkpoint, or --config none: believe the weights alone",
        )


def _check_biases(statements: Statements, weights: Mapping[str, Tensor]) -> None:
    """Raises `MismatchedWeights` if a statement says that there is no such bias, and a stored one is not zero."""
    for name, endings in _BIASES.items():
        absent = [statement for statement in statements.about(name) if statement.value is False]
        nonzero = [weight for weight in weights if weight.endswith(endings) and bool(weights[weight].any())]
        if absent and nonzero:
            raise MismatchedWeights(
                f"{absent[0].where} and the weights disagree.",
                evidence=f"it is false, and {counted(len(nonzero), 'block')} have such a bias",
                remedy="take both from the same checkpoint; --config none keeps the biases",
            )


def _attention(layout: Layout, shelf: Shelf, block: int, width: int, findings: list[Finding]) -> dict[str, Tensor]:
    """Weights and biases of Q, K and V of one block, under edgec's names."""
    ours = f"blocks.{block}.attn"
    if not layout.fused_qkv:
        stored = {part: layout.stored(f"{ours}.{part}.weight").removesuffix(".weight") for part in "qkv"}
        weights = [shelf.take(f"{stored[part]}.weight", (width, width)) for part in "qkv"]
        biases = [_bias(shelf, f"{stored[part]}.bias", part, width) for part in "qkv"]
    else:
        fused = layout.stored(f"{ours}.qkv.weight").removesuffix("qkv.weight")
        weights = _thirds(shelf.take(f"{fused}qkv.weight", (3 * width, width)))
        if any(f"{fused}{part}_bias" in shelf for part in "qkv"):
            biases = [_bias(shelf, f"{fused}{part}_bias", part, width) for part in "qkv"]
        else:
            bias = shelf.take(f"{fused}qkv.bias", (3 * width,), 0.0)
            biases = _thirds(_masked(bias, shelf, f"{fused}qkv.bias_mask", findings))
    parts = zip("qkv", weights, biases, strict=True)
    return {
        f"{ours}.{part}.{kind}": tensor for part, *both in parts for kind, tensor in zip(("weight", "bias"), both, strict=True)
    }


def _thirds(fused: Tensor) -> list[Tensor]:
    """Q's, K's and V's rows, each in memory of its own."""
    rows = len(fused) // 3
    return [fused[part * rows : (part + 1) * rows].clone() for part in range(3)]


def _bias(shelf: Shelf, name: str, part: str, width: int) -> Tensor:
    """The stored bias, or zeros. For K a missing bias is normal, and not noted as assumed."""
    import torch

    return torch.zeros(width) if part == "k" and name not in shelf else shelf.take(name, (width,), 0.0)


def _masked(bias: Tensor, shelf: Shelf, name: str, findings: list[Finding]) -> Tensor:
    """The fused bias times Meta's mask, which sets K's to zero. In some files the mask was never initialised and is NaN, so that
    Meta's code gives NaN features from them; the intended mask is used then."""
    import torch

    mask = shelf.take_small(name)
    if mask is None:
        return bias
    if mask.shape != bias.shape:
        shelf.problems.append(f"{name} is {list(mask.shape)}; needed {list(bias.shape)}")
        return bias
    if bool(mask.isnan().any()):
        text = "bias_mask is NaN, its value before initialisation: read as the intended mask, which drops K's bias"
        if all(finding.text != text for finding in findings):
            findings.append(Finding("warning", text))
        mask = torch.cat([torch.ones(len(bias) // 3), torch.zeros(len(bias) // 3), torch.ones(len(bias) // 3)])
    return torch.where(mask == 0, torch.zeros(()), bias * mask)


def _with_key_bias(spec: VitSpec, weights: dict[str, Tensor], findings: list[Finding]) -> VitSpec:
    """Notes biases that are not zero, and drops K's if they are zero in every block. Others must stay: RoPE rotates them by the
    token's position, so that softmax does not cancel them."""
    others = [float(weights[name].abs().max()) for name in weights if name.endswith((".attn.q.bias", ".attn.v.bias"))]
    if any(others):
        findings.append(Finding("note", f"Q and V have biases, the largest {max(others):.3g}"))
    names = [name for name in weights if name.endswith(".attn.k.bias")]
    nonzero = [name for name in names if bool(weights[name].any())]
    if nonzero:
        findings.append(
            Finding("warning", f"K has a bias in {len(nonzero)} of {spec.depth} blocks; published models have none: kept")
        )
        return spec
    for name in names:
        del weights[name]
    return replace(spec, key_bias=False)


def _neutral(name: str) -> float | None:
    """The value of a weight that a form may leave out; None for one that must be there."""
    if name.endswith((".ls1", ".ls2")):
        return 1.0
    return 0.0 if name.endswith(".bias") and (".attn." in name or ".mlp." in name) else None
