"""One backbone with a head of every kind, outliers planted in its weights, as every runtime and precision computes it: beside the
same graph in float32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgec.graph.export import export
from edgec.graph.files import serialised
from edgec.graph.operations import HEADS, operations
from edgec.graph.passes.base import rewritten
from edgec.graph.passes.outputs import GiveOnly
from edgec.graph.plan import Precision, PrecisionPlan
from edgec.graph.session import features_of, open_session
from edgec.graph.statistics import Statistics, observe
from edgec.heads import Head, read_head
from edgec.heads.attach import attach
from edgec.lowering import registry
from edgec.lowering.base import Lowering
from edgec.model.camera import assemble
from edgec.model.spec import ConvNextSpec
from edgec.onboard.vectorised import cosines
from edgec.precision.planning import Planner
from edgec.precision.recipes import rule_recipes, tail_recipe
from edgec.precision.static import INT8_KINDS, int8_activations, uniform
from tests.support import heads as made
from tests.support.frames import pictures
from tests.support.models import CONVNEXT, SMALL, VIT, Spec
from tests.support.outliers import outlier_checkpoint

DEEP = replace(VIT, depth=4)
SPECS: dict[str, Spec] = {"vit": DEEP, "convnext": CONVNEXT}
LAYERS = (0, 1, 2, 3)
FRAMES, JUDGED = 8, 2
FLOORS = {"fp32": (0.999, 1 - 1e-6), "fp16": (0.99, 0.999), "bf16": (0.95, 0.98), "int8": (0.92, 0.96)}
"""By precision: the least share of labels that are float32's, and the least cosine of a frame's output. A wrong axis, scale or
interpolation is below a half of the one, and far below the other."""
CANDIDATES = [
    *(("openvino", precision, "fp32") for precision in ("fp32", "bf16", "static", "mixed")),
    ("openvino", "mixed", "bf16"),
    *(("onnxruntime", precision, "fp32") for precision in ("fp32", "static")),
    *(("tensorrt", precision, "fp16") for precision in ("fp32", "fp16", "static")),
]
CONVNEXT_CANDIDATES = [
    *(("openvino", precision, rest) for precision, rest in (("fp32", "fp32"), ("mixed", "bf16"))),
    ("onnxruntime", "static", "fp32"),
    *(("tensorrt", precision, "fp16") for precision in ("fp16", "static")),
]
Outputs = Mapping[str, NDArray[Any]]


def copying_onnx(path: Path, width: int) -> Path:
    """It hands over what it reads, and something made of it: in runtimes one tensor with several names."""
    kinds = {"patches": ["n", "h", "w", width], "cls": ["n", width]}
    nodes = [helper.make_node("Identity", ["patches"], ["same"]), helper.make_node("Relu", ["cls"], ["positive"])]
    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in zip(names, kinds.values(), strict=True)]
        for names in (kinds, ("same", "positive"))
    )
    model = helper.make_model(
        helper.make_graph(nodes, "copy", inputs, outputs), opset_imports=[helper.make_opsetid("", 18)], ir_version=9
    )
    onnx.save(model, path)
    return path


def all_heads(folder: Path, widths: tuple[int, ...]) -> tuple[Head, ...]:
    width = widths[-1]
    return (
        made.linear(folder, width),
        made.segmentation(folder, width),
        made.segmentation(folder, width, name="parts", output="logits"),
        made.mlp(folder, width),
        made.depth(folder, widths, LAYERS),
        read_head("scene", made.pooled_onnx(folder / "scene.onnx", width)),
        read_head("copy", copying_onnx(folder / "copy.onnx", width)),
    )


def read(content: bytes) -> ir.Model:
    return ir.from_proto(onnx.ModelProto.FromString(content))


@dataclass(frozen=True)
class Merged:
    """Made once for the whole session."""

    spec: Spec
    folder: Path

    @cached_property
    def backbone(self) -> bytes:
        """With every layer among its outputs."""
        model = assemble(outlier_checkpoint(self.spec), SMALL, folded=True, layers=LAYERS)
        return serialised(export(model, self.spec, SMALL, 1))

    @cached_property
    def content(self) -> bytes:
        widths = self.spec.widths if isinstance(self.spec, ConvNextSpec) else (self.spec.width,) * 4
        return serialised(attach(read(self.backbone), all_heads(self.folder, widths)))

    @property
    def hub(self) -> ir.Model:
        return read(self.content)

    @cached_property
    def statistics(self) -> dict[str, Statistics]:
        return observe(self.hub, int8_activations(self.hub), self.frames[:-JUDGED], 1)

    @cached_property
    def frames(self) -> NDArray[np.uint8]:
        return pictures(SMALL, FRAMES)

    @cached_property
    def exact(self) -> list[Outputs]:
        session = open_session(self.hub)
        return [features_of(session, frame[None]) for frame in self.frames[-JUDGED:]]

    @cache  # noqa: B019 - there are two of these
    def planner(self, activations: str) -> Planner:
        return Planner(self.hub, self.statistics, activations=activations)  # type: ignore[arg-type]

    def plan(self, lowering: Lowering, precision: str, rest: Precision) -> PrecisionPlan:
        if precision in FLOORS:
            return uniform(precision)  # type: ignore[arg-type]
        recipes = {recipe.variant: recipe for recipe in rule_recipes(self.hub, per_token=True)}
        recipe = tail_recipe(self.hub) if precision == "but-last" else recipes[precision]
        planner = self.planner("s8" if lowering.name == "tensorrt" else "u8")
        return planner.plan(recipe, kinds=lowering.int8_kinds, rest=rest)


@pytest.fixture(scope="session")
def merged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Merged]:
    return {kind: Merged(spec, tmp_path_factory.mktemp(kind)) for kind, spec in SPECS.items()}


def require_kept(expected: list[Outputs], actual: list[Outputs], precision: str) -> None:
    labels, cosine = FLOORS.get(precision, FLOORS["int8"])
    for wanted, found in zip(expected, actual, strict=True):
        assert list(found) == list(wanted)
        for name, value in wanted.items():
            assert found[name].shape == value.shape, name
            assert found[name].dtype == value.dtype == (np.int32 if name == "floor" else np.float32), name
            if name == "floor":
                assert np.mean(found[name] == value) >= labels, name
            else:
                assert cosines(value.ravel(), found[name].ravel()) >= cosine, name


@pytest.mark.parametrize(
    ("kind", "runtime", "precision", "rest"),
    [*(("vit", *candidate) for candidate in CANDIDATES), *(("convnext", *candidate) for candidate in CONVNEXT_CANDIDATES)],
)
def test_every_candidate_gives_what_float32_does(
    merged: dict[str, Merged], tmp_path: Path, kind: str, runtime: str, precision: str, rest: Precision
) -> None:
    whole, lowering = merged[kind], registry.get(runtime)
    plan = whole.plan(lowering, precision, rest)
    assert not [name for name in plan.operations if name.startswith(HEADS)]
    runner = lowering.load(lowering.lower(whole.hub, plan, tmp_path))
    require_kept(whole.exact, [runner(frame[None]) for frame in whole.frames[-JUDGED:]], precision)


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime", "tensorrt"])
def test_without_features_the_same_plan_gives_the_same(merged: dict[str, Merged], tmp_path: Path, runtime: str) -> None:
    """Plans are made for the graph with all outputs; of this one the last two blocks are gone."""
    whole, lowering = merged["vit"], registry.get(runtime)
    plan = whole.plan(lowering, "static", "fp32")
    width = DEEP.width
    heads = (made.segmentation(whole.folder, 2 * width, name="early", layers=(0, 1)),)
    hub = attach(read(whole.backbone), heads)
    alone = rewritten(hub, GiveOnly(["early"]))
    assert {entry.name for entry in operations(hub)} - {entry.name for entry in operations(alone)} > {"blocks.3.mlp.fc2"}
    actual = []
    for name, model in (("whole", hub), ("alone", alone)):
        (tmp_path / name).mkdir()
        actual.append(lowering.load(lowering.lower(model, plan, tmp_path / name))(whole.frames[:1]))
    assert list(actual[1]) == ["early"]
    assert np.mean(actual[0]["early"] == actual[1]["early"]) > 0.999
    assert len(np.unique(actual[1]["early"])) > 1


def test_the_backbone_is_planned_as_if_there_were_no_heads(merged: dict[str, Merged]) -> None:
    """Ranges, smoothing, rounded weights, corrected biases, and which products leave int8."""
    for whole in merged.values():
        backbone = read(whole.backbone)
        plain = Planner(backbone, observe(backbone, int8_activations(backbone), whole.frames[:-JUDGED], 1))
        assert tail_recipe(whole.hub) == tail_recipe(backbone)
        assert rule_recipes(whole.hub, per_token=True) == rule_recipes(backbone, per_token=True)
        recipe = rule_recipes(backbone, per_token=True)[1]
        ours, theirs = (each.plan(recipe, kinds=INT8_KINDS, rest="fp32") for each in (whole.planner("u8"), plain))
        assert ours.operations == theirs.operations
        assert ours.weights == theirs.weights
        for name, scale in theirs.smoothing.items():
            np.testing.assert_array_equal(ours.smoothing[name], scale)
