"""Which of several sets of weights in one file is meant: the one that --weights names, or none, and the build stops."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from edgec.checkpoint.forms import Recognised
from edgec.checkpoint.text import counted, listed, shown
from edgec.checkpoint.types import Finding
from edgec.errors import AmbiguousCheckpoint

if TYPE_CHECKING:
    from torch import Tensor

TOP = "top"
"""What --weights calls weights under no prefix."""
BASE = "base"
"""What --weights calls a model without the adapter beside it."""
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

    Raises `AmbiguousCheckpoint`, listing all that there are and how to choose, if several differ and `weights` names none of
    them, or more than one; also if there are others in a form that edgec does not read.
    """
    strangers = _strangers(backbones, tensors)
    if weights not in (None, BASE):
        answers = [each for each in backbones if weights == name_of(each)] or [
            each for each in backbones if _answers(each, weights)
        ]
        if len(answers) != 1:
            raise _ambiguous(backbones, tensors, f"--weights {shown(weights, 40)} names {len(answers) or 'none'} of them", ())
        (backbone,) = answers
        if len(backbones) > 1 or strangers:
            findings.append(Finding("note", f"weights: {name_of(backbone)}, as --weights says; {_rest(backbones, backbone)}"))
        return backbone
    first, *others = backbones
    differing = [other for other in others if not _alike(first, other, tensors)]
    if differing or strangers:
        raise _ambiguous(backbones, tensors, "nothing says which of them counts", strangers)
    if others:
        findings.append(Finding("note", f"the same weights stand under {listed(name_of(each) for each in backbones)}"))
    return first


def name_of(backbone: Recognised) -> str:
    """What --weights calls it."""
    return ".".join(backbone.components) or TOP


def _answers(backbone: Recognised, weights: str) -> bool:
    if weights == "ema":
        return any(map(_is_average, backbone.components))
    return weights in backbone.components


def _is_average(component: str) -> bool:
    """In any of the ways to write it: `ema`, `model_ema`, `EMACallback`, `modelEma`, `AveragedModel`."""
    words = [word.lower() for word in _WORDS.findall(component)]
    return any(word in _AVERAGES or word.startswith(_OF_AVERAGES) for word in words)


def _rest(backbones: Sequence[Recognised], chosen: Recognised) -> str:
    others = [name_of(each) for each in backbones if each is not chosen]
    return f"passed over: {listed(others)}" if others else "others, in a form that edgec does not read, are passed over"


def _strangers(backbones: Sequence[Recognised], tensors: Mapping[str, Tensor]) -> list[str]:
    """A line for each set of weights that may be the one that counts and that edgec cannot read: averages in a list, in part or
    under names without dots, and a student of another architecture beside its teacher."""
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
        f"{place}: averaged weights, {counted(count, 'tensor')} in a form that edgec cannot read"
        for place, count in groups.items()
    ]
    if all(any(_FROZEN.search(part) for part in each.components) for each in backbones):
        trained = [full for full in outside if _TRAINED.search(full) and not _HEADS.search(full)]
        kernels = [full for full in trained if tensors[full].ndim > 1]
        if kernels:
            place = kernels[0].split(".")[0]
            lines.append(f"{place}: {counted(len(trained), 'tensor')} of another architecture, which edgec cannot read")
    return lines


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
    backbones: Sequence[Recognised], tensors: Mapping[str, Tensor], why: str, strangers: Sequence[str]
) -> AmbiguousCheckpoint:
    shortest = {name_of(each): _shortest(each, backbones) for each in backbones}
    lines = [f"--weights {shown(shortest[name_of(each)], 60)}: {describe(each, tensors)}" for each in backbones]
    lines += [shown(line, 160) for line in strangers[:_SHOWN]]
    return AmbiguousCheckpoint(
        f"This checkpoint holds several sets of weights, and {why}.",
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
