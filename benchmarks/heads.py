"""Heads with drawn weights, as large as real ones: a linear segmentation and a DPT depth head."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edgec.heads import Head
from edgec.heads.kinds import KINDS, description
from edgec.model.spec import Spec, VitSpec

CLASSES = 21
OUTS, CHANNELS, HIDDEN, BINS = (48, 96, 192, 384), 64, 32, 256
"""Of the depth head: channels of its four maps, as published heads for a ViT-S have them, of what fuses them, and its bins."""

Weights = dict[str, NDArray[np.float32]]


def layers_of(spec: Spec) -> tuple[int, ...]:
    """The four layers that the depth head reads."""
    return tuple(spec.blocks * quarter // 4 - 1 for quarter in (1, 2, 3, 4)) if isinstance(spec, VitSpec) else (0, 1, 2, 3)


def drawn_heads(spec: Spec) -> tuple[Head, ...]:
    """`floor` gives labels, `depth` gives depth."""
    widths = (spec.width,) * 4 if isinstance(spec, VitSpec) else spec.widths
    random, described = np.random.default_rng(0), description()
    rows: Weights = dict(_layer("", (CLASSES, widths[-1]), random))
    names = tuple(f"class {number}" for number in range(CLASSES))
    floor = described.model_validate({"kind": "segmentation", "classes": names})
    depth = described.model_validate({"kind": "depth", "layers": layers_of(spec), "max_depth": 10.0})
    heads = (("floor", floor, rows), ("depth", depth, dict(_depth(widths, random))))
    return tuple(
        Head(name, name, "0" * 64, said, KINDS[said.kind].inputs(said, weights), KINDS[said.kind].gives[0], weights)
        for name, said, weights in heads
    )


def _depth(widths: tuple[int, ...], random: np.random.Generator) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Under the names of Meta's files; norms are folded already."""
    for index, (out, width) in enumerate(zip(OUTS, widths, strict=True)):
        yield from _layer(f"reassemble_blocks.projects.{index}.conv.", (out, width, 1, 1), random)
        if (kernel := (4, 2, 0, 3)[index]) > 0:
            yield from _layer(f"reassemble_blocks.resize_layers.{index}.", (out, out, kernel, kernel), random)
        yield from _layer(f"convs.{index}.conv.", (CHANNELS, out, 3, 3), random, bias=False)
        yield from _layer(f"fusion_blocks.{index}.project.conv.", (CHANNELS, CHANNELS, 1, 1), random)
        for unit in (1, 2) if index else (2,):
            for part in (1, 2):
                name = f"fusion_blocks.{index}.res_conv_unit{unit}.conv{part}.conv."
                yield from _layer(name, (CHANNELS, CHANNELS, 3, 3), random, bias=False)
    yield from _layer("project.conv.", (CHANNELS, CHANNELS, 3, 3), random)
    yield from _layer("conv_depth.head.0.", (CHANNELS // 2, CHANNELS, 3, 3), random)
    yield from _layer("conv_depth.head.2.", (HIDDEN, CHANNELS // 2, 3, 3), random)
    yield from _layer("conv_depth.head.4.", (BINS, HIDDEN, 1, 1), random)


def _layer(
    name: str, shape: tuple[int, ...], random: np.random.Generator, *, bias: bool = True
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    yield f"{name}weight", random.normal(0, np.prod(shape[1:]) ** -0.5, shape).astype(np.float32)
    if bias:
        yield f"{name}bias", random.normal(0, 0.1, shape[:1]).astype(np.float32)
