"""Whole MLPs in fp16 where their second product is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgec.graph.files import save
from edgec.graph.plan import PrecisionPlan
from edgec.lowering.tensorrt import TensorRt
from edgec.lowering.tensorrt.compiler import machines
from edgec.lowering.tensorrt.compiler.compiling import compile_graph
from edgec.lowering.tensorrt.mlps import with_whole_mlps
from edgec.lowering.tensorrt.writing import typed_model
from tests.lowering.cases import plan_of
from tests.support.models import CONVNEXT, SWIGLU, VIT, Spec, exported

installed = pytest.mark.skipif(
    not machines.availability().available, reason="NVIDIA's compiler is not installed: there is no wheel for this platform"
)


def without(spec: Spec, *kept: str) -> PrecisionPlan:
    """int8 but for these products, which are fp16."""
    plan = plan_of(TensorRt(), "int8", exported(spec), rest="fp16", activations="s8")
    assert set(kept) <= set(plan.operations)
    return replace(plan, operations={name: each for name, each in plan.operations.items() if name not in kept})


@pytest.mark.parametrize(
    ("spec", "last", "first"),
    [
        (VIT, "blocks.1.mlp.fc2", {"blocks.1.mlp.fc1"}),
        (SWIGLU, "blocks.1.mlp.down", set[str]()),
        (CONVNEXT, "stages.3.blocks.0.fc2", set[str]()),  # few pixels, many weights
    ],
    ids=["vit", "swiglu", "convnext"],
)
def test_the_first_product_of_an_mlp_follows_the_second_where_that_saves_bytes(spec: Spec, last: str, first: set[str]) -> None:
    plan, hub = without(spec, last), exported(spec).graph
    whole = with_whole_mlps(hub, plan)
    assert {name for name in plan.operations if whole.precision_of(name) == "fp16"} == first
    assert TensorRt().fitted(hub, plan, {}) == whole


@pytest.mark.parametrize("kept", [(), ("blocks.1.attn.proj",), ("blocks.1.mlp.fc1",), ("blocks.1.attn.q",)])
def test_nothing_else_follows(kept: tuple[str, ...]) -> None:
    plan = without(VIT, *kept)
    assert with_whole_mlps(exported(VIT).graph, plan) is plan


def test_an_mlp_whose_second_product_is_float32_is_left_alone() -> None:
    plan = without(VIT).with_float32(["blocks.1.mlp.fc2"])
    assert with_whole_mlps(exported(VIT).graph, plan) is plan


@installed
def test_the_compiler_needs_a_kernel_less_and_fewer_bytes(tmp_path: Path) -> None:
    hub, plan = exported(VIT).graph, without(VIT, "blocks.1.mlp.fc2")
    summaries = []
    for each in (plan, with_whole_mlps(hub, plan)):
        save(typed_model(hub, each, folded=True)[0], tmp_path / "graph.onnx")
        summaries.append(compile_graph(tmp_path / "graph.onnx", "86").summary)
    before, after = summaries
    assert after.kernels == before.kernels - 1
    assert after.moved_bytes < before.moved_bytes
