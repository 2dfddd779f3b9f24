"""What conversion gets wrong: each damage is planted in a saved package, and the first operation that differs is named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgec.artefact.operations import require_faithful
from edgec.errors import FidelityError, RuntimeFailure
from edgec.fidelity.trace import Trace, first_difference
from edgec.graph.passes.base import rewritten
from edgec.graph.passes.smooth import Smooth, groups
from edgec.graph.plan import PrecisionPlan
from edgec.graph.values import input_of, shape_of
from edgec.lowering.base import LoweredModel
from edgec.lowering.coreml import CoreMl
from edgec.lowering.coreml.evaluator import compare, load
from edgec.lowering.coreml.evaluator.compare import first_difference as first_from_hub
from edgec.lowering.coreml.evaluator.tracing import trace
from edgec.model.spec import Size
from edgec.precision.static import int8_activations, uniform
from tests.lowering.coreml.packages import lower
from tests.support.models import CONVNEXT, HEADS, Exported, exported
from tests.support.plans import observed_ranges, plain_int8

from .tampering import change_number, change_weight, edited, rebind, swap_inputs

PRECISIONS = ("fp16", "w8", "w4")


@dataclass
class Built:
    source: Exported
    model: LoweredModel
    recorded: Trace = field(init=False)

    def __post_init__(self) -> None:
        self.recorded = trace(load(self.package), self.source.frames)

    @property
    def package(self) -> Path:
        return (self.model.directory / self.model.entry).parent


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Built]:
    made: dict[tuple[str, str], Built] = {}

    def build(kind: str, precision: str) -> Built:
        if (kind, precision) not in made:
            # A square: a map whose axes are swapped has the same shape.
            source = exported(CONVNEXT, Size(64, 64)) if kind == "convnext" else exported(HEADS)
            folder = tmp_path_factory.mktemp("built")
            made[kind, precision] = Built(source, lower(source.graph, uniform(precision), folder))  # type: ignore[arg-type]
        return made[kind, precision]

    return build


def flip_weight(name: str) -> Callable[[Path], None]:
    """The sign of one weight of middling size."""

    def change(weight: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        flat = weight.reshape(-1)
        chosen = np.argsort(np.abs(flat))[int(0.9 * len(flat))]
        flat[chosen] = -flat[chosen]
        return weight

    return lambda package: change_weight(package, name, change)


def turn_kernel(name: str) -> Callable[[Path], None]:
    return lambda package: change_weight(package, name, lambda weight: weight.swapaxes(-1, -2))


def swapped(name: str, first: str, second: str) -> Callable[[Path], None]:
    return lambda package: swap_inputs(package, name, first, second)


def other_integers(name: str, parameter: str, *numbers: int) -> Callable[[Path], None]:
    def change(package: Path) -> None:
        with edited(package) as operations:
            rebind(operations[name], parameter, np.array(numbers, np.int32))

    return change


DAMAGES = {
    "weight of a linear layer": ("vit", "fp16", flip_weight("blocks_0_mlp_fc1_weight"), "blocks_0_mlp_fc1_add"),
    "weight in 8 bits": ("vit", "w8", flip_weight("blocks_0_attn_proj_weight"), "blocks_0_attn_proj_add"),
    "weight of the patch embedding": ("vit", "fp16", flip_weight("patch_embed_weight"), "patch_embed"),
    "turned patches": ("vit", "fp16", turn_kernel("patch_embed_weight"), "patch_embed"),
    "query for key": ("vit", "fp16", swapped("blocks_0_attn_mix", "query", "key"), "blocks_0_attn_mix"),
    "norm's gamma for beta": ("vit", "fp16", swapped("blocks_0_norm2", "gamma", "beta"), "blocks_0_norm2"),
    "wrong half of the rotation": ("vit", "fp16", other_integers("blocks_0_attn_slice", "begin", 0, 0, 5, 31), None),
    "epsilon of a norm": (
        "vit",
        "fp16",
        lambda package: change_number(package, "blocks_0_norm1", "epsilon", 6e4),
        "blocks_0_norm1",
    ),
    "rows for columns of a map": (
        "convnext",
        "fp16",
        other_integers("stages_0_blocks_0_transpose", "perm", 0, 3, 2, 1),
        "stages_0_blocks_0_transpose",
    ),
    "turned depthwise kernel": (
        "convnext",
        "fp16",
        turn_kernel("stages_1_blocks_0_dwconv_weight"),
        "stages_1_blocks_0_dwconv",
    ),
    "one tap of a depthwise kernel": (
        "convnext",
        "fp16",
        flip_weight("stages_2_blocks_0_dwconv_weight"),
        "stages_2_blocks_0_dwconv",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named(damage: str, built: Callable[[str, str], Built], tmp_path: Path) -> None:
    kind, precision, change, name = DAMAGES[damage]
    whole = built(kind, precision)
    package = Path(shutil.copytree(whole.package, tmp_path / "damaged.mlpackage"))
    change(package)
    program = load(package)
    if name is None:
        # The program contradicts the shapes that it declares.
        with pytest.raises(RuntimeFailure, match=r"blocks_0_attn_slice \(slice_by_index\)"):
            program.run(whole.source.frames)
        return
    changed = first_difference(whole.recorded, trace(program, whole.source.frames))
    assert changed is not None
    assert changed.name == name
    differs = first_from_hub(program, whole.source.graph, whole.source.frames)
    assert differs is not None
    assert differs.operation == name


@pytest.mark.parametrize("kind", ["vit", "convnext"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_sound_package_differs_nowhere(kind: str, precision: str, built: Callable[[str, str], Built]) -> None:
    whole = built(kind, precision)
    program = load(whole.package)
    assert first_from_hub(program, whole.source.graph, whole.source.frames) is None
    again = Trace.model_validate_json(whole.recorded.model_dump_json())
    assert first_difference(again, trace(program, whole.source.frames)) is None


def smoothed(source: Exported) -> PrecisionPlan:
    """int8 as a search may make it: every activation that can be is smoothed, whatever divides it."""
    hub = source.graph
    random = np.random.default_rng(0)
    scales: dict[str, tuple[float, ...]] = {}
    for group in groups(hub):
        shape = shape_of(input_of(group.readers[0].node))
        assert shape is not None
        channels = shape[-1] if group.readers[0].kind == "linear" else shape[1]
        scales[group.activation] = tuple(random.uniform(0.5, 2, channels).tolist())
    assert {group.kind for group in groups(hub)} == {"norm", "product", "inserted"}
    ranges = observed_ranges(rewritten(hub, Smooth(scales)), int8_activations(hub), list(source.frames), 1)
    plan = plain_int8(hub, ranges, kinds=CoreMl.int8_kinds, rest="fp16", activations="s8")
    corrected = {name: tuple(random.normal(0, 0.02, 128)) for name in ("blocks.0.attn.q", "blocks.0.attn.proj")}
    return replace(plan, smoothing=scales, corrections=corrected)


def test_a_build_compares_what_it_wrote_with_the_hub_graph(tmp_path: Path) -> None:
    """By the plan that it was written by, and with room for what trained weights lose in few bits."""
    source = exported(HEADS)
    plan, frames = smoothed(source), source.frames
    model = lower(source.graph, plan, tmp_path / "whole")
    runner = CoreMl().load(model)
    require_faithful(runner, lambda: source.graph, plan, frames, 1)
    package = (model.directory / model.entry).parent
    turn_kernel("patch_embed_weight")(package)
    with pytest.raises(FidelityError) as caught:
        require_faithful(CoreMl().load(model), lambda: source.graph, plan, frames, 1)
    assert "patch_embed (patch_embed, conv): differs from the hub graph by" in caught.value.evidence[0]


def test_the_hub_graph_is_compared_in_parts_that_memory_holds(
    built: Callable[[str, str], Built], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = built("vit", "fp16")
    package = Path(shutil.copytree(whole.package, tmp_path / "damaged.mlpackage"))
    swap_inputs(package, "blocks_0_norm2", "gamma", "beta")
    monkeypatch.setattr(compare, "MOST", 2**16)
    assert first_from_hub(load(whole.package), whole.source.graph, whole.source.frames) is None
    differs = first_from_hub(load(package), whole.source.graph, whole.source.frames)
    assert differs is not None
    assert differs.operation == "blocks_0_norm2"


def test_an_operation_that_is_gone_is_noticed(built: Callable[[str, str], Built]) -> None:
    recorded = built("vit", "fp16").recorded
    fewer = recorded.model_copy(update={"operations": recorded.operations[:-1]})
    changed = first_difference(recorded, fewer)
    assert changed is not None
    assert changed.missing
    assert changed.name == recorded.operations[-1].name
