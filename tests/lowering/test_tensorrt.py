"""TensorRT keeps the contract of every lowering, as far as this machine can imitate it, and says what it cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgec.backends.profiles import family
from edgec.graph import files
from edgec.graph.peaks import observe_peaks
from edgec.graph.plan import PrecisionPlan
from edgec.host.cores import usable_cores
from edgec.lowering.base import Lowering
from edgec.lowering.halves import constant_problem
from edgec.lowering.tensorrt import TensorRt
from edgec.lowering.tensorrt.check import check_graph
from edgec.lowering.tensorrt.lowering import TENSORRT
from edgec.lowering.tensorrt.writing import with_headroom
from edgec.precision.static import uniform
from edgec.records.evidence import Evidence
from tests.lowering.cases import KINDS, Case, judge, plan_of
from tests.lowering.conformance import LoweringConformance
from tests.lowering.tensorrt.graphs import typed_graph
from tests.support.commands import python
from tests.support.frames import pictures
from tests.support.models import SMALL, SPECS, VIT, Exported, exported
from tests.support.onnx_graphs import constant, node, nodes, replace_constant

ALL = ("vit", "swiglu", "no-registers", "key-bias", "cls-norm", "two-heads", "convnext")


def plan(made: Exported, precision: str) -> PrecisionPlan:
    return plan_of(TensorRt(), precision, made, **({"rest": "fp16"} if precision == "int8" else {}))


def strict(model: onnx.ModelProto) -> onnx.ModelProto:
    onnx.checker.check_model(model, full_check=True)
    return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)


class TestTensorRt(LoweringConformance):
    name = "tensorrt"
    modules = ("onnxruntime",)

    @pytest.fixture
    def lowering(self) -> Lowering:
        return TensorRt()

    @pytest.mark.parametrize("activations", ["s8"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_int8_computes_what_the_plan_says(self, lowering: Lowering, tmp_path: Path, kind: str, activations: str) -> None:
        super().test_int8_computes_what_the_plan_says(lowering, tmp_path, kind, activations)

    def test_runs_in_a_process_without_torch_and_onnx(
        self, case: Callable[..., Case], lowering: Lowering, tmp_path: Path
    ) -> None:
        """Without torch, that is: what is imitated is the graph, and onnx reads it."""
        chosen = case("vit", "int8")
        np.save(tmp_path / "frames.npy", chosen.made.frames)
        done = python(_ELSEWHERE, chosen.model.directory, chosen.model.entry, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        with np.load(tmp_path / "features.npz") as actual:
            for name, value in lowering.load(chosen.model, threads=1)(chosen.made.frames).items():
                np.testing.assert_allclose(actual[name], value, atol=1e-6)

    def test_threads_are_obeyed(self, case: Callable[..., Case], lowering: Lowering, tmp_path: Path) -> None:
        for threads in (1, 2):
            assert lowering.load(case("vit", "fp32").model, threads=threads).threads == threads
        assert lowering.load(case("vit", "fp32").model).threads == usable_cores()

    def test_results_are_marked_as_simulated(self, case: Callable[..., Case], lowering: Lowering) -> None:
        assert TensorRt.evidence is Evidence.SIMULATED
        for precision in lowering.precisions:
            assert lowering.load(case("vit", precision).model).execution_precision.endswith("simulated on host")


_ELSEWHERE = """
import sys
for name in ("torch", "transformers", "click", "rich"):
    sys.modules[name] = None
from pathlib import Path
import numpy as np
from edgec.lowering.base import LoweredModel
from edgec.lowering.tensorrt import TensorRt

