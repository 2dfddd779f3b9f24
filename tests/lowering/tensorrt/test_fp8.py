"""fp8 (E4M3): arithmetic as ONNX defines it, attention's products in it, and NVIDIA's compiler on the graphs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgec.fidelity.metrics import worst
from edgec.graph.files import save
from edgec.graph.numbers import E4M3, quantise_static, quantise_weight
from edgec.graph.operations import operations
from edgec.graph.passes.base import rewritten
from edgec.graph.passes.quantise import activation_parameters
from edgec.graph.peaks import observe_peaks
from edgec.graph.plan import PrecisionPlan, Range
from edgec.graph.session import open_session
from edgec.graph.statistics import observe
from edgec.graph.values import array_of, input_of, shape_of
from edgec.graph.work import count_work
from edgec.lowering.tensorrt import TensorRt
from edgec.lowering.tensorrt.attention import with_attention
from edgec.lowering.tensorrt.compiler import machines
from edgec.lowering.tensorrt.compiler.compiling import compile_graph
from edgec.lowering.tensorrt.scales import MOST
from edgec.lowering.tensorrt.simulation import RoundHalves, product_types
from edgec.lowering.tensorrt.typed import reads_bytes
from edgec.lowering.tensorrt.writing import typed_model
from edgec.model.spec import Size
from edgec.precision.planning import Planner
from edgec.precision.recipes import STATIC, Recipe
from edgec.precision.static import int8_activations
from edgec.records.fidelity import StageFidelity
from tests.lowering.cases import judge
from tests.support.frames import pictures
from tests.support.models import HEADS, VIT, Exported, exported

installed = pytest.mark.skipif(
    not machines.availability().available, reason="NVIDIA's compiler is not installed: there is no wheel for this platform"
)
F8 = ir.DataType.FLOAT8E4M3FN


def planned(made: Exported, recipe: Recipe = STATIC) -> PrecisionPlan:
    """As a build for a board makes it."""
    hub, frames, lowering = made.graph, pictures(made.size, 8), TensorRt()
    planner = Planner(hub, observe(hub, int8_activations(hub), frames, 1), activations="fp8")
    plan = planner.plan(recipe, kinds=lowering.int8_kinds, rest="fp16")
    return lowering.fitted(hub, plan, observe_peaks(hub, frames, 1))


@pytest.fixture(scope="module")
def vit() -> Exported:
    return exported(VIT)


@pytest.fixture(scope="module")
def plan(vit: Exported) -> PrecisionPlan:
    return planned(vit)


@pytest.fixture(scope="module")
def typed(vit: Exported, plan: PrecisionPlan) -> ir.Model:
    return typed_model(vit.graph, plan, folded=True)[0]


def test_values_are_rounded_as_onnx_rounds_them() -> None:
    """Small numbers, ties, the largest, and what is beyond it."""
    seen = Range(-3.0, 5.0)
    scale, zero = activation_parameters(seen, "fp8")
    values = np.concatenate([np.linspace(-9, 9, 4001), np.geomspace(1e-7, 5, 4000)]).astype(np.float32)
    nodes = [
        onnx.helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        onnx.helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [len(values)]) for name in "xy"]
    constants = [
        onnx.numpy_helper.from_array(np.asarray(scale), "scale"),
        onnx.helper.make_tensor("zero", onnx.TensorProto.FLOAT8E4M3FN, [], np.asarray(zero).tobytes(), raw=True),
    ]
    graph = onnx.helper.make_graph(nodes, "round", ends[:1], ends[1:], constants)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)], ir_version=9)
    (expected,) = open_session(ir.from_proto(model), optimise=False).run(None, {"x": values})
    np.testing.assert_array_equal(quantise_static(values, seen, "fp8"), expected)
    assert np.abs(expected).max() == np.float32(5.0)


def test_a_weight_keeps_its_largest_and_three_bits_of_mantissa() -> None:
    weight = np.random.default_rng(0).standard_normal((64, 8)).astype(np.float32)
    rounded = quantise_weight(weight, activations="fp8")
    largest = np.abs(weight).argmax(axis=0)
    np.testing.assert_allclose(rounded[largest, range(8)], weight[largest, range(8)], rtol=1e-6)
    error = np.abs(rounded - weight) / np.maximum(np.abs(weight), np.abs(weight).max(axis=0) / 448 * 2**-6)
    assert error.max() <= 2**-4 * 1.001
    assert E4M3.itemsize == 1


def test_every_product_with_a_weight_and_attention_s_own_are_in_fp8(vit: Exported, plan: PrecisionPlan, typed: ir.Model) -> None:
    kinds = {operation.name: operation.kind for operation in operations(vit.graph)}
    assert {kinds[name] for name in plan.of("fp8")} == {"linear", "attention"}
    assert plan.quantised
    onnx.checker.check_model(ir.to_proto(typed), full_check=True)
    assert product_types(typed) == {"fp8": 16, "fp16": 1}, "2 blocks of 6 products and 2 of attention, and the patch embedding"
    macs = {name: sum(each.macs for each in operations(vit.graph) if (each.name in plan.operations) == (name == "fp8"))
            for name in ("fp8", "fp16")}  # fmt: skip
    assert count_work(typed).macs == macs
    for node in typed.graph:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = input_of(node, 2)
            assert zero.dtype == F8


def test_an_attention_before_a_projection_in_fp16_stays_in_fp16(vit: Exported) -> None:
    """Else the compiler would take it apart: what it gives is not quantised."""
    plan = planned(vit, Recipe("but-one", unquantised=frozenset({"blocks.1.attn.proj"})))
    attention = {name for name in plan.of("fp8") if name.endswith(("scores", "mix"))}
    assert attention == {"blocks.0.attn.scores", "blocks.0.attn.mix"}


def test_an_attention_that_could_overflow_fp16_stays_in_float32(vit: Exported, plan: PrecisionPlan) -> None:
    """Its bytes would hold the values, but the rotation in front of them is fp16."""
    names = ("blocks.0.attn.scores", "blocks.0.attn.mix")
    peaks = observe_peaks(vit.graph, pictures(vit.size, 2), 1)
    wide = with_attention(vit.graph, plan.with_float32(names), peaks)
    assert {wide.precision_of(name) for name in names} == {"fp32"}
    assert wide.precision_of("blocks.1.attn.scores") == "fp8"


def judged(made: Exported, typed: ir.Model) -> StageFidelity:
    session, names = open_session(rewritten(typed, RoundHalves()), optimise=False), ["cls", "patches"]
    return judge(made, lambda frames: dict(zip(names, session.run(names, {"frames": frames}), strict=True)))


def test_features_are_kept(vit: Exported, typed: ir.Model) -> None:
    """Weights are drawn, for which three bits of mantissa are few. Measured: .957; with a scale of another tensor, below .9."""
    assert worst(judged(vit, typed)) > 0.94


def test_a_softmax_in_int8_loses_more_than_all_other_products(vit: Exported, plan: PrecisionPlan) -> None:
    """The reason why attention's own products are bytes in fp8 alone; with more tokens than here it loses far more."""
    hub, frames = vit.graph, pictures(vit.size, 8)
    planner = Planner(hub, observe(hub, int8_activations(hub), frames, 1), activations="s8")
    int8 = planner.plan(kinds=("linear",), rest="fp16")
    in_int8 = with_attention(hub, int8, observe_peaks(hub, frames, 1))
    assert set(in_int8.of("int8")) == set(plan.of("fp8"))
    products, attention = (1 - worst(judged(vit, typed_model(hub, each, folded=True)[0])) for each in (int8, in_int8))
    assert attention > 2 * products


