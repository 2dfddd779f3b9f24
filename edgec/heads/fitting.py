"""Whether heads fit a backbone, and what they need of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgec.errors import HeadError
from edgec.heads.types import ONNX, Head
from edgec.model.spec import CONVNEXT_STRIDE, Size, Spec, VitSpec, describe, grid
from edgec.text import shown

Shape = tuple[int, ...]
LARGEST_MAP = 1 << 28
"""The most values of one frame's map: a gigabyte in float32."""


def layers_needed(heads: Sequence[Head]) -> tuple[int, ...]:
    """The blocks (stages, of a ConvNeXt) whose patches some head reads, ascending: they must be among the export's outputs."""
    numbers = {int(name.removeprefix("patches_")) for head in heads for name in head.inputs if name.startswith("patches_")}
    return tuple(sorted(numbers))


def feature_shapes(spec: Spec, size: Size, batch: int = 1) -> dict[str, Shape]:
    """The shapes of everything that the backbone can give at this size, by the hub graph's names."""
    rows, columns = grid(spec, size)
    shapes: dict[str, Shape] = {"cls": (batch, spec.features), "patches": (batch, rows, columns, spec.features)}
    if spec.registers:
        shapes["registers"] = (batch, spec.registers, spec.features)
    for layer in range(spec.blocks):
        if isinstance(spec, VitSpec):
            shapes[f"patches_{layer}"] = shapes["patches"]
        else:
            scale = CONVNEXT_STRIDE >> (2 + layer)
            shapes[f"patches_{layer}"] = (batch, rows * scale, columns * scale, spec.widths[layer])
    return shapes


def check_heads(
    heads: Sequence[Head], spec: Spec, size: Size, *, pooling: str = "", classifier: NDArray[np.float32] | None = None
) -> None:
    """Raises `HeadError` for the first head that was made for another width, layer or patch, with both numbers.

    `pooling` is what the checkpoint's own classifier reads by its configuration (`avg`, `token`, …), and `classifier` is that
    classifier's weight [C, D]: a head with the same weight must read the same.
    """
    from edgec.heads.kinds import kind_of

    shapes = feature_shapes(spec, size)
    reads = _reads(pooling, spec)
    for head in heads:
        _check_pooling(head, reads, pooling, classifier)
        described = head.description
        if described.patch not in (None, spec.stride):
            what = "patch" if isinstance(spec, VitSpec) else "stride"
            raise _refused(head, spec, f"it was made for a {what} of {described.patch} pixels; this model has {spec.stride}")
        strange = [layer for layer in layers_needed([head]) if layer >= spec.blocks]
        if strange:
            what = "blocks" if isinstance(spec, VitSpec) else "stages"
            numbers = ", ".join(map(str, layers_needed([head])))
            raise _refused(head, spec, f"it reads the {what} {numbers}; this model has 0 to {spec.blocks - 1}")
        if head.kind != ONNX and (why := kind_of(head).refusal(head, spec)):
            raise _refused(head, spec, why)
        check_inputs(head, shapes, describe(spec), reads)
        check_size_of_map(head, (size.height, size.width))


def _reads(pooling: str, spec: Spec) -> str:
    """The `features` of a linear head that pools as timm's `global_pool` says; empty if it says nothing, "?" if edgec has no such
    pooling. A ConvNeXt's mean is normalised after pooling, which is edgec's CLS."""
    if not pooling:
        return ""
    return {"token": "cls", "avg": "mean" if isinstance(spec, VitSpec) else "cls"}.get(pooling, "?")


def _check_pooling(head: Head, reads: str, pooling: str, classifier: NDArray[np.float32] | None) -> None:
    from edgec.heads.kinds.linear import Linear, features_of

    if head.kind != Linear.kind or classifier is None or not reads or not np.array_equal(head.weights["weight"], classifier):
        return
    features = features_of(head.description)
    if features != reads:
        raise HeadError(
            f"The head {head.name} is this checkpoint's own classifier, but reads something else.",
            evidence=(
                f"the checkpoint says global_pool {shown(pooling)}",
                f"head: {shown(head.path)}, features {features or 'not given'}",
            ),
            remedy=f'say features = "{reads}" in a TOML beside the head'
            if reads != "?"
            else "export the classifier as ONNX, with its pooling, reading patches",
        )


def check_inputs(head: Head, shapes: Mapping[str, Shape], model: str, reads: str = "") -> None:
    """Raises `HeadError` if the features, whose `shapes` are given by name, lack some that the head reads or have another width.
    `model` describes the backbone in messages; `reads` is as in `HeadModule.misfit`."""
    missing = [name for name in head.inputs if name not in shapes]
    if missing:
        raise HeadError(
            f"The head {head.name} reads {shown(missing[0])}, which this model does not give.",
            evidence=f"it gives: {', '.join(shapes)}",
        )
    widths = [shapes[name][-1] for name in head.inputs]
    stated = head.description.width
    if stated is not None and any(width != stated for width in widths):
        raise _unfit(head, f"it was made for features {stated} wide; this model's are {joined(widths)}", model)
    if head.kind == ONNX:
        from edgec.heads.onnx_heads.preparing import check_onnx

        check_onnx(head, shapes)
        return
    from edgec.heads.kinds import kind_of

    why, hint = kind_of(head).misfit(head, widths, reads)
    if why:
        raise _unfit(head, why, model, hint)


def check_size_of_map(head: Head, frame: tuple[int, int]) -> None:
    """Raises `HeadError` for a head whose map, with all classes, has more than `LARGEST_MAP` values."""
    if head.output in ("labels", "logits", "depth") and head.kind != ONNX:
        from edgec.heads.kinds import kind_of

        planes = kind_of(head).channels(head.weights)
        values = planes * frame[0] * frame[1]
        if values > LARGEST_MAP:
            raise HeadError(
                f"The head {head.name} makes maps that are too large.",
                evidence=f"{planes} channels of {frame[0]}x{frame[1]} pixels: {values:,} values",
                remedy="use a smaller --input-size",
            )


def joined(numbers: Sequence[int]) -> str:
    """The numbers as text, once if all are the same."""
    return str(numbers[0]) if len(set(numbers)) == 1 else ", ".join(map(str, numbers))


def _refused(head: Head, spec: Spec, why: str) -> HeadError:
    return _unfit(head, why, describe(spec))


def _unfit(head: Head, why: str, model: str, hint: str = "") -> HeadError:
    remedy = "use the backbone that the head was trained on, or a head that was trained on this one"
    remedy += f"; {hint}" if hint else ""
    return HeadError(
        f"The head {head.name} does not fit this backbone.",
        evidence=(why, f"head: {shown(head.path)}", f"model: {model}"),
        remedy=remedy,
    )
