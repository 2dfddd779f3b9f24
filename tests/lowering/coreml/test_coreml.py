"""Core ML keeps the contract of every lowering, as far as a saved package can be run here; and what its packages hold."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper

from edgec.errors import TargetError, UnsupportedOperation
from edgec.graph.operations import operations as hub_operations
from edgec.graph.passes.base import rewritten
from edgec.graph.passes.outputs import GiveOnly
from edgec.graph.passes.quantise import quantised_weight
from edgec.graph.peaks import observe_peaks
from edgec.graph.plan import Range
from edgec.graph.session import features_of, open_session
from edgec.graph.values import input_of, name_of
from edgec.host.cores import usable_cores
from edgec.lowering.base import Label, LoweredModel, Lowering
from edgec.lowering.coreml import CoreMl
from edgec.lowering.coreml.evaluator import load
from edgec.lowering.coreml.sdk import quiet
from edgec.lowering.coreml.types import mil_name, norm_scale, with_headroom
from edgec.lowering.halves import HEADROOM, LIMIT
from edgec.model.spec import VitSpec
from edgec.precision.static import uniform
from edgec.records.evidence import Evidence
from tests.lowering.cases import Case, plan_of
from tests.lowering.conformance import LoweringConformance
from tests.lowering.coreml.packages import element_type, kinds, lower, named, operations, specification
from tests.support.models import SPECS, VIT, exported
from tests.support.onnx_graphs import replace_constant

pytest.importorskip("coremltools")


class TestCoreMl(LoweringConformance):
    name = "coreml"
    modules = ("coremltools",)

    @pytest.fixture
    def lowering(self) -> Lowering:
        return CoreMl()

    def test_a_missing_runtime_is_reported_with_the_line_that_installs_it(
        self, lowering: Lowering, case: Callable[..., Case], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """It is missing for writing packages; running them takes nothing."""
        made = case("vit", "fp32")
        monkeypatch.setitem(sys.modules, "coremltools", None)
        state = lowering.availability()
        assert not state.available
        assert "pip install" in state.install
        with pytest.raises(TargetError) as caught:
            lowering.lower(made.made.graph, made.plan, tmp_path)
        assert caught.value.remedy == state.install
        assert lowering.runnable().available
        assert set(lowering.load(made.model)(made.made.frames)) == {"cls", "patches"}

    def test_threads_are_obeyed(self, case: Callable[..., Case], lowering: Lowering, tmp_path: Path) -> None:
        """Two are no faster, and numpy takes its own number where nothing can tell it."""
        expected = 1 if find_spec("threadpoolctl") else usable_cores()
        assert lowering.load(case("vit", "fp32").model, threads=2).threads == expected

    def test_results_are_marked_as_simulated(self, case: Callable[..., Case], lowering: Lowering) -> None:
        assert CoreMl.evidence is Evidence.SIMULATED
        assert lowering.load(case("vit", "w8").model).execution_precision == "w8; simulated on host"

    # --- the program

    def test_attention_is_one_operation_and_patterns_are_whole(self, case: Callable[..., Case]) -> None:
        vit, gated, convnext = (kinds(case(kind, "fp16").model) for kind in ("vit", "swiglu", "convnext"))
        blocks = len({entry.name.split(".")[1] for entry in hub_operations(exported(VIT).graph) if "blocks" in entry.name})
        assert vit.count("scaled_dot_product_attention") == gated.count("scaled_dot_product_attention") == blocks
        assert vit.count("gelu") == gated.count("silu") == blocks
        for actual in (vit, gated, convnext):
            assert not {"matmul", "softmax", "erf", "sigmoid"} & set(actual)
        assert "gelu" in convnext

    def test_operations_are_named_as_the_hub_graph_s_nodes(self, case: Callable[..., Case]) -> None:
        """And hold what those do: every tensor that both have is compared."""
        chosen = case("vit", "fp32")
        hub = chosen.made.graph
        nodes = {mil_name(name_of(node)): name_of(node.outputs[0]) for node in hub.graph}
        actual = {each.outputs[0].name for each in operations(chosen.model)}
        shared = sorted(actual & set(nodes))
        assert {"blocks_0_attn_mix", "blocks_1_mlp_mul_2", "blocks_0_norm1", "blocks_1_attn_q_add", "patch_embed"} <= set(shared)
        outputs = {output.name for output in hub.graph.outputs}
        watched = rewritten(hub, GiveOnly(sorted({nodes[name] for name in shared} - outputs)))
        expected = features_of(open_session(watched), chosen.made.frames)
        place = (chosen.model.directory / chosen.model.entry).parent
        values = load(place).run(chosen.made.frames, [name for name in shared if nodes[name] in expected])
        assert len(expected) > 40
        for name in shared:
            if nodes[name] in expected:
                wanted = expected[nodes[name]]
                assert np.abs(values[name] - wanted).max() <= 1e-4 * np.abs(wanted).max(), name

    def test_other_operations_are_refused_by_name(self, tmp_path: Path) -> None:
        hub = exported(VIT).hub
        sine = helper.make_node("Sinh", ["blocks.0.add"], ["blocks.0.add.sine"], name="blocks.0.sine")
        hub.graph.node.append(sine)
        with pytest.raises(UnsupportedOperation, match="no translation of Sinh") as caught:
            lower(ir.from_proto(hub), uniform("fp16"), tmp_path)
        assert "blocks.0.sine" in caught.value.evidence[0]
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("changed", "attribute", "message"),
        [
            ("patch_embed", helper.make_attribute("auto_pad", "SAME_UPPER"), "Conv with auto_pad"),
            ("blocks.0.norm1", helper.make_attribute("groups", 1), "LayerNormalization with groups"),
            ("blocks.0.attn.concat", helper.make_attribute("interleave", 1), "Concat with interleave"),
        ],
    )
    def test_other_attributes_are_refused_by_name(
        self, changed: str, attribute: onnx.AttributeProto, message: str, tmp_path: Path
    ) -> None:
        """They would be left out, and the program compute something else."""
        hub = exported(VIT).hub
        node = next(node for node in hub.graph.node if node.name == changed)
        kept = [each for each in node.attribute if each.name != attribute.name]
        del node.attribute[:]
        node.attribute.extend([*kept, attribute])
        with pytest.raises(UnsupportedOperation, match=message) as caught:
            lower(ir.from_proto(hub), uniform("fp16"), tmp_path)
        assert changed in str(caught.value)

    def test_operations_of_other_domains_are_refused(self, tmp_path: Path) -> None:
        hub = exported(VIT).hub
        next(node for node in hub.graph.node if node.op_type == "Slice").domain = "com.somebody"
        with pytest.raises(UnsupportedOperation, match=r"no translation of com\.somebody\.Slice"):
            lower(ir.from_proto(hub), uniform("fp16"), tmp_path)

    def test_input_is_an_image_and_a_batch_is_several(self, tmp_path: Path) -> None:
        made = exported(VIT, batch=2, registers=True, layers=(0, 1))
        model = lower(made.graph, uniform("fp16"), tmp_path)
        inputs = specification(model).description.input
        assert [feature.name for feature in inputs] == ["frames_0", "frames_1"]
        for feature in inputs:
            image = feature.type.imageType
            assert (image.height, image.width, image.colorSpace) == (64, 96, image.RGB)
        actual = CoreMl().load(model)(made.frames)
        for name, expected in made.expected.items():
            assert np.abs(actual[name] - expected).max() < 0.02 * np.abs(expected).max(), name

    def test_outputs_are_float32_under_their_names(self, case: Callable[..., Case]) -> None:
        for kind in ("vit", "convnext"):
            model = case(kind, "fp16").model
            outputs = specification(model).description.output
            assert [feature.name for feature in outputs] == ["cls", "patches"]
            assert {feature.type.multiArrayType.dataType for feature in outputs} == {65568}  # FLOAT32

    # --- types

    def test_fp16_is_fp16_but_for_the_frames_the_outputs_and_a_pooled_map(self, case: Callable[..., Case]) -> None:
        for kind, wide in (("vit", set()), ("convnext", {"reducemean"})):
            model = case(kind, "fp16").model
            halves = {each.outputs[0].name for each in operations(model) if element_type(each) == "FLOAT16"}
            others = {
                each.outputs[0].name
                for each in operations(model)
                if each.type not in ("const", "cast") and each.outputs[0].name not in halves
            }
            assert others == wide

    def test_norms_of_massive_activations_keep_their_squares_in_fp16(self, tmp_path: Path) -> None:
        """Of what a norm reads no square is beyond fp16, for the largest value that calibration lets pass."""
        model = lower(exported(VIT).graph, uniform("fp16"), tmp_path)
        norm = named(model, "blocks_0_norm1")
        scaled = named(model, norm.inputs["x"].arguments[0].name)
        assert (scaled.type, scaled.outputs[0].name) == ("mul", "blocks_0_norm1_scaled")
        factor = named(model, scaled.inputs["y"].arguments[0].name).attributes["val"].immediateValue.tensor.bytes.values
        largest = LIMIT / HEADROOM * float(np.frombuffer(factor, np.float16)[0])
        assert LIMIT / 2 < largest**2 < LIMIT

    @pytest.mark.parametrize("epsilon", [1e-5, 1e-6])
    @pytest.mark.parametrize("peak", [0.0, 0.3, 7.9, 8.1, 60.0, 127.0, 1000.0, LIMIT / HEADROOM])
    def test_a_norm_s_scale_fits_its_squares_and_its_epsilon(self, peak: float, epsilon: float) -> None:
        scale = norm_scale(Range(-peak, peak / 2), epsilon)
        assert scale == 2.0 ** round(np.log2(scale))
        headroom = HEADROOM if peak < 1023 else 1
        assert (headroom * peak * scale) ** 2 <= LIMIT
        held = float(np.float16(max(epsilon * scale**2, 2.0**-24))) / scale**2
        if peak < 8 * epsilon / 1e-5:
            assert epsilon * scale**2 >= np.finfo(np.float16).tiny
        if peak < 128 * (epsilon / 1e-5) ** 0.5:
            assert held == pytest.approx(epsilon, rel=0.2)
        # Of nothing known, what bears everything.
        assert scale >= norm_scale(None, epsilon)

    def test_tokens_of_nearly_equal_values_are_normed_as_in_float32(self, tmp_path: Path) -> None:
        """Their variance is that of the epsilon: with another one they come out larger or smaller."""
        made = exported(VIT)
        hub = made.graph
        for part in ("patch_embed.weight", "patch_embed.bias"):
            replace_constant(hub, part, lambda value: value * np.float32(3e-3))
        tensors = {"blocks.0.norm1", name_of(input_of(hub.graph.node("blocks.0.norm1")))}
        peaks = observe_peaks(hub, list(made.frames), 1)
        expected = features_of(open_session(rewritten(hub, GiveOnly(sorted(tensors)))), made.frames)
        read, wanted = (expected[name][:, 5:] for name in sorted(tensors, key=lambda name: name == "blocks.0.norm1"))
        assert read.var(axis=-1).min() < 1e-4
        errors = []
        for name, plan in (("blind", uniform("fp16")), ("seen", CoreMl().fitted(hub, uniform("fp16"), peaks))):
            model = lower(hub, plan, tmp_path / name)
            actual = load((model.directory / model.entry).parent).run(made.frames, ["blocks_0_norm1"])["blocks_0_norm1"][:, 5:]
            errors.append(float(np.linalg.norm(actual - wanted) / np.linalg.norm(wanted)))
        assert errors[0] > 0.05
        assert errors[1] < 2e-3

    def test_what_could_overflow_fp16_computes_in_float32(self, tmp_path: Path) -> None:
        made = exported(VIT)
        hub = made.graph
        for part in ("blocks.0.mlp.fc2.weight", "blocks.0.mlp.fc2.bias"):
            replace_constant(hub, part, lambda value: value * 3e4)
        lowering = CoreMl()
        plain = lowering.load(lower(hub, uniform("fp16"), tmp_path / "plain"))(made.frames)
        assert not np.isfinite(plain["patches"]).all()
        residual = ("blocks.0.mlp.fc2", "blocks.0.mlp.fc2.add", "blocks.0.add_2", "blocks.1.add", "blocks.1.add_2")
        crowded = dict.fromkeys(residual, 5e4)
        plan = with_headroom(hub, uniform("fp16"), crowded)
        kept = lower(hub, plan, tmp_path / "kept")
        assert element_type(named(kept, "blocks_0_mlp_fc2_add")) == element_type(named(kept, "blocks_0_add_2")) == "FLOAT32"
        assert element_type(named(kept, "blocks_0_mlp_fc1_add")) == "FLOAT16"
        exact = lowering.load(lower(hub, uniform("fp32"), tmp_path / "exact"))(made.frames)
        actual = lowering.load(kept)(made.frames)
        assert np.abs(actual["patches"] - exact["patches"]).max() < 0.02 * np.abs(exact["patches"]).max()

    # --- constants

    @pytest.mark.parametrize(
        ("precision", "kind"),
        [("w8", "constexpr_blockwise_shift_scale"), ("w6", "constexpr_lut_to_dense"), ("w4", "constexpr_lut_to_dense")],
    )
    def test_weights_of_products_are_stored_in_fewer_bits(self, case: Callable[..., Case], precision: str, kind: str) -> None:
        chosen = case("vit", precision)
        linear = [entry.name for entry in hub_operations(chosen.made.graph) if entry.kind == "linear"]
        assert kinds(chosen.model).count(kind) == len(linear)
        assert named(chosen.model, "patch_embed_weight").type == "const"

    def test_int8_holds_the_plan_s_own_integers(self, tmp_path: Path) -> None:
        made = exported(VIT)
        plan = plan_of(CoreMl(), "int8", made, rest="fp16", activations="s8")
        model = lower(made.graph, plan, tmp_path)
        actual = kinds(model)
        linear = [entry for entry in hub_operations(made.graph) if entry.kind == "linear"]
        assert actual.count("constexpr_blockwise_shift_scale") == len(linear)
        assert actual.count("quantize") == actual.count("dequantize") == len({entry.activation for entry in linear})
        product = named(model, "blocks_0_attn_q_add")
        assert named(model, product.inputs["x"].arguments[0].name).type == "dequantize"
        integers = np.ascontiguousarray(quantised_weight(linear[0], plan).integers.T)
        weights = next((tmp_path / name).read_bytes() for name in model.files if name.endswith("weight.bin"))
        assert integers.tobytes() in weights

    @pytest.mark.parametrize("precision", ["fp16", "w8", "w6", "w4"])
    def test_a_package_is_as_large_as_its_weights(self, tmp_path: Path, precision: str) -> None:
        """Of a model with a usual share of weights. The rest is the program, 8 KiB a block."""
        spec = VitSpec(width=384, depth=1, heads=6, mlp_width=1536)
        hub = exported(spec).graph
        model = lower(hub, uniform(precision), tmp_path)
        bits = 0
        products = {entry.weight for entry in hub_operations(hub) if entry.kind == "linear"}
        for name, tensor in hub.graph.initializers.tensor_items():
            if tensor.dtype == ir.DataType.FLOAT:
                width = {"fp16": 16, "w8": 8, "w6": 6, "w4": 4}[precision] if name in products else 16
                bits += width * tensor.size
        program = next((tmp_path / name).stat().st_size for name in model.files if name.endswith("model.mlmodel"))
        assert program < 16 * 1024
        assert abs((model.size_bytes - program) / (bits / 8) - 1) < 0.02

    # --- the package

    def test_identifiers_follow_from_the_content(self, case: Callable[..., Case]) -> None:
        def manifest(model: LoweredModel) -> dict[str, object]:
            return json.loads((model.directory / model.entry).read_text(encoding="utf-8"))  # type: ignore[no-any-return]

        one, other = (manifest(case("vit", precision).model) for precision in ("fp16", "w8"))
        assert one["rootModelIdentifier"] in one["itemInfoEntries"]  # type: ignore[operator]
        assert one["rootModelIdentifier"] != other["rootModelIdentifier"]

    def test_coremltools_opens_it(self, case: Callable[..., Case]) -> None:
        with quiet():
            import coremltools as ct

            model = case("vit", "w4").model
            opened = ct.models.MLModel(str((model.directory / model.entry).parent), skip_model_load=True)
        assert opened.get_spec().specificationVersion == 9

    def test_coremltools_reads_its_program(self, case: Callable[..., Case]) -> None:
        """Operations have no names of their own there: each has its result's."""
        with quiet():
            from coremltools.converters.mil.frontend.milproto.load import load as read_program

            model = case("vit", "w8").model
            weights = (model.directory / model.entry).parent / "Data" / "com.apple.CoreML" / "weights"
            actual = read_program(specification(model), specification_version=9, file_weights_dir=str(weights))
        written = [each.outputs[0].name for each in operations(model)]
        assert not any("name" in each.attributes for each in operations(model))
        assert set(written) <= {each.outputs[0].name for each in actual.functions["main"].operations}

    def test_a_label_is_written_and_changes_nothing_else(self, tmp_path: Path) -> None:
        made = exported(VIT)
        model = lower(made.graph, uniform("fp16"), tmp_path)
        before = CoreMl().load(model)(made.frames)
        weights = next(name for name in model.files if name.endswith("weight.bin"))
        digest = hashlib.sha256((tmp_path / weights).read_bytes()).hexdigest()
        label = Label("me", "Apache-2.0", "1.2", "features", "a frame", {"cls": "the token"}, {"edgec.build_key": "0" * 64})
        CoreMl().label(model, label)
        said = specification(model).description
        assert (said.metadata.author, said.metadata.license, said.metadata.versionString) == ("me", "Apache-2.0", "1.2")
        assert said.metadata.userDefined["edgec.build_key"] == "0" * 64
        assert said.input[0].shortDescription == "a frame"
        assert [feature.shortDescription for feature in said.output] == ["the token", ""]
        assert hashlib.sha256((tmp_path / weights).read_bytes()).hexdigest() == digest
        for name, value in CoreMl().load(model)(made.frames).items():
            np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("kind", ["no-registers", "key-bias", "cls-norm", "two-heads"])
def test_every_form_of_the_family_is_translated(kind: str, tmp_path: Path) -> None:
    made = exported(SPECS[kind])
    actual = CoreMl().load(lower(made.graph, uniform("fp32"), tmp_path))(made.frames)
    for name, expected in made.expected.items():
        assert np.abs(actual[name] - expected).max() <= 1e-4 * np.abs(expected).max()