def test_no_sum_can_overflow_fp16(typed: ir.Model) -> None:
    """At worst every byte of an activation and of a weight is the largest there is."""
    products = [node for node in typed.graph if node.op_type == "MatMul" and reads_bytes(node) and reads_bytes(node, 1)]
    checked = 0
    for node in products:
        weight = node.predecessors()[1]
        if not input_of(weight).is_initializer():
            continue
        activation, scale = (float(array_of(input_of(node.predecessors()[index], 1))) for index in (0, 1))
        depth, _ = shape_of(input_of(node, 1)) or (0, 0)
        assert 448 * 448 * depth * activation * scale <= MOST
        checked += 1
    assert checked == 12


def test_fp8_needs_opset_19(vit: Exported, plan: PrecisionPlan, tmp_path: Path) -> None:
    """A lowering gives it that by itself."""
    model = TensorRt().lower(vit.graph, plan, tmp_path)
    assert model.entry == "fp8.onnx"
    stored = onnx.load(tmp_path / model.entry)
    assert [entry.version for entry in stored.opset_import] == [19]
    runner = TensorRt().load(model, threads=1)
    assert runner.execution_precision.startswith("fp8 16, fp16 1")


@installed
def test_the_compiler_takes_it_for_gpus_that_have_it(tmp_path: Path) -> None:
    made = exported(HEADS, Size(224, 224))
    save(typed_model(made.graph, planned(made), folded=True)[0], tmp_path / "fp8.onnx")
    refused = compile_graph(tmp_path / "fp8.onnx", "86").summary
    assert "fp8" in refused.refusal
    taken = compile_graph(tmp_path / "fp8.onnx", "120").summary
    assert taken.refusal == ""
    assert taken.attentions == taken.attentions_fused == 1
    assert taken.products == {"fp16": 1, "fp8": 8}
