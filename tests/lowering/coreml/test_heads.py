"""Heads in Core ML packages: what a saved package computes, beside the merged graph in ONNX Runtime."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from edgec.errors import ExportError
from edgec.fidelity.trace import first_difference as first_changed
from edgec.graph.operations import operations as hub_operations
from edgec.graph.peaks import observe_peaks
from edgec.graph.plan import PrecisionPlan
from edgec.graph.session import features_of, open_session
from edgec.heads import Head, read_head
from edgec.heads.attach import attach
from edgec.lowering.base import LoweredModel
from edgec.lowering.coreml import CoreMl
from edgec.lowering.coreml.evaluator import load
from edgec.lowering.coreml.evaluator.compare import first_difference
from edgec.lowering.coreml.evaluator.tracing import trace
from edgec.model.spec import Size, Spec
from edgec.precision.static import int8_activations, uniform
from tests.lowering.coreml.evaluator.tampering import change_weight, edited
from tests.lowering.coreml.packages import element_type, kinds, lower, named, operations, specification
from tests.support import heads as made
from tests.support.frames import pictures
from tests.support.models import CONVNEXT, VIT, Exported, exported
from tests.support.onnx_graphs import replace_constant
from tests.support.plans import observed_ranges, plain_int8

pytest.importorskip("coremltools")

SIZE = Size(96, 160)
BOTH = (0, 1)
FOUR = (0, 1, 2, 3)
LIMITS = {"fp32": (1e-3, 0.999), "fp16": (0.02, 0.99), "w8": (0.1, 0.97), "int8": (0.2, 0.9)}
"""How far an output may be from float32's, as a share of its length, and the share of labels that must agree: these are small
models with weights that nobody trained."""


def merged(source: Exported, heads: Sequence[Head], **asked: bool) -> ir.Model:
    return attach(source.graph, heads, **asked)


@dataclass(frozen=True)
class Robot:
    """A model with a head of every kind."""

    spec: Spec
    folder: Path

    @property
    def source(self) -> Exported:
        return exported(self.spec, SIZE, layers=FOUR if self.spec is CONVNEXT else BOTH)

    @cached_property
    def heads(self) -> list[Head]:
        width = self.spec.features
        maps, layers = (self.spec.widths, FOUR) if self.spec is CONVNEXT else ((width,) * 4, (0, 1, 0, 1))
        actual = [
            made.linear(self.folder, width),
            made.segmentation(self.folder, width),
            made.segmentation(self.folder, width, name="maps", output="logits"),
            made.mlp(self.folder, width),
            made.mlp(self.folder, width, name="plain", activation="relu"),
            read_head("scene", made.pooled_onnx(self.folder / "scene.onnx", width)),
        ]
        if self.spec is CONVNEXT:
            ways: dict[str, dict[str, Any]] = {
                "depth": {},
                "soft": {"weighting": "softmax", "bins": "log"},
                "gated": {"weighting": "sigmoid"},
                "single": {"bins_count": 1},
            }
            actual += [made.depth(self.folder, maps, layers, name=name, **said) for name, said in ways.items()]
        return actual

    @cached_property
    def hub(self) -> ir.Model:
        return merged(self.source, self.heads)

    @cached_property
    def expected(self) -> dict[str, NDArray[Any]]:
        return features_of(open_session(self.hub), self.source.frames)

    def plan(self, precision: str) -> PrecisionPlan:
        frames = list(pictures(SIZE, 4))
        if precision == "int8":
            ranges = observed_ranges(self.hub, int8_activations(self.hub), frames, 1)
            plan = plain_int8(self.hub, ranges, kinds=CoreMl.int8_kinds, rest="fp16", activations="s8")
        else:
            plan = uniform(precision)  # type: ignore[arg-type]
        return CoreMl().fitted(self.hub, plan, observe_peaks(self.hub, frames, 1))


@pytest.fixture(scope="module")
def robots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Robot]:
    return {name: Robot(spec, tmp_path_factory.mktemp(name)) for name, spec in (("vit", VIT), ("convnext", CONVNEXT))}


def check(found: dict[str, NDArray[Any]], expected: dict[str, NDArray[Any]], precision: str) -> None:
    error, agreement = LIMITS[precision]
    assert list(found) == list(expected)
    for name, wanted in expected.items():
        value = found[name]
        assert value.shape == wanted.shape, name
        assert value.dtype == (np.int32 if wanted.dtype.kind == "i" else np.float32), name
        if wanted.dtype.kind == "i":
            assert len(np.unique(wanted)) > 1
            assert (value == wanted).mean() >= agreement, name
        else:
            assert np.linalg.norm(value - wanted) <= error * np.linalg.norm(wanted), name


@pytest.mark.parametrize("precision", list(LIMITS))
@pytest.mark.parametrize("name", ["vit", "convnext"])
def test_a_saved_package_decides_as_the_merged_graph(name: str, precision: str, robots: dict[str, Robot], tmp_path: Path) -> None:
    robot = robots[name]
    plan = robot.plan(precision)
    model = lower(robot.hub, plan, tmp_path)
    frames = robot.source.frames
    runner = CoreMl().load(model)
    check(runner(frames), robot.expected, precision)
    assert runner.first_difference(robot.hub, plan, frames) is None  # type: ignore[attr-defined]


def test_labels_are_whole_numbers_and_all_else_float32(robots: dict[str, Robot], tmp_path: Path) -> None:
    robot = robots["convnext"]
    model = lower(robot.hub, robot.plan("w8"), tmp_path)
    types = {feature.name: feature.type.multiArrayType.dataType for feature in specification(model).description.output}
    assert list(types) == [output.name for output in robot.hub.graph.outputs]
    assert {name for name, kind in types.items() if kind == 131104} == {"floor"}  # INT32
    assert {kind for name, kind in types.items() if name != "floor"} == {65568}  # FLOAT32
    # Their weights are as they were, and their arithmetic fp16 but for the sum over a map.
    actual = kinds(model)
    stored = [entry for entry in hub_operations(robot.hub) if entry.kind in ("linear", "convolution")]
    assert actual.count("constexpr_blockwise_shift_scale") == len(stored)
    assert actual.count("reduce_argmax") == 1
    assert {"resize_bilinear", "conv_transpose", "relu", "softmax", "sigmoid", "real_div"} <= set(actual)
    wide = {each.outputs[0].name for each in operations(model) if element_type(each) == "FLOAT32" and each.type != "const"}
    assert {name for name in wide if name.startswith("heads_")} == {"heads_kind_reducemean"}


def test_without_features_a_package_gives_what_heads_say(robots: dict[str, Robot], tmp_path: Path) -> None:
    robot = robots["vit"]
    hub = merged(robot.source, [robot.heads[1]], features=False)
    actual = CoreMl().load(lower(hub, uniform("fp16"), tmp_path))(robot.source.frames)
    assert list(actual) == ["floor"]
    assert (actual["floor"] == robot.expected["floor"]).mean() > 0.99


def test_a_batch_has_labels_of_each_frame(robots: dict[str, Robot], tmp_path: Path) -> None:
    robot, source = robots["vit"], exported(VIT, SIZE, 2, layers=BOTH)
    hub = merged(source, robot.heads)
    actual = CoreMl().load(lower(hub, uniform("fp32"), tmp_path))(source.frames)
    check(actual, features_of(open_session(hub), source.frames), "fp32")
    assert actual["floor"].shape == (2, 96, 160)


def test_what_a_depth_head_sums_beyond_fp16_is_summed_in_float32(robots: dict[str, Robot], tmp_path: Path) -> None:
    robot = robots["convnext"]
    hub = robot.hub.clone()
    replace_constant(hub, "heads.depth.bins.weighed.weight", lambda centres: centres * np.float32(3e3))
    frames = robot.source.frames
    expected = features_of(open_session(hub), frames)["depth"]
    plain = CoreMl().load(lower(hub, uniform("fp16"), tmp_path / "plain"))(frames)["depth"]
    assert not np.isfinite(plain).all()
    fitted = CoreMl().fitted(hub, uniform("fp16"), observe_peaks(hub, list(frames), 1))
    model = lower(hub, fitted, tmp_path / "fitted")
    assert element_type(named(model, "heads_depth_bins_weighed")) == "FLOAT32"
    assert element_type(named(model, "heads_depth_conv_depth_head_2")) == "FLOAT16"
    actual = CoreMl().load(model)(frames)["depth"]
    assert np.linalg.norm(actual - expected) < 0.02 * np.linalg.norm(expected)


@pytest.mark.parametrize("name", ["i_1", "t_custom"])
def test_a_head_may_have_any_name_but_those_of_the_program(name: str, robots: dict[str, Robot], tmp_path: Path) -> None:
    """MIL has one space of names for operations, constants, inputs and outputs."""
    robot, source = robots["vit"], exported(VIT, SIZE, 2, layers=BOTH)
    model = lower(merged(source, [replace(robot.heads[0], name=name)]), uniform("fp16"), tmp_path / "fine")
    names = [output.name for each in operations(model) for output in each.outputs]
    assert len(set(names)) == len(names)
    assert names.count(name) == 1
    for taken in ("blocks_0_norm1", "frames_0"):
        with pytest.raises(ExportError, match=f"Two nodes are named {taken}") as caught:
            lower(merged(source, [replace(robot.heads[0], name=taken)]), uniform("fp16"), tmp_path / taken)
        assert "another name" in caught.value.remedy


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a transposed convolution's kernels": (
        lambda package: change_weight(
            package, "heads_depth_reassemble_blocks_resize_layers_0_weight", lambda weight: weight.swapaxes(-1, -2)
        ),
        "heads_depth_reassemble_blocks_resize_layers_0",
    ),
    "another sampling, wherever it is the same": (
        lambda package: resample(package, "heads_depth_conv_depth_head_1", "UNALIGN_CORNERS"),
        "heads_depth_fusion_blocks_0_upsample",
    ),
    "labels over another axis": (lambda package: turn_labels(package), "heads_floor_argmax"),
    "a class's weights": (
        lambda package: change_weight(package, "heads_floor_classes_weight", lambda weight: weight[::-1]),
        "heads_floor_classes_add",
    ),
}


def resample(package: Path, name: str, mode: str) -> None:
    with edited(package) as actual:
        constant = actual[actual[name].inputs["sampling_mode"].arguments[0].name]
        constant.attributes["val"].immediateValue.tensor.strings.values[0] = mode


def turn_labels(package: Path) -> None:
    """The smallest instead of the largest."""
    with edited(package) as actual:
        actual["heads_floor_argmax"].type = "reduce_argmin"


@pytest.fixture(scope="module")
def whole(robots: dict[str, Robot], tmp_path_factory: pytest.TempPathFactory) -> LoweredModel:
    return lower(robots["convnext"].hub, uniform("fp16"), tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named(damage: str, whole: LoweredModel, robots: dict[str, Robot], tmp_path: Path) -> None:
    change, name = DAMAGES[damage]
    frames = robots["convnext"].source.frames
    before = (whole.directory / whole.entry).parent
    package = Path(shutil.copytree(before, tmp_path / "damaged.mlpackage"))
    change(package)
    differs = first_difference(load(package), robots["convnext"].hub, frames)
    assert differs is not None
    assert differs.operation == name
    changed = first_changed(trace(load(before), frames), trace(load(package), frames))
    assert changed is not None
    assert changed.name == name


def test_labels_that_a_few_pixels_share_are_no_damage(whole: LoweredModel, robots: dict[str, Robot]) -> None:
    """Where two classes are all but equal, another order of summing may choose another."""
    frames = robots["convnext"].source.frames
    recorded = trace(load((whole.directory / whole.entry).parent), frames)
    place = next(index for index, entry in enumerate(recorded.operations) if entry.name == "heads_floor_argmax")
    best = recorded.operations[place]
    assert sum(best.sizes) == pytest.approx(4 * 96 * 160)

    def moved(pixels: int) -> Any:
        values = (best.values[0] + pixels, *best.values[1:])
        entries = list(recorded.operations)
        entries[place] = best.model_copy(update={"values": values})
        return first_changed(recorded, recorded.model_copy(update={"operations": tuple(entries)}))

    assert moved(1) is None
    assert moved(200) is not None
