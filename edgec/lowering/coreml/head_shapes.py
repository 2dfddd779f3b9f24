"""Operations of heads that move values and compute none: gathering, repeating, padding, shuffling, sampling.

Sources: onnx/docs/Operators.md, opset 18; coremltools, converters/mil/mil/ops/defs (github.com/apple/coremltools).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from edgec.lowering.coreml.entries import Entry, attributes, refusal

if TYPE_CHECKING:
    from edgec.lowering.coreml.program import Translator

PADDING = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}
SAMPLING = {"zeros": "constant", "border": "border"}
"""MIL's padding of `resample` by GridSample's. Reflections are left out: MIL reflects about other points."""
NEVER_NEGATIVE = ("reduce_argmax", "reduce_argmin", "topk")
"""MIL's operations whose results are indices that are never negative."""
_PASSED = ("reshape", "expand_dims", "squeeze", "tile", "identity", "transpose", "slice_by_index", "cast")


def _tile(p: Translator, node: ir.Node) -> Any:
    reps = p.integers(*p.array(node.inputs[1]).tolist())
    return p.mb.tile(x=p.operand(node.inputs[0], p.half(node)), reps=reps, name=p.name(node))


def _split(p: Translator, node: ir.Node) -> list[Any]:
    """As one slice for each part."""
    x, axis = p.operand(node.inputs[0], p.half(node)), int(attributes(node).get("axis", 0)) % len(p.shape(node.outputs[0]))
    parts, start = [], 0
    for index, output in enumerate(node.outputs):
        end = start + p.shape(output)[axis]
        begin, stop = [0] * len(x.shape), list(x.shape)
        begin[axis], stop[axis] = start, end
        name = p.name(node, f"_{index}")
        parts.append(p.mb.slice_by_index(x=x, begin=p.integers(*begin), end=p.integers(*stop), name=name))
        start = end
    return parts


def _pad(p: Translator, node: ir.Node) -> Any:
    mode, rank = attributes(node).get("mode", "constant"), len(p.shape(node.outputs[0]))
    axes, fill = p.optional(node, 3), p.optional(node, 2)
    amounts = np.zeros((rank, 2), int)
    amounts[slice(None) if axes is None else axes % rank] = p.array(node.inputs[1]).reshape(2, -1).T
    if mode not in PADDING or amounts.min() < 0:
        raise refusal(node, f"mode {mode}" if mode not in PADDING else "negative amounts")
    first = int(np.argmax(amounts.any(axis=1))) if amounts.any() else rank - 1
    if mode != "constant" and first < rank - 2:
        raise refusal(node, f"mode {mode} of more than the last two dimensions")
    return p.mb.pad(
        x=p.first(node),
        pad=p.integers(*amounts[first:].reshape(-1).tolist()),
        mode=p.text(PADDING[mode]),
        constant_val=p.scalar(node, 0.0 if fill is None else fill.item(), "value"),
        name=p.name(node),
    )


def _depth_to_space(p: Translator, node: ir.Node) -> Any:
    """CRD is PyTorch's `PixelShuffle`."""
    options = attributes(node)
    x, size = p.first(node), p.number(int(options["blocksize"]))
    if options.get("mode", "DCR") == "CRD":
        return p.mb.pixel_shuffle(x=x, upscale_factor=size, name=p.name(node))
    return p.mb.depth_to_space(x=x, block_size=size, name=p.name(node))


def _space_to_depth(p: Translator, node: ir.Node) -> Any:
    size = p.number(int(attributes(node)["blocksize"]))
    return p.mb.space_to_depth(x=p.first(node), block_size=size, name=p.name(node))


def _grid_sample(p: Translator, node: ir.Node) -> Any:
    """Coordinates stay in float32, which `resample` takes."""
    options = attributes(node)
    mode, padding = options.get("mode", "bilinear"), options.get("padding_mode", "zeros")
    if mode != "bilinear" or padding not in SAMPLING or len(p.shape(node.outputs[0])) != 4:
        raise refusal(node, f"mode {mode}, padding {padding}, {len(p.shape(node.outputs[0]))} dimensions")
    return p.mb.resample(
        x=p.first(node),
        coordinates=p.tensor(node.inputs[1], False),
        sampling_mode=p.text("bilinear"),
        padding_mode=p.text(SAMPLING[padding]),
        padding_value=p.scalar(node, 0, "outside"),
        coordinates_mode=p.text("normalized_minus_one_to_one"),
        align_corners=p.number(bool(options.get("align_corners", 0))),
        name=p.name(node),
    )


def _top(p: Translator, node: ir.Node) -> list[Any]:
    options = attributes(node)
    values, indices = p.mb.topk(
        x=p.first(node),
        k=p.number(int(p.array(node.inputs[1]).item())),
        axis=p.number(int(options.get("axis", -1))),
        ascending=p.number(not options.get("largest", 1)),
        sort=p.number(bool(options.get("sorted", 1))),
        return_indices=p.number(True),
        output_indices_dtype=p.text("int32"),
        name=p.name(node),
    )
    return [values, indices]


def _gather_elements(p: Translator, node: ir.Node) -> Any:
    axis = int(attributes(node).get("axis", 0))
    x = p.operand(node.inputs[0], p.half(node))
    indices = gathered_indices(p, node, x.shape[axis])
    no = p.number(False)
    return p.mb.gather_along_axis(x=x, indices=indices, axis=p.number(axis), validate_indices=no, name=p.name(node))


def gathered_indices(p: Translator, node: ir.Node, size: int) -> Any:
    """The indices in the node's second input, into an axis of `size` elements. MIL knows no negative ones: constants are counted
    from the beginning instead. Raises `UnsupportedOperation` for indices that are computed and may be negative."""
    value = node.inputs[1]
    if p.is_constant(value):
        index = p.array(value)
        return p.constants.shared((index % size).astype(np.int32), p.name(node, "_indices"))
    indices = p.made(value)
    maker = indices.op
    while maker is not None and maker.op_type in _PASSED:
        maker = maker.x.op
    if maker is None or maker.op_type not in NEVER_NEGATIVE:
        raise refusal(node, "indices that are computed and may be negative")
    return indices


TABLE: dict[str, Entry] = {
    "DepthToSpace": _depth_to_space,
    "GatherElements": _gather_elements,
    "GridSample": _grid_sample,
    "Pad": _pad,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Tile": _tile,
    "TopK": _top,
}
ATTRIBUTES = {
    "DepthToSpace": "blocksize mode",
    "GatherElements": "axis",
    "GridSample": "align_corners mode padding_mode",
    "Pad": "mode",
    "SpaceToDepth": "blocksize",
    "Split": "axis num_outputs",
    "TopK": "axis largest sorted",
}
INTEGERS = ("GatherElements", "Split", "Tile")
"""Operations that may read integers."""
SEVERAL = ("Split", "TopK")
"""Operations with several results."""
