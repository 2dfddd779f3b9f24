"""OpenVINO keeps the contract of every lowering, and really computes in what the plan says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgec.errors import RuntimeFailure
from edgec.host.cores import usable_cores
from edgec.host.facts import facts
from edgec.lowering.base import LoweredModel, Lowering
from edgec.precision.static import uniform
from tests.lowering.cases import KINDS, Case, plan_of
from tests.lowering.conformance import LoweringConformance
from tests.support.models import SPECS, exported
from tests.support.onnx_graphs import nodes

INTEGERS = ("u8", "i8")


def executed(text: str) -> Counter[str]:
    """`"u8 12, f32 5; rest f32"`: products by type."""
    counts: Counter[str] = Counter()
    for part in text.split(";")[0].split(", "):
        kind, count = part.split()
        counts[kind] += int(count)
    return counts


class TestOpenVino(LoweringConformance):
    name = "openvino"
    modules = ("openvino",)

    @pytest.mark.parametrize("kind", KINDS)
    def test_int8_is_executed_in_integers(self, lowering: Lowering, case: Callable[..., Case], kind: str) -> None:
        chosen = case(kind, "int8")
        counts = executed(lowering.load(chosen.model).execution_precision)
        assert sum(counts[integer] for integer in INTEGERS) == len(chosen.plan.operations)
        products = len(nodes(chosen.made.hub, "MatMul")) + len(nodes(chosen.made.hub, "Conv"))
        assert counts["f32"] == products - len(chosen.plan.operations)
        assert set(counts) <= {*INTEGERS, "f32"}

    def test_int8_beside_bf16_stays_int8(self, lowering: Lowering, tmp_path: Path) -> None:
        made = exported(SPECS["vit"])
        plan = plan_of(lowering, "int8", made, rest="bf16")
        model = lowering.lower(made.graph, plan, tmp_path)
        assert model.settings == {"INFERENCE_PRECISION_HINT": "bf16"}
        text = lowering.load(model).execution_precision
        assert sum(executed(text)[integer] for integer in INTEGERS) == len(plan.operations)
        if _bf16():
            assert executed(text)["bf16"] == 5
            assert text.endswith("rest bf16")

    def test_fp32_is_executed_in_fp32(self, lowering: Lowering, case: Callable[..., Case]) -> None:
        """Also where OpenVINO would take bf16 by itself."""
        runner = lowering.load(case("vit", "fp32").model)
        assert set(executed(runner.execution_precision)) == {"f32"}
        assert runner.execution_precision.endswith("rest f32")

    def test_bf16_is_executed_in_bf16_where_the_cpu_has_it(self, lowering: Lowering, case: Callable[..., Case]) -> None:
        if not _bf16():
            pytest.skip("this CPU has no bf16")
        assert set(executed(lowering.load(case("vit", "bf16").model).execution_precision)) == {"bf16"}

    @pytest.mark.parametrize("threads", [1, 2, 3])
    def test_openvino_itself_says_as_many_threads(self, lowering: Lowering, case: Callable[..., Case], threads: int) -> None:
        runner: Any = lowering.load(case("vit", "fp32").model, threads=threads)
        assert runner.model.compiled.get_property("INFERENCE_NUM_THREADS") == runner.threads == min(threads, usable_cores())

    def test_settings_that_edgec_does_not_know_are_not_passed_on(self, lowering: Lowering, case: Callable[..., Case]) -> None:
        """A manifest comes from anywhere; OpenVINO has properties that name files to write and libraries to load."""
        model = case("vit", "fp32").model
        settings = {**model.settings, "CACHE_DIR": str(model.directory / "written"), "NO_SUCH_PROPERTY": "1"}
        runner = lowering.load(LoweredModel("openvino", model.directory, model.entry, model.files, settings))
        assert runner.execution_precision.endswith("rest f32")
        assert sorted(path.name for path in model.directory.iterdir()) == sorted(model.files)

    def test_an_invalid_setting_is_refused_like_a_damaged_model(self, lowering: Lowering, case: Callable[..., Case]) -> None:
        model = case("vit", "fp32").model
        with pytest.raises(RuntimeFailure, match="refuses the model"):
            lowering.load(LoweredModel("openvino", model.directory, model.entry, model.files, {"INFERENCE_PRECISION_HINT": "f3"}))

    def test_weights_are_not_rounded_on_the_way(self, lowering: Lowering, tmp_path: Path) -> None:
        """`save_model` would compress them to fp16 by itself."""
        made = exported(SPECS["vit"])
        lowering.lower(made.graph, uniform("fp32"), tmp_path)
        content = (tmp_path / "model.bin").read_bytes()
        for operation in ("blocks.0.attn.proj", "blocks.1.mlp.fc2"):
            weight = next(entry for entry in made.hub.graph.initializer if entry.name == f"{operation}.weight")
            assert weight.raw_data in content


def _bf16() -> bool:
    return bool({"avx512_bf16", "amx_bf16"} & set(facts().isa))