runner = TensorRt().load(LoweredModel("tensorrt", Path(sys.argv[1]), sys.argv[2], (sys.argv[2],), {}), threads=1)
np.savez("features.npz", **runner(np.load("frames.npy")))
"""


@pytest.mark.parametrize("precision", ["int8", "fp16", "fp32"])
@pytest.mark.parametrize("kind", ALL)
def test_graphs_are_strictly_typed_opset_17_and_accepted(kind: str, precision: str) -> None:
    made = exported(SPECS[kind])
    model, kept = typed_graph(made.graph, plan(made, precision))
    inferred = strict(model)
    assert not kept
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    said = {value.name: value for value in model.graph.value_info}
    for value in inferred.graph.value_info:
        assert said[value.name].type == value.type
    assert {output.type.tensor_type.elem_type for output in model.graph.output} == {onnx.TensorProto.FLOAT}
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    low = tuple(int(part) for part in TENSORRT[precision][0].split("."))
    versions = {version for profile in family("jetson") for version in profile.jetson.tensorrt_versions}
    newer = sorted(version for version in versions if tuple(int(part) for part in version.split(".")) >= low)
    assert newer
    assert check_graph(model, newer) == ()


@pytest.mark.parametrize("kind", ["vit", "swiglu", "convnext"])
def test_int8_with_fp16_around_keeps_the_features(kind: str, tmp_path: Path) -> None:
    made = exported(SPECS[kind])
    lowering = TensorRt()
    actual = judge(made, lowering.load(lowering.lower(made.graph, plan(made, "int8"), tmp_path)))
    assert min(actual.cls_cosine_mean, actual.patch_cosine_mean) > 0.99
    assert actual.patch_cosine_p01 > 0.97


def test_batches_registers_and_layers_in_every_variant(tmp_path: Path) -> None:
    made = exported(VIT, batch=2, registers=True, layers=(0, 1))
    lowering = TensorRt()
    for precision in ("int8", "fp16", "fp32"):
        folder = tmp_path / precision
        folder.mkdir()
        lowered = lowering.lower(made.graph, plan(made, precision), folder)
        assert lowered.files == (f"{precision}.onnx",)
        features = lowering.load(lowered)(made.frames)
        assert set(features) == set(made.expected)
        for name, expected in made.expected.items():
            assert np.abs(features[name] - expected).max() < 0.35 * np.abs(expected).max(), (precision, name)


def test_an_asymmetric_plan_becomes_symmetric(tmp_path: Path) -> None:
    made = exported(VIT)
    model, _ = typed_graph(made.graph, plan_of(TensorRt(), "int8", made, activations="u8"))
    constants = {entry.name: entry for entry in model.graph.initializer}
    for quantiser in nodes(model, "QuantizeLinear"):
        assert constants[quantiser.input[2]].data_type == onnx.TensorProto.INT8
        assert not np.any(onnx.numpy_helper.to_array(constants[quantiser.input[2]]))


def test_weights_beyond_protobuf_s_limit_lie_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LIMIT", 10_000)
    made = exported(VIT)
    lowering = TensorRt()
    lowered = lowering.lower(made.graph, plan(made, "fp16"), tmp_path)
    assert lowered.files == ("fp16.onnx", "fp16.onnx.data")
    features = lowering.load(lowered)(made.frames)
    assert np.abs(features["cls"] - made.expected["cls"]).max() < 0.02 * np.abs(made.expected["cls"]).max()


# --- what does not fit fp16


def overflowing(made: Exported, factor: float) -> ir.Model:
    """The hub with a first MLP whose output is larger, and of which the residual stream adds all the same."""
    hub = made.graph
    for part in ("blocks.0.mlp.fc2.weight", "blocks.0.mlp.fc2.bias"):
        replace_constant(hub, part, lambda value: value * factor)
    return hub


def test_a_massive_update_would_overflow_fp16_and_is_kept_in_float32(tmp_path: Path) -> None:
    made = exported(VIT)
    hub = overflowing(made, 3e4)
    frames = list(pictures(SMALL, 4))
    naive = TensorRt().lower(hub, uniform("fp16"), _made(tmp_path / "naive"))
    assert not np.isfinite(TensorRt().load(naive)(made.frames)["patches"]).all()
    careful = with_headroom(hub, uniform("fp16"), observe_peaks(hub, frames, 1))
    # The product, and the residual stream from there on.
    assert careful.operations == dict.fromkeys(("blocks.0.mlp.fc2", "blocks.0.add_2", "blocks.1.add", "blocks.1.add_2"), "fp32")
    lowered = TensorRt().lower(hub, careful, _made(tmp_path / "careful"))
    assert np.isfinite(TensorRt().load(lowered)(made.frames)["patches"]).all()


def test_headroom_is_left_before_the_limit_is_reached() -> None:
    made = exported(VIT)
    peaks = observe_peaks(made.graph, list(pictures(SMALL, 2)), 1)
    assert with_headroom(made.graph, uniform("fp16"), peaks) == uniform("fp16")
    near = peaks | {"blocks.1.mlp.mul_2": 9000.0}
    changed = with_headroom(made.graph, uniform("fp16"), near)
    assert set(changed.operations) == {"blocks.1.mlp.fc1", "blocks.1.mlp.fc2"}
    model, _ = typed_graph(made.graph, changed)
    strict(model)
    kinds = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    assert kinds["blocks.1.mlp.mul_2"] == onnx.TensorProto.FLOAT
    assert kinds["blocks.0.mlp.mul_2"] == onnx.TensorProto.FLOAT16


def test_massive_scores_take_the_product_that_makes_them_to_float32() -> None:
    made = exported(VIT)
    changed = with_headroom(made.graph, uniform("fp16"), {"blocks.0.attn.scores": 60_000.0})
    assert changed.operations == {"blocks.0.attn.scores": "fp32"}
    strict(typed_graph(made.graph, changed)[0])


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        ("blocks.0.add", {"blocks.0.add", "blocks.0.add_2"}),
        ("blocks.1.add_2", {"blocks.1.add_2"}),
        ("concat", {"patch_embed", "blocks.0.add"}),
        ("frames.cast", {"patch_embed"}),
        ("blocks.0.norm1", {"blocks.0.attn.q", "blocks.0.attn.k", "blocks.0.attn.v"}),
    ],
)
def test_float32_is_what_makes_or_reads_a_massive_tensor_in_fp16(tensor: str, expected: set[str]) -> None:
    made = exported(VIT)
    changed = with_headroom(made.graph, uniform("fp16"), {tensor: 1e9})
    assert set(changed.operations) == expected


def test_int8_products_need_no_headroom() -> None:
    made = exported(VIT)
    int8 = plan(made, "int8")
    assert with_headroom(made.graph, int8, {"blocks.0.norm1": 1e9, "blocks.0.mlp.fc2": 1e9}) == int8


@pytest.mark.parametrize(
    ("constant", "factor", "words"),
    [
        ("blocks.0.mlp.fc1.weight", 1e6, "fp16 ends at 65504"),
        ("blocks.1.mlp.fc2.bias", 1e7, "fp16 ends at 65504"),
        ("blocks.1.attn.proj.weight", 1e-6, "loses"),
    ],
)
def test_constants_that_do_not_fit_are_named_and_kept(constant: str, factor: float, words: str, tmp_path: Path) -> None:
    made = exported(VIT)
    hub = made.graph
    replace_constant(hub, constant, lambda value: value * factor)
    lowered = TensorRt().lower(hub, uniform("fp16"), tmp_path)
    operation = constant.rsplit(".", 1)[0]
    assert list(lowered.settings["float32"]) == [operation]
    assert constant in lowered.settings["float32"][operation]
    assert words in lowered.settings["float32"][operation]
    model = onnx.load(tmp_path / "fp16.onnx")
    strict(model)
    assert check_graph(model, ["10.3"]) == ()
    kinds = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    assert kinds[operation] == onnx.TensorProto.FLOAT
    careful = with_headroom(hub, uniform("fp16"), observe_peaks(hub, list(pictures(SMALL, 4)), 1))
    features = TensorRt().load(TensorRt().lower(hub, careful, _made(tmp_path / "careful")))(made.frames)
    assert np.isfinite(features["patches"]).all()


def test_the_patch_embedding_fits_fp16_because_its_weights_are_scaled() -> None:
    """With 1/255 and 1/std in them they lie near fp16's subnormal numbers (`edgec.lowering.tensorrt.pixels`)."""
    made = exported(VIT)
    model, kept = typed_graph(made.graph, uniform("fp16"))
    assert not kept
    stored = constant(model, node(model, "patch_embed").input[1])
    assert stored.dtype == np.float16
    exact = constant(made.hub, "patch_embed.weight") * 2.0**8
    assert constant_problem(exact) == ""
    np.testing.assert_array_equal(stored, exact.astype(np.float16))


def test_the_module_imports_no_onnx_and_no_runtime(tmp_path: Path) -> None:
    done = python(
        "import sys; import edgec.lowering.tensorrt; from edgec.cli import check\n"
        "print(*(name for name in ('onnx', 'onnxruntime', 'torch') if name in sys.modules))",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
