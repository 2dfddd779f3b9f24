"""Which of several sets of weights in one file is meant: the one that --weights names, or none, and the build stops."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from edgec.checkpoint.forms import Recognised
from edgec.checkpoint.text import listed, shown
from edgec.checkpoint.types import Finding
from edgec.errors import AmbiguousCheckpoint

if TYPE_CHECKING:
    from torch import Tensor

TOP = "top"
"""What --weights calls weights under no prefix."""
BASE = "base"
"""What --weights calls a model without the adapter beside it."""
_AVERAGED = re.compile(r"(^|[._-])(ema|swa|averag\w*|shadow\w*|polyak)([._-]|$)", re.IGNORECASE)


def choose(
    backbones: Sequence[Recognised],
    tensors: Mapping[str, Tensor],
    unnamed: Sequence[str],
    weights: str | None,
    findings: list[Finding],
) -> Recognised:
    """The backbone to build. `unnamed` are places of tensors that have no names, such as averaged weights in a list.

    Raises `AmbiguousCheckpoint`, listing all that there are and how to choose, if several differ and `weights` names none of
    them, or more than one.
    """
    averaged = [place for place in unnamed if _AVERAGED.search(place)]
    if weights not in (None, BASE):
        answers = [each for each in backbones if weights == name_of(each)] or [
            each for each in backbones if _answers(each, weights)
        ]
        if len(answers) != 1:
            raise _ambiguous(backbones, tensors, f"--weights {shown(weights, 40)} names {len(answers) or 'none'} of them", ())
        (backbone,) = answers
        if len(backbones) > 1 or averaged:
            findings.append(Finding("note", f"weights: {name_of(backbone)}, as --weights says; {_rest(backbones, backbone)}"))
        return backbone
    first, *others = backbones
    differing = [other for other in others if not _alike(first, other, tensors)]
    if differing or averaged:
        raise _ambiguous(backbones, tensors, "nothing says which of them counts", averaged)
    if others:
        findings.append(Finding("note", f"the same weights stand under {listed(name_of(each) for each in backbones)}"))
    return first


def name_of(backbone: Recognised) -> str:
    """What --weights calls it."""
    return ".".join(backbone.components) or TOP


def _answers(backbone: Recognised, weights: str) -> bool:
    if weights == "ema":
        return any(_AVERAGED.search(part) for part in backbone.components)
    return weights in backbone.components


def _rest(backbones: Sequence[Recognised], chosen: Recognised) -> str:
    others = [name_of(each) for each in backbones if each is not chosen]
    return f"passed over: {listed(others)}" if others else "averaged weights without names are passed over"


def _alike(first: Recognised, other: Recognised, tensors: Mapping[str, Tensor]) -> bool:
    """Whether two are copies of one another, whatever else one of them has."""
    import torch

    if first.layout is not other.layout or first.names.keys() != other.names.keys():
        return False
    cpu = torch.device("cpu")  # what has no values of its own is elsewhere
    pairs = [(tensors[first.names[name]], tensors[other.names[name]]) for name in first.names]
    return all(
        one.shape == two.shape and one.dtype == two.dtype and one.device == two.device == cpu and torch.equal(one, two)
        for one, two in pairs
    )


def _ambiguous(
    backbones: Sequence[Recognised], tensors: Mapping[str, Tensor], why: str, averaged: Sequence[str]
) -> AmbiguousCheckpoint:
    shortest = {name_of(each): _shortest(each, backbones) for each in backbones}
    lines = [f"--weights {shown(shortest[name_of(each)], 60)}: {describe(each, tensors)}" for each in backbones]
    lines += [f"{shown(place, 80)}: averaged weights without names, which edgec cannot read" for place in averaged[:4]]
    return AmbiguousCheckpoint(
        f"This checkpoint holds {'several sets of weights' if len(backbones) > 1 else 'averaged weights beside the raw ones'}, "
        f"and {why}.",
        evidence=lines[:12],
        remedy="choose one with --weights; in a distillation the student, or its average (ema), is what you trained",
    )


def _shortest(backbone: Recognised, backbones: Sequence[Recognised]) -> str:
    for part in backbone.components:
        if [each for each in backbones if _answers(each, part)] == [backbone]:
            return part
    return name_of(backbone)


def describe(backbone: Recognised, tensors: Mapping[str, Tensor]) -> str:
    """`ViT, 384 wide, 12 blocks, 21.6 M values, Meta's names`: told from names and shapes alone."""
    layout = backbone.layout
    kernel = tensors[
        backbone.names[layout.stored("patch_embed.weight" if layout.family == "vit" else "stages.0.downsample.weight")]
    ]
    block = re.compile(re.escape(layout.block).replace(r"\{\}", r"\d+"))
    blocks = {match.group() for match in map(block.match, backbone.names) if match}
    values = sum(tensors[full].numel() for full in backbone.names.values())
    kind = "ViT" if layout.family == "vit" else "ConvNeXt"
    width = kernel.shape[0] if kernel.ndim else 0
    return f"{kind}, {width} wide, {len(blocks)} blocks, {values / 1e6:.1f} M values, under {backbone.prefix or 'no prefix'}"
