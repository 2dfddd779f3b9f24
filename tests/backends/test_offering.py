"""What a build tries, and with which plan."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from edgec.backends.candidate import Candidate
from edgec.backends.offering import attempts, offered_pairs, rest_of
from edgec.errors import TargetError
from edgec.graph.plan import Precision, PrecisionPlan
from edgec.lowering import registry
from edgec.lowering.base import Availability, Lowering
from edgec.lowering.onnxruntime import OnnxRuntime
from edgec.lowering.openvino import OpenVino
from edgec.lowering.tensorrt import TensorRt
from edgec.precision.static import uniform
from tests.support.models import VIT, exported

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


def tried(
    *pairs: tuple[str, Precision],
    dot_product: bool = True,
    sensitivity: Mapping[str, float] | None = None,
) -> dict[str, Candidate]:
    made = attempts(exported(VIT).graph, pairs, LOWERINGS, sensitivity or {}, per_token=("openvino",) if dot_product else ())
    assert list(dict.fromkeys((entry.runtime, entry.precision) for entry in made)) == list(pairs)
    return {entry.name: entry for entry in made}


def test_auto_tries_everything_that_the_target_offers() -> None:
    assert offered_pairs("auto", OFFERED) == OFFERED


def test_a_precision_that_was_asked_for_is_tried_in_every_runtime() -> None:
    assert offered_pairs("int8", OFFERED) == (("openvino", "int8"), ("onnxruntime", "int8"))
    assert offered_pairs("bf16", OFFERED) == (("openvino", "bf16"),)


def test_a_precision_that_is_not_offered_is_refused_with_those_that_are() -> None:
    with pytest.raises(TargetError, match="does not offer bf16") as caught:
        offered_pairs("bf16", (("openvino", "fp32"), ("onnxruntime", "fp32"), ("openvino", "int8")))
    assert caught.value.exit_code == 5
    assert caught.value.evidence == ("it offers: fp32, int8",)


def test_int8_is_tried_in_every_way_that_the_runtime_has() -> None:
    made = tried(*OFFERED)
    assert [name for name in made if "int8" in name] == [
        "openvino-int8-static",
        "openvino-int8-but-last-1",
        "openvino-int8-mixed",
        "onnxruntime-int8-but-last-1",
    ]
    assert all((entry.recipe is None) == ("int8" not in name) for name, entry in made.items())


def test_lookup_tables_are_tried_where_they_are_asked_for() -> None:
    offered = (("coreml", "fp16"), ("coreml", "w8"), ("coreml", "w4"))
    assert offered_pairs("auto", offered) == offered[:2]
    assert offered_pairs("auto", offered, palettes=True) == offered
    assert offered_pairs("w4", offered) == offered[2:]


def test_nothing_runs_per_token_without_dot_products_of_bytes() -> None:
    assert [name for name in tried(*OFFERED, dot_product=False) if "int8" in name] == [
        "openvino-int8-but-last-1",
        "onnxruntime-int8-but-last-1",
    ]


def test_a_measured_sensitivity_gives_more_to_try() -> None:
    found = tried(*OFFERED, sensitivity={"blocks.0.mlp.fc2": 1e-3, "blocks.1.attn.q": 1e-5})
    more = set(found) - set(tried(*OFFERED))
    assert {name.rsplit("-", 1)[0] for name in more} == {
        *("openvino-int8-tokens", "openvino-int8-per"),
        *("onnxruntime-int8-but", "onnxruntime-int8"),
    }


def test_the_tail_leaves_int8_where_nothing_runs_per_token() -> None:
    """Also for boards: scenes that calibration never saw cost static int8 several times as much."""
    (made,) = tried(("onnxruntime", "int8")).values()
    assert made.recipe is not None
    assert made.recipe.unquantised


@pytest.mark.parametrize(
    ("offered", "lowering", "rest"),
    [
        (("fp32", "bf16", "int8"), OpenVino(), "bf16"),
        (("fp32", "bf16", "int8"), OnnxRuntime(), "fp32"),
        (("fp32", "int8"), OpenVino(), "fp32"),
        (("fp32", "fp16", "int8"), TensorRt(), "fp16"),
        (("fp32", "fp16", "int8"), OpenVino(), "fp32"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_the_rest_of_an_int8_plan_runs_in_what_target_and_runtime_have(
    offered: tuple[str, ...], lowering: Lowering, rest: str
) -> None:
    assert rest_of(offered, lowering) == rest


def test_impossible_candidates_say_why() -> None:
    made = tried(("onnxruntime", "bf16"), ("absent", "fp32"), ("openvino", "fp32"))
    assert made["onnxruntime-bf16"].problem == "ONNX Runtime has no fast bf16 on CPUs"
    assert "pip install absent" in made["absent-fp32"].problem
    assert made["openvino-fp32"].problem == ""


def test_floating_point_plans_are_uniform() -> None:
    for precision in ("fp32", "bf16"):
        plan = uniform(precision)  # type: ignore[arg-type]
        assert not plan.quantised
        assert plan.precision_of("anything") == precision


def test_plans_hold_exceptions_from_their_default() -> None:
    plan = PrecisionPlan("mixed", "fp32", {"a": "int8", "b": "bf16"})
    assert [plan.precision_of(name) for name in "abc"] == ["int8", "bf16", "fp32"]
    assert plan.quantised
    assert not PrecisionPlan("float", "bf16", {"a": "fp32"}).quantised


def test_every_registered_runtime_is_known_to_the_tests() -> None:
    assert {"openvino", "onnxruntime"} <= set(registry.all_lowerings())


def test_a_runtime_runs_per_token_only_where_the_target_says_so() -> None:
    pairs: tuple[tuple[str, Precision], ...] = (("openvino", "int8"), ("onnxruntime", "int8"))
    made = attempts(exported(VIT).graph, pairs, LOWERINGS, {}, per_token=("onnxruntime",))
    assert {entry.runtime for entry in made if entry.recipe and entry.recipe.per_token} == {"onnxruntime"}
