"""What of a hub graph can run in another precision, and what it costs."""

from __future__ import annotations

from collections import Counter

import onnx_ir as ir
import pytest

from edgec.errors import ExportError
from edgec.graph.operations import operations
from edgec.model.spec import FAMILY, ConvNextSpec, Size, Spec, VitSpec, macs
from edgec.precision.static import int8_activations
from tests.support.models import CONVNEXT, SMALL, SPECS, VIT, exported
from tests.support.onnx_graphs import constant, node, nodes


@pytest.mark.parametrize("name", SPECS)
def test_costs_add_up_to_the_spec_s(name: str) -> None:
    assert sum(entry.macs for entry in operations(exported(SPECS[name]).graph)) == macs(SPECS[name], SMALL)


@pytest.mark.parametrize("spec", [VIT, CONVNEXT], ids=["vit", "convnext"])
def test_costs_are_of_the_whole_batch(spec: Spec) -> None:
    assert sum(entry.macs for entry in operations(exported(spec, batch=2).graph)) == 2 * macs(spec, SMALL)


def test_costs_of_another_size_follow_the_tokens() -> None:
    size = Size(480, 640)
    for spec in (VitSpec(64, 1, 1, 64), CONVNEXT):
        assert sum(entry.macs for entry in operations(exported(spec, size).graph)) == macs(spec, size)


PUBLISHED = {
    "vits16": (12.5, 63.8),
    "vits16plus": (16.2, 78.4),
    "vitb16": (47.1, 215),
    "vitl16": (165, 727),
    "vith16plus": (450, 1902),
    "convnext_tiny": (11.6, 46.5),
    "convnext_small": (22.7, 90.7),
    "convnext_base": (40.1, 160),
    "convnext_large": (89.8, 359),
}
"""GFLOPs at 256 and 512 pixels, two a MAC, as the model cards give them."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_formula_gives_the_published_figures(name: str) -> None:
    for side, gflops in zip((256, 512), PUBLISHED[name], strict=True):
        assert 2 * macs(FAMILY[name], Size(side, side)) / 1e9 == pytest.approx(gflops, rel=0.02)


@pytest.mark.parametrize("name", FAMILY)
def test_the_formula_is_the_sum_over_layers(name: str) -> None:
    """Counted by hand, layer by layer, at a frame that is not square."""
    spec, size = FAMILY[name], Size(224, 320)
    by_hand = _vit_by_hand(spec, size) if isinstance(spec, VitSpec) else _convnext_by_hand(spec, size)
    assert macs(spec, size) == by_hand


def _vit_by_hand(spec: VitSpec, size: Size) -> int:
    patches = (size.height // 16) * (size.width // 16)
    count = 1 + 4 + patches
    total = patches * 16 * 16 * 3 * spec.width
    for _ in range(spec.depth):
        total += 4 * count * spec.width * spec.width
        total += 2 * spec.heads * count * count * (spec.width // spec.heads)
        total += (3 if spec.mlp == "swiglu" else 2) * count * spec.width * spec.mlp_width
    return total


def _convnext_by_hand(spec: ConvNextSpec, size: Size) -> int:
    total, before, height, width = 0, 3, size.height // 4, size.width // 4
    for stage, channels in enumerate(spec.widths):
        kernel = 4 if stage == 0 else 2
        if stage:
            height, width = height // 2, width // 2
        total += height * width * kernel * kernel * before * channels
        total += spec.depths[stage] * height * width * (49 * channels + 2 * 4 * channels * channels)
        before = channels
    return total


def test_kinds_of_a_vit() -> None:
    actual = operations(exported(VIT).graph)
    kinds = Counter(entry.kind for entry in actual)
    assert kinds == {"linear": 12, "attention": 4, "embedding": 1}
    assert actual[0].name == "patch_embed"
    assert [entry.name for entry in actual if entry.kind == "attention"][:2] == ["blocks.0.attn.scores", "blocks.0.attn.mix"]


def test_kinds_of_a_convnext() -> None:
    actual = operations(exported(CONVNEXT).graph)
    kinds = {entry.name: entry.kind for entry in actual}
    assert Counter(kinds.values()) == {"linear": 8, "depthwise": 4, "convolution": 3, "embedding": 1}
    assert kinds["stages.0.downsample"] == "embedding"
    assert kinds["stages.1.downsample"] == "convolution"
    assert kinds["stages.3.blocks.0.dwconv"] == "depthwise"


@pytest.mark.parametrize("name", SPECS)
def test_operations_name_what_they_read(name: str) -> None:
    hub = exported(SPECS[name]).hub
    actual = operations(exported(SPECS[name]).graph)
    assert len(actual) == len(nodes(hub, "MatMul")) + len(nodes(hub, "Conv"))
    order = [entry.name for entry in hub.graph.node]
    assert [order.index(entry.name) for entry in actual] == sorted(order.index(entry.name) for entry in actual)
    for entry in actual:
        made = node(hub, entry.name)
        assert made.input[0] == entry.activation
        if entry.kind == "attention":
            assert entry.weight == ""
            continue
        assert made.input[1] == entry.weight
        shape = constant(hub, entry.weight).shape
        output = next(value for value in hub.graph.value_info if value.name == made.output[0])
        dims = [dim.dim_value for dim in output.type.tensor_type.shape.dim]
        assert shape[entry.channel_axis] == dims[1 if made.op_type == "Conv" else -1]


def test_activations_to_calibrate_are_named_once() -> None:
    """Q, K and V read the same tensor, and so do gate and up."""
    vit = int8_activations(exported(VIT).graph)
    assert len(vit) == len(set(vit)) == 8
    assert vit[0] == "blocks.0.norm1"
    assert len(int8_activations(exported(SPECS["swiglu"]).graph)) == 8
    convnext = int8_activations(exported(CONVNEXT).graph)
    assert len(convnext) == 11
    assert "frames.transpose" not in (*vit, *convnext)


def test_an_open_shape_is_refused() -> None:
    hub = exported(VIT).hub
    value = next(value for value in hub.graph.value_info if value.name == "blocks.1.mlp.fc2")
    value.type.tensor_type.shape.dim[0].dim_param = "N"
    with pytest.raises(ExportError, match=r"blocks\.1\.mlp\.fc2 has an open shape"):
        operations(ir.from_proto(hub))
