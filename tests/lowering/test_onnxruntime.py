"""ONNX Runtime keeps the contract of every lowering, and multiplies integers where the plan says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgec.graph import files
from edgec.graph.operations import operations
from edgec.graph.plan import PrecisionPlan
from edgec.lowering.base import Lowering
from edgec.precision.static import uniform
from tests.lowering.cases import KINDS, Case, judge, plan_of
from tests.lowering.conformance import LoweringConformance
from tests.support.models import SPECS, VIT, exported
from tests.support.onnx_graphs import nodes


def optimised(model: Path, folder: Path) -> onnx.ModelProto:
    """What ONNX Runtime makes of a file before it runs it."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return onnx.load(folder / "optimised.onnx")


class TestOnnxRuntime(LoweringConformance):
    name = "onnxruntime"
    modules = ("onnxruntime",)

    @pytest.mark.parametrize("kind", KINDS)
    def test_int8_products_multiply_integers(self, case: Callable[..., Case], kind: str, tmp_path: Path) -> None:
        """Each is one MatMulIntegerToFloat, its bias inside; none has become a float Gemm, which takes three times as long."""
        chosen = case(kind, "int8")
        graph = optimised(chosen.model.directory / chosen.model.entry, tmp_path)
        kinds = Counter(node.op_type for node in graph.graph.node)
        assert kinds["MatMulIntegerToFloat"] == len(chosen.plan.operations) > 0
        assert kinds["Gemm"] == 0
        assert kinds["DequantizeLinear"] == 0
        attention = sum(1 for node in nodes(chosen.made.hub, "MatMul") if node.name.endswith((".scores", ".mix")))
        assert kinds["MatMul"] + kinds["FusedMatMul"] == attention

    @pytest.mark.parametrize("kind", KINDS)
    def test_per_token_products_multiply_integers_and_keep_massive_tokens_apart(
        self, lowering: Lowering, kind: str, tmp_path: Path
    ) -> None:
        made = exported(SPECS[kind])
        products = [entry.name for entry in operations(made.graph) if entry.kind == "linear"]
        plan = PrecisionPlan("per-token", "fp32", operations=dict.fromkeys(products, "int8-per-token"))
        model = lowering.lower(made.graph, plan, tmp_path)
        written = onnx.load(tmp_path / model.entry)
        assert {node.name for node in nodes(written, "MatMulInteger")} == set(products)
        assert len(nodes(written, "QuantizeLinear")) == len(
            {entry.activation for entry in operations(made.graph) if entry.name in products}
        )
        actual = judge(made, lowering.load(model))
        # Measured: .9976 and .973 or better.
        assert min(actual.cls_cosine_mean, actual.patch_cosine_mean) > 0.995
        assert actual.patch_cosine_p01 > 0.96

    def test_every_thread_but_the_caller_s_is_started(
        self, case: Callable[..., Case], lowering: Lowering, tmp_path: Path
    ) -> None:
        if not Path("/proc/self/task").is_dir():
            pytest.skip("needs Linux")
        assert [self._elsewhere(case("vit", "fp32"), tmp_path, threads)[1] for threads in (1, 3)] == [0, 2]

    def test_weights_beyond_protobuf_s_limit_lie_beside(
        self, lowering: Lowering, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(files, "LIMIT", 10_000)
        made = exported(VIT)
        for precision in lowering.precisions:
            folder = tmp_path / precision
            folder.mkdir()
            model = lowering.lower(made.graph, plan_of(lowering, precision, made), folder)
            assert model.files == ("model.onnx", "model.onnx.data")
            moved = folder.rename(tmp_path / f"moved {precision}")
            runner = lowering.load(type(model)(model.runtime, moved, model.entry, model.files, model.settings))
            cosine = np.corrcoef(runner(made.frames)["cls"][0], made.expected["cls"][0])[0, 1]
            assert cosine > 0.99

    def test_the_fp32_file_is_the_hub_itself(self, lowering: Lowering, tmp_path: Path) -> None:
        made = exported(SPECS["convnext"])
        lowering.lower(made.graph, uniform("fp32"), tmp_path)
        assert (tmp_path / "model.onnx").read_bytes() == made.content
