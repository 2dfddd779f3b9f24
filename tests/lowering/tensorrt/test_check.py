"""Every rule of rules.toml: a graph that trips it, one that does not, and the versions that it holds for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from edgec.errors import ArtefactError, RequestError
from edgec.lowering.tensorrt.check import check_graph, read_graph
from edgec.lowering.tensorrt.graph_files import graphs_in
from edgec.lowering.tensorrt.patterns import PATTERNS
from edgec.lowering.tensorrt.rules import FILE, Versions, parse_version, read_rules
from tests.lowering.tensorrt.broken import BROKEN
from tests.lowering.tensorrt.check_graphs import (
    Model,
    angles,
    attention,
    best,
    bias,
    cast_to,
    centred,
    conditional,
    frames,
    grid_sample,
    half_constant,
    hidden_operator,
    mixed,
    norm,
    norm_in_pieces,
    one,
    opened,
    quantised,
    relu,
    resized,
    scaled,
    softmax,
)
from tests.lowering.tensorrt.graphs import F16, F32, graph, node, weights

RULES = {rule.id: rule for rule in read_rules().rule}

Case = tuple[Callable[[], Model], Callable[[], Model], str]
"""A graph that trips the rule, one near it that does not, and a place that must be named."""

with np.errstate(over="ignore"):
    INFINITE = np.array([7e4, 1, 1, 1], np.float16)

CASES: dict[str, Case] = {
    "invalid-onnx": (lambda: mixed(right=F16), lambda: mixed(right=F32), ""),
    "opset-8": (lambda: relu(opset=18), lambda: relu(opset=17), "opset 18"),
    "opset-9": (lambda: relu(opset=20), lambda: relu(opset=19), "opset 20"),
    "opset-10": (lambda: relu(opset=21), lambda: relu(opset=20), "opset 21"),
    "opset-10.14": (lambda: relu(opset=25), lambda: relu(opset=24), "opset 25"),
    "opset-11": (lambda: relu(opset=8), lambda: relu(opset=25), "opset 8"),
    "open-shape": (opened, relu, "x"),
    "unknown-operator": (lambda: one("Bernoulli"), relu, "Bernoulli y"),
    "conditional": (conditional, lambda: conditional(folded=True), "rope"),
    "conditional-newer": (conditional, lambda: conditional(folded=True), "rope"),
    "conditional-rank": (BROKEN["branches of other ranks"], BROKEN["branches of other shapes"], "if"),
    "shape-by-data": (BROKEN["a shape by data"], attention, "y"),
    "rotary-in-graph": (lambda: angles("Sin"), lambda: angles("Relu"), "y"),
    "layernorm-second-output": (lambda: norm(outputs="y mean"), norm, "y"),
    "grid-sample": (grid_sample, relu, "y"),
    "resize-coordinates": (
        lambda: resized(coordinate_transformation_mode="tf_crop_and_resize"),
        lambda: resized(coordinate_transformation_mode="align_corners"),
        "y (tf_crop_and_resize)",
    ),
    "resize-antialias": (lambda: resized(opset=18, antialias=1), lambda: resized(opset=18, antialias=0), "y"),
    "resize-outer": (lambda: scaled(scales=(1.5, 2, 2, 2)), lambda: scaled(scales=(1, 2, 2, 2)), "y"),
    "fp16-choice": (lambda: best(kind=F16), best, "best"),
    "int64-output": (lambda: best(to=TensorProto.INT64), best, "y"),
    "uint8-inside": (lambda: frames("Transpose"), lambda: frames("Cast"), "t"),
    "double": (lambda: cast_to(TensorProto.DOUBLE), lambda: cast_to(F16), "c"),
    "integer-product": (BROKEN["a product of whole numbers"], BROKEN["whole numbers"], "g"),
    "bfloat16-8": (lambda: cast_to(TensorProto.BFLOAT16), lambda: cast_to(F16), "c"),
    "mixed-types": (lambda: mixed(right=F16), lambda: mixed(right=F32), "y (FLOAT, FLOAT16)"),
    "fp16-not-finite": (lambda: half_constant(INFINITE), lambda: half_constant([65504, 1, 1, 1]), "c"),
    "fp16-subnormal": (lambda: half_constant([1e-6, 2e-6, 3e-6, 1]), lambda: half_constant([1e-6, 0, 1, 1]), "c"),
    "fp16-norm": (lambda: norm(kind=F16), lambda: norm(kind=F16, cast=True), "y"),
    "fp16-norm-elsewhere": (lambda: softmax(kind=F16), softmax, "y"),
    "fp16-norm-later": (lambda: softmax(kind=F16), softmax, "y"),
    "norm-in-pieces": (norm_in_pieces, centred, "d"),
    "attention-10.4": (attention, softmax, "scores"),
    "attention-scaled-twice": (lambda: attention(scale="both"), lambda: attention(scale="q"), "scores"),
    "attention-scaled-behind": (lambda: attention(scale="behind"), lambda: attention(scale="q"), "scores"),
    "attention-quantised": (lambda: attention(quantised=True), attention, "scores"),
    "int8-constant": (quantised, lambda: quantised(float_weight=True), "w"),
    "fp16-scale-8": (lambda: quantised(half_scale=True), quantised, "q"),
    "zero-point": (lambda: quantised(zero=3), quantised, "q"),
    "unsigned": (lambda: quantised(kind=np.uint8), quantised, "q"),
    "no-zero-point-8": (lambda: quantised(zero_point=False), quantised, "q"),
    "scale-not-positive": (lambda: quantised(scale=0.0), quantised, "q"),
    "int32-dequantised": (lambda: bias(kind=np.int32), lambda: bias(kind=np.int8), "d"),
    "activation-per-channel": (lambda: quantised(scale=[0.1] * 8), quantised, "q"),
    "activation-per-channel-11": (lambda: quantised(scale=[0.1] * 8), quantised, "q"),
    "weight-per-tensor": (lambda: quantised(weight_scale=0.01), quantised, "wd"),
    "cast-behind-dequantise": (lambda: quantised(cast=True), quantised, "dh"),
    "half-a-pair": (lambda: quantised(activation=False), quantised, "y"),
    "quantised-split": (BROKEN["an int8 product that is split"], quantised, "a"),
}


def tripped(model: Model, version: str) -> dict[str, tuple[str, ...]]:
    return {finding.rule.id: finding.places for finding in check_graph(model, [version])}


def test_every_rule_has_a_case() -> None:
    assert list(CASES) == list(RULES)
    assert {rule.pattern for rule in RULES.values()} == set(PATTERNS)


@pytest.mark.parametrize("name", list(CASES))
def test_a_graph_that_trips_it_and_one_that_does_not(name: str) -> None:
    trips, passes, place = CASES[name]
    version = RULES[name].tensorrt.min
    actual = tripped(trips(), version)
    assert name in actual
    assert place in actual[name] or not place
    assert all(actual[name])
    assert name not in tripped(passes(), version)


@pytest.mark.parametrize("name", list(CASES))
def test_it_holds_for_its_versions_only(name: str) -> None:
    versions = RULES[name].tensorrt
    assert parse_version(versions.min) < parse_version(versions.below)
    trips = CASES[name][0]()
    if parse_version(versions.below) < (12,):
        assert name not in tripped(trips, versions.below)
    if parse_version(versions.min) > (8, 5):
        assert name not in tripped(trips, "8.5")


@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if name not in ("invalid-onnx", "mixed-types", "fp16-scale-8")]
)
def test_the_graphs_of_these_tests_are_onnx(name: str) -> None:
    """So that a rule is tripped by what it is about, and not by a graph that is wrong anyway."""
    for make in CASES[name][:2]:
        onnx.checker.check_model(make())


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.id)
def test_every_rule_has_a_consequence_a_source_and_a_remedy(rule: object) -> None:
    for text in (rule.consequence, rule.source, rule.remedy):  # type: ignore[attr-defined]
        assert len(text) > 15
    assert not rule.remedy.endswith(".")  # type: ignore[attr-defined]
    assert not rule.source.endswith(".")  # type: ignore[attr-defined]


def test_the_issues_that_are_known_are_in_it() -> None:
    text = FILE.read_text()
    for number in ("4558", "4603", "4742", "4723", "4333", "4273", "issue 176"):
        assert number in text


# --- what the rules see


@pytest.mark.parametrize(
    ("kind", "since"), [("LayerNormalization", "8.6"), ("Gelu", "10.0"), ("Attention", "10.14"), ("Swish", "11.0")]
)
def test_operators_are_known_from_their_version_on(kind: str, since: str) -> None:
    model = relu()
    model.graph.node[0].op_type = kind
    older = {"8.6": "8.5", "10.0": "9.3", "10.14": "10.13", "11.0": "10.16"}[since]
    assert tripped(model, older)["unknown-operator"] == (f"{kind} y",)
    assert "unknown-operator" not in tripped(model, since)


def test_operators_of_other_domains_and_in_branches_are_found() -> None:
    model = relu()
    model.graph.node[0].domain = "com.microsoft"
    assert tripped(model, "10.3")["unknown-operator"] == ("Relu y",)
    assert tripped(hidden_operator(), "10.3")["unknown-operator"] == ("Bernoulli then",)


@pytest.mark.parametrize("square", ["Pow", "Mul"])
def test_a_norm_in_pieces_however_it_squares(square: str) -> None:
    assert tripped(norm_in_pieces(square=square), "10.3") == {"norm-in-pieces": ("d",)}


def test_a_scale_that_is_computed_from_constants_is_one_too() -> None:
    """As exporters write it: Sqrt of a constant, multiplied into both sides."""
    model = attention(scale="both")
    model.graph.node.insert(0, node("Sqrt", "number", "computed"))
    for each in model.graph.node:
        each.input[:] = ["computed" if name == "root" else name for name in each.input]
    model.graph.initializer[0].name = "number"
    assert tripped(model, "10.7")["attention-scaled-twice"] == ("scores",)


def test_the_same_rule_with_other_places_on_other_versions() -> None:
    model = graph(
        [node("Gelu", "x", "g"), node("Attention", "g g g", "y")],
        [("x", F32, [1, 1, 4, 4])],
        [("y", F32, [1, 1, 4, 4])],
        opset=23,
    )
    actual = [each for each in check_graph(model, ["9.3", "10.3", "10.13"]) if each.rule.id == "unknown-operator"]
    assert [(each.versions, each.places) for each in actual] == [
        (("9.3",), ("Gelu g", "Attention y")),
        (("10.3", "10.13"), ("Attention y",)),
    ]


@pytest.mark.parametrize(
    ("axes", "sizes"), [(None, (1, 2, 8, 8)), ((2, 3), (8, 8)), ((-2, -1), (8, 8)), ((3, 0), (8, 2))], ids=str
)
def test_what_a_resize_changes_by_its_axes(axes: tuple[int, ...] | None, sizes: tuple[int, ...]) -> None:
    """Cubic, which may change two: by names of axes it is told for which the sizes are."""
    model = resized(opset=18, mode="cubic") if axes is None else resized(opset=18, mode="cubic", axes=axes)
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.array(sizes, np.int64), "sizes"))
    assert ("resize-outer" in tripped(model, "10.3")) is (axes == (3, 0))


def test_scales_beside_half_a_map_are_no_mixture() -> None:
    assert tripped(scaled(scales=(1, 1, 2, 2)), "10.3") == {}


def test_errors_come_first() -> None:
    actual = check_graph(quantised(zero=3, cast=True), ["10.3"])
    assert [each.rule.severity for each in actual] == sorted(each.rule.severity for each in actual)
    assert {each.rule.severity for each in actual} == {"error", "warning"}


# --- versions


@pytest.mark.parametrize(
    ("version", "inside"),
    [("10.3", True), ("10.3.0", True), ("10.3.0.30", True), ("10.2.9", False), ("10.4", False), ("10.4.0.26", False)],
)
def test_parts_that_are_missing_are_zeros(version: str, inside: bool) -> None:
    assert Versions(min="10.3", below="10.4").hold(parse_version(version)) is inside


@pytest.mark.parametrize("text", ["", "ten", "10.", ".3", "10.3.0.30.1", "10,3", "v10.3", "-1", "10.3 beta", "٣.٤", "99999.1"])
def test_invalid_versions(text: str) -> None:
    with pytest.raises(RequestError, match="is not a TensorRT version"):
        check_graph(relu(), [text])


@pytest.mark.parametrize("version", ["7.2", "8.4.3", "12", "12.0", "20.1"])
def test_versions_that_no_rule_looks_at(version: str) -> None:
    with pytest.raises(RequestError, match=f"There are no rules for TensorRT {version}"):
        check_graph(relu(), [version])


# --- files


def test_reading(tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    onnx.save(quantised(), path)
    assert read_graph(path).graph.node[0].op_type == "QuantizeLinear"
    assert graphs_in(path) == (path,)
    (tmp_path / "artefact" / "model").mkdir(parents=True)
    for name in ("int8", "fp16"):
        onnx.save(relu(), tmp_path / "artefact" / "model" / f"{name}.onnx")
    assert [each.name for each in graphs_in(tmp_path / "artefact")] == ["fp16.onnx", "int8.onnx"]


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00" * 64, b"This is no graph.\n" * 30, b"PK\x03\x04" + b"\x00" * 40, b"\xff" * 100, b"\x08"],
    ids=["empty", "zeros", "text", "zip", "ones", "cut"],
)
def test_files_without_a_graph(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "graph.onnx").write_bytes(content)
    with pytest.raises(ArtefactError, match=r"graph\.onnx is not"):
        read_graph(tmp_path / "graph.onnx")


def test_a_file_cut_off_anywhere(tmp_path: Path) -> None:
    """Either refused, or, where protobuf cannot tell, found to be invalid; never taken for whole."""
    whole = quantised().SerializeToString()
    for length in range(0, len(whole), 7):
        (tmp_path / "cut.onnx").write_bytes(whole[:length])
        try:
            model = read_graph(tmp_path / "cut.onnx")
        except ArtefactError:
            continue
        assert any(finding.is_error for finding in check_graph(model, ["10.3"])), length


def test_bytes_changed_at_random_are_never_a_crash(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    bases = [make().SerializeToString() for case in CASES.values() for make in case[:2]]
    read = 0
    for number in range(300):
        content = bytearray(bases[number % len(bases)])
        for place in random.integers(0, len(content), 2):
            content[place] = random.integers(0, 256)
        (tmp_path / "spoilt.onnx").write_bytes(content)
        try:
            model = read_graph(tmp_path / "spoilt.onnx")
        except ArtefactError:
            continue
        read += 1
        check_graph(model, ["8.6", "10.3", "11.1"])
    assert read > 20


def test_a_graph_that_runs_in_a_circle() -> None:
    model = graph(
        [node("Add", "x b", "a"), node("Relu", "a", "b"), node("Softmax", "b", "y")], [("x", F32, [4])], [("y", F32, [4])]
    )
    assert list(tripped(model, "10.3")) == ["invalid-onnx"]


def test_weights_that_lie_beside_and_are_gone(tmp_path: Path) -> None:
    model = graph([node("MatMul", "x w", "y")], [("x", F32, [1, 64])], [("y", F32, [1, 64])], {"w": weights(64, 64)})
    onnx.save(model, tmp_path / "graph.onnx", save_as_external_data=True, location="graph.onnx.data", size_threshold=0)
    assert check_graph(read_graph(tmp_path / "graph.onnx"), ["10.3"]) == ()
    (tmp_path / "graph.onnx.data").unlink()
    with pytest.raises(ArtefactError, match="not a whole ONNX model"):
        read_graph(tmp_path / "graph.onnx")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="There is no file"):
        read_graph(tmp_path / "absent.onnx")
    with pytest.raises(RequestError, match=r"holds no \.onnx file"):
        graphs_in(tmp_path)
