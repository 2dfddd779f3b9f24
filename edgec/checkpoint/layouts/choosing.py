"""Which of several sets of weights in one file is used: the one that --weights names; without it the build stops."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from edgec.checkpoint.layouts.forms import Recognised
from edgec.checkpoint.types import Finding
from edgec.errors import AmbiguousCheckpoint
from edgec.text import counted, listed, shown

if TYPE_CHECKING:
    from torch import Tensor

TOP = "top"
"""The value of --weights for weights without a prefix."""
BASE = "base"
"""The value of --weights for a model without the adapter in its folder."""
_AVERAGES = ("ema", "swa", "polyak")
_OF_AVERAGES = ("averag", "shadow")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_TRAINED = re.compile(r"(^|[._])(student|online)\w*", re.IGNORECASE)
_FROZEN = re.compile(r"teacher|target|frozen|reference|(^|[._])ref([._]|$)", re.IGNORECASE)
_HEADS = re.compile(r"head|projector|predictor|proj|loss|center|classifier|prototypes|last_layer", re.IGNORECASE)
_SHOWN = 4


def choose(
    backbones: Sequence[Recognised],
    tensors: Mapping[str, Tensor],
    weights: str | None,
    findings: list[Finding],
) -> Recognised:
    """The backbone to build.

    Raises `AmbiguousCheckpoint`, listing all of them and how to choose, if several differ and `weights` does not name exactly
    one; also without `weights` if the file holds others in a form that edgec cannot read.
    """
    unreadable = _unreadable_sets(backbones, tensors)
    if weights not in (None, BASE):
        matches = [each for each in backbones if weights == name_of(each)] or [
            each for each in backbones if _matches(each, weights)
        ]
        if len(matches) != 1:
            raise _ambiguous(backbones, tensors, f"--weights {shown(weights, 40)} names {len(matches) or 'none'} of them", ())
        (backbone,) = matches
        if len(backbones) > 1 or unreadable:
            findings.append(Finding("note", f"weights: {name_of(backbone)}, as --weights says; {_rest(backbones, backbone)}"))
        return backbone
    first, *others = backbones
    differing = [other for other in others if not _same_values(first, other, tensors)]
    if differing or unreadable:
        raise _ambiguous(backbones, tensors, "nothing says which of them to use", unreadable)
    if others:
        findings.append(Finding("note", f"the same weights are stored as {listed(name_of(each) for each in backbones)}"))
    return first


def name_of(backbone: Recognised) -> str:
    """The value of --weights that means this backbone."""
    return ".".join(backbone.components) or TOP


def _matches(backbone: Recognised, weights: str) -> bool:
    if weights == "ema":
        return any(map(_is_average, backbone.components))
    return weights in backbone.components


def _is_average(component: str) -> bool:
    """Whether a name means averaged weights, however it is written: `ema`, `model_ema`, `EMACallback`, `modelEma`,
    `AveragedModel`."""
    words = [word.lower() for word in _WORDS.findall(component)]
    return any(word in _AVERAGES or word.startswith(_OF_AVERAGES) for word in words)


def _rest(backbones: Sequence[Recognised], chosen: Recognised) -> str:
    others = [name_of(each) for each in backbones if each is not chosen]
    return f"ignored: {listed(others)}" if others else "others, in a form that edgec cannot read, are ignored"


def _unreadable_sets(backbones: Sequence[Recognised], tensors: Mapping[str, Tensor]) -> list[str]:
    """A line for each set of weights that the user may mean and that edgec cannot read: averages in a list, incomplete ones or
    ones under names without dots, and a student of another architecture in its teacher's file."""
    taken = {full for each in backbones for full in each.names.values()}
    outside = [full for full in tensors if full not in taken]
    inner = {name for each in backbones for name in each.names}
    run_together = tuple(name.replace(".", "") for name in inner if name.count(".") > 1)
    shapes = {tuple(tensors[full].shape) for full in taken if tensors[full].ndim > 1}
    groups: Counter[str] = Counter()
    for full in outside:
        parts = full.split(".")
        start = next((number for number, part in enumerate(parts, 1) if _is_average(part)), len(parts))
        ending = parts[start:]
        named = any(".".join(ending[more:]) in inner for more in range(len(ending)))
        numbered = bool(ending) and ending[-1].isdigit() and tuple(tensors[full].shape) in shapes
        if named or numbered or (len(ending) == 1 and ending[0].endswith(run_together)):
            groups[".".join(parts[:start])] += 1
    lines = [
        f"{prefix}: averaged weights, {counted(count, 'tensor')} in a form that edgec cannot read"
        for prefix, count in groups.items()
    ]
    if all(any(_FROZEN.search(part) for part in each.components) for each in backbones):
        trained = [full for full in outside if _TRAINED.search(full) and not _HEADS.search(full)]
        kernels = [full for full in trained if tensors[full].ndim > 1]
        if kernels:
            prefix = kernels[0].split(".")[0]
            lines.append(f"{prefix}: {counted(len(trained), 'tensor')} of another architecture, which edgec cannot read")
    return lines


def _same_values(first: Recognised, other: Recognised, tensors: Mapping[str, Tensor]) -> bool:
    """Whether two backbones are copies of one another."""
    import torch

    if first.layout is not other.layout or first.names.keys() != other.names.keys():
        return False
    cpu = torch.device("cpu")  # tensors without values are on the device meta
    pairs = [(tensors[first.names[name]], tensors[other.names[name]]) for name in first.names]
    return all(
        one.shape == two.shape and one.dtype == two.dtype and one.device == two.device == cpu and torch.equal(one, two)
        for one, two in pairs
    )


def _ambiguous(
    backbones: Sequence[Recognised], tensors: Mapping[str, Tensor], why: str, unreadable: Sequence[str]
) -> AmbiguousCheckpoint:
    lines = [f"--weights {shown(_shortest(each, backbones), 60)}: {describe(each, tensors)}" for each in backbones]
    lines += [shown(line, 160) for line in unreadable[:_SHOWN]]
    return AmbiguousCheckpoint(
        f"This checkpoint holds several sets of weights, and {why}.",
        evidence=lines[:12],
        remedy="choose one with --weights; in a distillation the student, or its average (ema), is what you trained",
    )


def _shortest(backbone: Recognised, backbones: Sequence[Recognised]) -> str:
    for part in backbone.components:
        if [each for each in backbones if _matches(each, part)] == [backbone]:
            return part
    return name_of(backbone)


def describe(backbone: Recognised, tensors: Mapping[str, Tensor]) -> str:
    """`ViT, 384 wide, 12 blocks, 21.6 M values, under teacher.backbone.`: from names and shapes alone."""
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
