"""What a build tries, and with which plan."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from edgec.errors import TargetError
from edgec.graph.operations import operations
from edgec.graph.statistics import Statistics, observe
from edgec.lowering import registry
from edgec.lowering.base import Availability, Lowering
from edgec.lowering.onnxruntime import OnnxRuntime
from edgec.lowering.openvino import OpenVino
from edgec.precision.candidates import CandidatePlan, candidate_plans, wanted
from edgec.precision.plan import Precision, PrecisionPlan
from edgec.precision.static import int8_activations, uniform
from tests.support.frames import pictures
from tests.support.models import CONVNEXT, SMALL, VIT, exported

OFFERED: tuple[tuple[str, Precision], ...] = (
    ("openvino", "fp32"),
    ("onnxruntime", "fp32"),
    ("openvino", "bf16"),
    ("openvino", "int8"),
    ("onnxruntime", "int8"),
)


class Absent(OpenVino):
    name = "absent"

    def availability(self) -> Availability:
        return Availability(False, problem="no such module", install="pip install absent")


LOWERINGS: Mapping[str, Lowering] = {"openvino": OpenVino(), "onnxruntime": OnnxRuntime(), "absent": Absent()}


def statistics_of(spec: object = VIT) -> dict[str, Statistics]:
    hub = exported(spec).hub  # type: ignore[arg-type]
    return observe(hub, int8_activations(hub), pictures(SMALL, 3), 1)


def plans(*pairs: tuple[str, Precision], rest: Precision = "bf16") -> dict[str, CandidatePlan]:
    made = candidate_plans(exported(VIT).hub, pairs, LOWERINGS, statistics_of(), {}, rest=rest, activations="s8", weight_bits=7)
    assert list(dict.fromkeys((entry.runtime, entry.precision) for entry in made)) == list(pairs)
    return {entry.name: entry for entry in made}


def test_auto_tries_everything_that_the_target_offers() -> None:
    assert wanted("auto", OFFERED) == OFFERED


def test_a_precision_that_was_asked_for_is_tried_in_every_runtime() -> None:
    assert wanted("int8", OFFERED) == (("openvino", "int8"), ("onnxruntime", "int8"))
    assert wanted("bf16", OFFERED) == (("openvino", "bf16"),)


def test_what_the_target_does_not_offer_is_refused_with_what_it_does() -> None:
    with pytest.raises(TargetError, match="does not offer bf16") as caught:
        wanted("bf16", (("openvino", "fp32"), ("onnxruntime", "fp32"), ("openvino", "int8")))
    assert caught.value.exit_code == 5
    assert caught.value.evidence == ("it offers: fp32, int8",)


def test_floating_point_plans_are_uniform() -> None:
    for name, precision in (("openvino-fp32", "fp32"), ("openvino-bf16", "bf16")):
        plan = plans(*OFFERED)[name].plan
        assert plan == uniform(precision)
        assert not plan.quantised
        assert plan.precision_of("anything") == precision


def test_int8_plans_carry_the_target_s_ways_with_bytes() -> None:
    for name in ("openvino-int8-static", "openvino-int8-mixed", "onnxruntime-int8-static"):
        plan = plans(*OFFERED)[name].plan
        assert plan is not None
        assert (plan.activations, plan.weight_bits) == ("s8", 7)
        assert plan.quantised
        assert set(plan.ranges) == set(statistics_of())


def test_the_rest_of_an_int8_plan_runs_in_what_the_runtime_can() -> None:
    made = plans(*OFFERED)
    assert made["openvino-int8-static"].plan is not None
    assert made["onnxruntime-int8-static"].plan is not None
    assert made["openvino-int8-static"].plan.default == "bf16"
    assert made["onnxruntime-int8-static"].plan.default == "fp32"
    assert plans(*OFFERED, rest="fp32")["openvino-int8-static"].plan.default == "fp32"  # type: ignore[union-attr]


def test_what_cannot_be_says_why() -> None:
    made = plans(("onnxruntime", "bf16"), ("absent", "fp32"), ("openvino", "fp32"))
    assert made["onnxruntime-bf16"].plan is None
    assert made["onnxruntime-bf16"].problem == "ONNX Runtime has no fast bf16 on CPUs"
    assert made["absent-fp32"].plan is None
    assert "pip install absent" in made["absent-fp32"].problem
    assert made["openvino-fp32"].problem == ""


def test_each_runtime_quantises_the_kinds_that_are_worth_it_there() -> None:
    hub = exported(CONVNEXT).hub
    kinds = {entry.name: entry.kind for entry in operations(hub)}
    for lowering in (OpenVino(), OnnxRuntime()):
        made = candidate_plans(
            hub, [(lowering.name, "int8")], LOWERINGS, statistics_of(CONVNEXT), {}, rest="fp32", activations="u8", weight_bits=8
        )[0]
        assert made.plan is not None
        assert {kinds[name] for name in made.plan.operations} == set(lowering.int8_kinds)
        assert set(made.plan.ranges) == {entry.activation for entry in operations(hub) if entry.name in made.plan.operations}


def test_plans_hold_exceptions_from_their_default() -> None:
    plan = PrecisionPlan("mixed", "fp32", {"a": "int8", "b": "bf16"})
    assert [plan.precision_of(name) for name in "abc"] == ["int8", "bf16", "fp32"]
    assert plan.quantised
    assert not PrecisionPlan("float", "bf16", {"a": "fp32"}).quantised


def test_every_registered_runtime_is_known_to_the_tests() -> None:
    assert {"openvino", "onnxruntime"} <= set(registry.all_lowerings())
