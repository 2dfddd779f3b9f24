"""What only heads bring that moves values: gathering, repeating, padding, shuffling, sampling.

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
"""By GridSample's padding, that of `resample`. Its reflections are about other points."""
NEVER_NEGATIVE = ("reduce_argmax", "reduce_argmin", "topk")
"""What makes whole numbers from which no element is counted from the end."""
_PASSED = ("reshape", "expand_dims", "squeeze", "tile", "identity", "transpose", "slice_by_index", "cast")


def _tile(p: Translator, node: ir.Node) -> Any:
    reps = p.integers(*p.array(node.inputs[1]).tolist())
    return p.mb.tile(x=p.operand(node.inputs[0], p.half(node)), reps=reps, name=p.name(node))


def _split(p: Translator, node: ir.Node) -> list[Any]:
    """As slices, one for each part."""
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
    axes = (
        [int(axis) % rank for axis in p.array(node.inputs[3])] if len(node.inputs) > 3 and node.inputs[3] else list(range(rank))
    )
    before, behind = p.array(node.inputs[1]).reshape(2, -1).tolist()
    amounts = np.zeros((rank, 2), int)
    amounts[axes] = list(zip(before, behind, strict=True))
    if mode not in PADDING or amounts.min() < 0:
        raise refusal(node, f"mode {mode}" if mode not in PADDING else "negative amounts")
    first = int(np.argmax(amounts.any(axis=1))) if amounts.any() else rank - 1
    if mode != "constant" and first < rank - 2:
        raise refusal(node, f"mode {mode} of more than the last two dimensions")
    value = p.array(node.inputs[2]).item() if len(node.inputs) > 2 and node.inputs[2] else 0.0
    half = p.half(node)
    return p.mb.pad(
        x=p.tensor(node.inputs[0], half),
        pad=p.integers(*amounts[first:].reshape(-1).tolist()),
        mode=p.text(PADDING[mode]),
        constant_val=p.constants.floats(np.float32(value), half, p.name(node, "_value")),
        name=p.name(node),
    )


def _depth_to_space(p: Translator, node: ir.Node) -> Any:
    """CRD is PyTorch's `PixelShuffle`."""
    said = attributes(node)
    x, size = p.tensor(node.inputs[0], p.half(node)), p.number(int(said["blocksize"]))
    if said.get("mode", "DCR") == "CRD":
        return p.mb.pixel_shuffle(x=x, upscale_factor=size, name=p.name(node))
    return p.mb.depth_to_space(x=x, block_size=size, name=p.name(node))


def _space_to_depth(p: Translator, node: ir.Node) -> Any:
    size = p.number(int(attributes(node)["blocksize"]))
    return p.mb.space_to_depth(x=p.tensor(node.inputs[0], p.half(node)), block_size=size, name=p.name(node))


def _grid_sample(p: Translator, node: ir.Node) -> Any:
    """Coordinates are float32, in which `resample` takes them."""
    said, half = attributes(node), p.half(node)
    mode, padding = said.get("mode", "bilinear"), said.get("padding_mode", "zeros")
    if mode != "bilinear" or padding not in SAMPLING or len(p.shape(node.outputs[0])) != 4:
        raise refusal(node, f"mode {mode}, padding {padding}, {len(p.shape(node.outputs[0]))} dimensions")
    return p.mb.resample(
        x=p.tensor(node.inputs[0], half),
        coordinates=p.tensor(node.inputs[1], False),
        sampling_mode=p.text("bilinear"),
        padding_mode=p.text(SAMPLING[padding]),
        padding_value=p.constants.floats(np.float32(0), half, p.name(node, "_outside")),
        coordinates_mode=p.text("normalized_minus_one_to_one"),
        align_corners=p.number(bool(said.get("align_corners", 0))),
        name=p.name(node),
    )


def _top(p: Translator, node: ir.Node) -> list[Any]:
    said = attributes(node)
    name = p.name(node)
    values, indices = p.mb.topk(
        x=p.tensor(node.inputs[0], p.half(node)),
        k=p.number(int(p.array(node.inputs[1]).item())),
        axis=p.number(int(said.get("axis", -1))),
        ascending=p.number(not said.get("largest", 1)),
        sort=p.number(bool(said.get("sorted", 1))),
        return_indices=p.number(True),
        output_indices_dtype=p.text("int32"),
        name=name,
    )
    return [values, indices]


def _gather_elements(p: Translator, node: ir.Node) -> Any:
    axis = int(attributes(node).get("axis", 0))
    x = p.operand(node.inputs[0], p.half(node))
    indices = chosen(p, node, x.shape[axis])
    no = p.number(False)
    return p.mb.gather_along_axis(x=x, indices=indices, axis=p.number(axis), validate_indices=no, name=p.name(node))


def chosen(p: Translator, node: ir.Node, size: int) -> Any:
    """The indices that the node's second input holds, none of them negative, which MIL does not know."""
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
WHOLE = ("GatherElements", "Split", "Tile")
"""What may read whole numbers."""
SEVERAL = ("Split", "TopK")
"""What has several results."""
