"""What a kind of head is to the rest of edgec, a class of its own and a line in `KINDS`; and what the modules of all kinds
promise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import cast, get_args

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from edgec.graph.operations import HEADS
from edgec.graph.session import features_of, open_session
from edgec.graph.values import name_of
from edgec.heads import Description, Head, HeadError, check_heads, kinds, read_head
from edgec.heads.attach import apart, attach
from edgec.heads.fitting import feature_shapes
from edgec.heads.kinds.maps import Antialiased, antialiasing
from edgec.heads.kinds.module import HeadModule, Shapes
from edgec.heads.reference import CameraModelWithHeads
from edgec.heads.types import ONNX, Array, Output
from edgec.lowering import registry
from edgec.model.spec import Size
from edgec.records.fidelity import HeadFacts
from tests.support import heads as made
from tests.support.models import CONVNEXT, SMALL, VIT, exported


class NearestDescription(Description):
    sharpness: float = Field(default=1.0, gt=0)


class Nearest(HeadModule):
    """A kind that edgec has not: a score a prototype, the closer CLS is to it. Weights: prototypes [C, D]."""

    kind, gives, described_by = "nearest", ("scores",), NearestDescription

    def __init__(self, described: Description, output: Output, shapes: Shapes) -> None:
        super().__init__(described, output, shapes)
        self.sharpness = cast(NearestDescription, described).sharpness
        self.prototypes = nn.Parameter(torch.empty(shapes["prototypes"]))

    def forward(self, given: Sequence[Tensor], frame: Size) -> Tensor:
        apart = given[0][:, None] - self.prototypes
        return -self.sharpness * (apart * apart).sum(dim=2)

    @classmethod
    def take(cls, described: Description, arrays: dict[str, Array], where: str) -> tuple[dict[str, Array], list[str]]:
        return arrays, [] if "prototypes" in arrays else ["no prototypes"]

    @classmethod
    def inputs(cls, described: Description, weights: Mapping[str, Array]) -> tuple[str, ...]:
        return ("cls",)

    @classmethod
    def channels(cls, weights: Mapping[str, Array]) -> int:
        return len(weights["prototypes"])

    @classmethod
    def widths(cls, head: Head) -> list[int]:
        return [head.weights["prototypes"].shape[1]]


def test_a_new_kind_is_a_class_and_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made.write(tmp_path / "near.safetensors", made.drawn(0, prototypes=(3, 64)), kind="nearest", sharpness=0.25)
    with pytest.raises(HeadError, match="Input should be 'linear'"):
        read_head("near", path)
    monkeypatch.setattr(kinds, "KINDS", {**kinds.KINDS, "nearest": Nearest})
    head, source = read_head("near", path), exported(VIT)
    check_heads([head], VIT, SMALL)
    with pytest.raises(HeadError, match="made for features 64 wide; this model's are 48"):
        check_heads([head], CONVNEXT, SMALL)
    hub = attach(source.graph, [head])
    (named,) = (node.name for node in hub.graph if node.op_type == "ReduceSum")
    assert named == "heads.near.reducesum"
    registry.get("tensorrt").check_head(apart([head], feature_shapes(VIT, SMALL), SMALL)["near"], ("8.6", "11.4"))
    with torch.inference_mode():
        expected = CameraModelWithHeads(source.model(folded=False), [head])(torch.from_numpy(source.frames))["near"].numpy()
    np.testing.assert_allclose(features_of(open_session(hub), source.frames)["near"], expected, rtol=1e-4)
    path.with_suffix(".toml").write_text("sharpness = -1")
    with pytest.raises(HeadError, match="sharpness"):
        read_head("near", path)


def test_reports_know_every_kind() -> None:
    assert get_args(HeadFacts.model_fields["kind"].annotation) == (*kinds.KINDS, ONNX)


@pytest.mark.parametrize("size", [(4, 6), (1, 2), (8, 12), (32, 48)], ids=str)
def test_antialiased_resampling_is_torch_s(size: tuple[int, int]) -> None:
    """To an eighth and a half, with kernels that reach over every edge; as it is; and to a larger map."""
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 8, 12)).astype(np.float32))
    x = x if size != (1, 2) else torch.cat([x, x], dim=3)[:, :, :, :16]
    expected = functional.interpolate(x, size=size, mode="bilinear", antialias=True)
    torch.testing.assert_close(Antialiased()(x, size), expected, atol=1e-6, rtol=1e-5)


def test_an_odd_fraction_is_refused() -> None:
    with pytest.raises(ValueError, match="odd factor"):
        antialiasing(3, 4, 4)


def test_heads_that_are_exported_together_share_nothing(tmp_path: Path) -> None:
    """Not even equal constants: each can be taken out, and what is said of a node is said of its head."""
    heads = [made.segmentation(tmp_path, 64, name=name) for name in ("floor", "ground")]
    heads += [made.mlp(tmp_path, 64), made.linear(tmp_path, 64, features="mean")]
    hub = attach(exported(VIT).graph, heads)
    read = {
        head.name: {
            value.name
            for node in hub.graph
            if name_of(node).startswith(f"{HEADS}{head.name}.")
            for value in node.inputs
            if value is not None
        }
        for head in heads
    }
    for one, other in combinations(heads, 2):
        assert read[one.name] & read[other.name] <= {"cls", "patches"}
    for name, alone in apart(heads, feature_shapes(VIT, SMALL), SMALL).items():
        assert {name_of(node).split(".")[1] for node in alone.graph} == {name}
        assert [value.name for value in alone.graph.outputs] == [name]
        onnx.checker.check_model(ir.to_proto(alone), full_check=True)


def test_the_backbone_is_the_same_bytes_whatever_is_exported_with_it(tmp_path: Path) -> None:
    hub = exported(VIT).hub
    both = ir.to_proto(attach(exported(VIT).graph, [made.linear(tmp_path, 64), made.segmentation(tmp_path, 64)]))
    for field in ("node", "initializer"):
        own = [each for each in getattr(both.graph, field) if not each.name.startswith(HEADS)]
        assert own == list(getattr(hub.graph, field))


def test_what_is_linear_and_constant_is_folded_when_it_is_exported(tmp_path: Path) -> None:
    heads = [made.segmentation(tmp_path, 64), made.depth(tmp_path, (64,) * 4, (0, 1, 2, 3))]
    for head in heads:
        normed = [module for module in kinds.module_of(head, folded=False).modules() if isinstance(module, nn.BatchNorm2d)]
        assert normed
        assert not [module for module in kinds.module_of(head, folded=True).modules() if isinstance(module, nn.BatchNorm2d)]
    source = exported(replace(VIT, depth=4), layers=(0, 1, 2, 3))
    assert not [node for node in attach(source.graph, heads).graph if node.op_type == "BatchNormalization"]
