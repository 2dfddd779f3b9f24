"""The hub graph: what its nodes and constants are, and that it computes what the unfolded PyTorch model does."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

from edgec.errors import ExportError, InputSizeError, RequestError, RuntimeFailure
from edgec.graph.export import export
from edgec.graph.files import serialised
from edgec.graph.session import features_of, open_session
from edgec.model.camera import CameraModel, assemble
from edgec.model.normalisation import LVD
from edgec.model.spec import Size, Spec, VitSpec
from tests.support.frames import pictures
from tests.support.models import CLS_NORM, CONVNEXT, KEY_BIAS, SMALL, SPECS, SWIGLU, VIT, Exported, exported, random_checkpoint
from tests.support.onnx_graphs import constant, constants, makers, node, nodes, readers

SHALLOW = VitSpec(64, 1, 1, 64)
RUNTIME_SHAPES = {"If", "Loop", "Scan", "Shape", "Size", "NonZero", "ConstantOfShape", "Expand", "Range", "Sin", "Cos"}
NORM_COUNTS = {"vit": 5, "swiglu": 5, "no-registers": 5, "key-bias": 5, "cls-norm": 6, "two-heads": 3, "convnext": 10}
"""Two a block and the last one, which `cls-norm` has twice; ConvNeXt: one a block, one a stage, and the last one for the patches
and for their mean."""


@pytest.fixture(params=SPECS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def made(kind: str) -> Exported:
    return exported(SPECS[kind])


@pytest.fixture
def hub(made: Exported) -> onnx.ModelProto:
    return made.hub


def assert_same_features(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(actual) == list(expected)
    for name, wanted in expected.items():
        assert actual[name].dtype == np.float32
        assert actual[name].shape == wanted.shape
        assert np.abs(actual[name] - wanted).max() <= 1e-4 * np.abs(wanted).max(), name
        assert wanted.std() > 0.1


# --- the contract


def test_is_valid_onnx_of_opset_18_alone(hub: onnx.ModelProto) -> None:
    onnx.checker.check_model(hub, full_check=True)
    assert [(entry.domain, entry.version) for entry in hub.opset_import] == [("", 18)]
    assert {node.domain for node in hub.graph.node} == {""}
    assert not hub.functions


def test_computes_no_shape_and_takes_no_branch(hub: onnx.ModelProto) -> None:
    assert not RUNTIME_SHAPES & {node.op_type for node in hub.graph.node}
    for reshape in nodes(hub, "Reshape"):
        assert reshape.input[1] in constants(hub)


def test_every_norm_is_one_native_node(kind: str, hub: onnx.ModelProto) -> None:
    norms = nodes(hub, "LayerNormalization")
    assert len(norms) == NORM_COUNTS[kind]
    kinds = Counter(node.op_type for node in hub.graph.node)
    assert not kinds["Pow"] + kinds["Sqrt"] + kinds["Reciprocal"] + kinds["Sub"]
    assert kinds["ReduceMean"] == (1 if kind == "convnext" else 0)
    for norm in norms:
        attributes = {entry.name: onnx.helper.get_attribute_value(entry) for entry in norm.attribute}
        assert attributes["epsilon"] == pytest.approx(SPECS[kind].norm_eps)
        assert attributes.get("axis", -1) == -1


def test_takes_the_camera_frame_and_gives_image_shaped_features(made: Exported, hub: onnx.ModelProto) -> None:
    [frames] = hub.graph.input
    assert frames.name == "frames"
    assert frames.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert _shape(frames) == [1, 64, 96, 3]
    stride, width = made.spec.stride, made.spec.features
    shapes = {output.name: _shape(output) for output in hub.graph.output}
    assert shapes == {"cls": [1, width], "patches": [1, 64 // stride, 96 // stride, width]}
    assert {output.type.tensor_type.elem_type for output in hub.graph.output} == {onnx.TensorProto.FLOAT}


def test_every_tensor_has_a_static_shape(hub: onnx.ModelProto) -> None:
    known = {value.name: _shape(value) for value in (*hub.graph.value_info, *hub.graph.output)}
    for tensor in makers(hub):
        assert all(isinstance(side, int) and side > 0 for side in known[tensor]), tensor


def _shape(value: onnx.ValueInfoProto) -> list[int | None]:
    return [dim.dim_value if dim.HasField("dim_value") else None for dim in value.type.tensor_type.shape.dim]


def test_says_nothing_of_the_machine_that_exported_it(hub: onnx.ModelProto) -> None:
    assert not hub.metadata_props
    assert not hub.doc_string
    assert not hub.graph.doc_string
    assert not hub.graph.metadata_props
    for entry in (*hub.graph.node, *hub.graph.initializer, *hub.graph.value_info, *hub.graph.input, *hub.graph.output):
        assert not entry.doc_string
        assert not entry.metadata_props
    content = hub.SerializeToString()
    for trace in (os.sep + "site-packages", ".py", str(Path(torch.__file__).parent), str(Path.home()) + os.sep, str(Path.cwd())):
        assert trace.encode() not in content, trace


def test_names_are_unique_and_are_module_paths(kind: str, hub: onnx.ModelProto) -> None:
    names = [node.name for node in hub.graph.node]
    assert len(set(names)) == len(names)
    tensors = [*makers(hub), *constants(hub), *(value.name for value in hub.graph.input)]
    assert len(set(tensors)) == len(tensors)
    for name in (*names, *tensors):
        assert re.fullmatch(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*", name), name
        assert not re.search(r"(^|\.)(val|node|model|backbone|getitem)(_|\.|$)", name), name
    products = {entry.name for entry in nodes(hub, "MatMul") if entry.input[1] in constants(hub)}
    if kind == "convnext":
        assert products == {f"stages.{stage}.blocks.0.{layer}" for stage in range(4) for layer in ("fc1", "fc2")}
        convolutions = {entry.name for entry in nodes(hub, "Conv")}
        assert convolutions == {f"stages.{stage}.{part}" for stage in range(4) for part in ("downsample", "blocks.0.dwconv")}
    elif kind == "vit":
        parts = ("attn.q", "attn.k", "attn.v", "attn.proj", "mlp.fc1", "mlp.fc2")
        assert products == {f"blocks.{block}.{part}" for block in range(2) for part in parts}
        assert {f"{name}.weight" for name in products} <= set(constants(hub))
    elif kind == "swiglu":
        assert {"blocks.1.mlp.gate", "blocks.1.mlp.up", "blocks.1.mlp.down"} <= products


@pytest.mark.parametrize("spec", [VIT, CONVNEXT], ids=["vit", "convnext"])
def test_a_second_export_gives_the_same_bytes(spec: Spec, capfd: pytest.CaptureFixture[str]) -> None:
    first = exported(spec).content
    model = assemble(random_checkpoint(spec), SMALL, folded=True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    capfd.readouterr()
    again = export(model, spec, SMALL, 1)
    assert capfd.readouterr() == ("", "")
    assert serialised(again) == first
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# --- what is folded


def test_pixels_go_straight_into_the_first_convolution(made: Exported, hub: onnx.ModelProto) -> None:
    [cast] = readers(hub, "frames")
    [transpose] = readers(hub, cast.output[0])
    [conv] = readers(hub, transpose.output[0])
    assert [cast.op_type, transpose.op_type, conv.op_type] == ["Cast", "Transpose", "Conv"]
    name = "patch_embed" if isinstance(made.spec, VitSpec) else "stages.0.downsample"
    weight, bias = (made.checkpoint.weights[f"{name}.{part}"].double().numpy() for part in ("weight", "bias"))
    mean, std = (np.array(values).reshape(1, 3, 1, 1) for values in LVD)
    np.testing.assert_allclose(constant(hub, conv.input[1]), weight / (255 * std), rtol=1e-6)
    np.testing.assert_allclose(constant(hub, conv.input[2]), bias - (weight * mean / std).sum((1, 2, 3)), rtol=1e-6)


@pytest.mark.parametrize("spec", [VIT, SWIGLU], ids=["gelu", "swiglu"])
def test_layer_scale_is_in_the_projection_before_it(spec: VitSpec) -> None:
    made = exported(spec)
    weights, hub = made.checkpoint.weights, made.hub
    last = "mlp.down" if spec.mlp == "swiglu" else "mlp.fc2"
    for block, scale, layer in [(0, "ls1", "attn.proj"), (1, "ls1", "attn.proj"), (0, "ls2", last), (1, "ls2", last)]:
        name, factor = f"blocks.{block}.{layer}", weights[f"blocks.{block}.{scale}"].double().numpy()
        expected = weights[f"{name}.weight"].double().numpy() * factor[:, None]
        np.testing.assert_allclose(constant(hub, f"{name}.weight"), expected.T, rtol=1e-6)
        np.testing.assert_allclose(constant(hub, f"{name}.bias"), weights[f"{name}.bias"].double().numpy() * factor, rtol=1e-6)
        [add] = readers(hub, f"{name}.add")
        assert add.op_type == "Add"


def test_layer_scale_of_convnext_is_in_the_projection_before_it() -> None:
    made = exported(CONVNEXT)
    for stage in range(4):
        name = f"stages.{stage}.blocks.0"
        expected = made.checkpoint.weights[f"{name}.fc2.weight"] * made.checkpoint.weights[f"{name}.gamma"][:, None]
        np.testing.assert_allclose(constant(made.hub, f"{name}.fc2.weight"), expected.numpy().T, rtol=1e-6)


def test_attention_s_scale_is_in_q() -> None:
    made = exported(VIT)
    for block in range(2):
        name = f"blocks.{block}.attn"
        expected = made.checkpoint.weights[f"{name}.q.weight"].numpy().T / math.sqrt(64)
        np.testing.assert_allclose(constant(made.hub, f"{name}.q.weight"), expected, rtol=1e-6)
        assert [reader.op_type for reader in readers(made.hub, f"{name}.scores")] == ["Softmax"]


@pytest.mark.parametrize("spec", [VIT, SWIGLU, CLS_NORM, KEY_BIAS], ids=["vit", "swiglu", "cls-norm", "key-bias"])
def test_k_has_a_bias_only_where_the_spec_says_so(spec: VitSpec) -> None:
    made = exported(spec)
    hub = made.hub
    for block in range(spec.depth):
        after = {reader.op_type for reader in readers(hub, f"blocks.{block}.attn.k")}
        bias = f"blocks.{block}.attn.k.bias"
        if spec == KEY_BIAS:
            assert after == {"Add"}
            np.testing.assert_array_equal(constant(hub, bias), made.checkpoint.weights[bias].numpy())
        else:
            assert after == {"Reshape"}
            assert bias not in constants(hub)


@pytest.mark.parametrize("spec", [SHALLOW, replace(SHALLOW, registers=0)], ids=["registers", "none"])
@pytest.mark.parametrize("size", [SMALL, Size(48, 32)], ids=str)
def test_rope_is_two_tables_of_this_size(spec: VitSpec, size: Size) -> None:
    """Against the formula in float64: base 100, patch centres in [-1, 1], CLS and registers not turned."""
    hub = exported(spec, size).hub
    rows, columns = size.height // 16, size.width // 16
    periods = 100.0 ** (np.arange(16) / 16)
    y, x = np.meshgrid((np.arange(rows) + 0.5) / rows * 2 - 1, (np.arange(columns) + 0.5) / columns * 2 - 1, indexing="ij")
    angles = 2 * np.pi * np.stack([y.ravel(), x.ravel()], -1)[:, :, None] / periods
    angles = np.tile(angles.reshape(rows * columns, 32), 2)
    prefix = 1 + spec.registers
    tables = [value for value in constants(hub).values() if value.shape == (1, 1, prefix + rows * columns, 64)]
    assert len(tables) == 2
    cos = np.concatenate([np.ones((prefix, 64)), np.cos(angles)])
    sin = np.concatenate([np.zeros((prefix, 64)), np.sin(angles)])
    for expected in (cos, sin):
        assert min(np.abs(table[0, 0] - expected).max() for table in tables) < 1e-5


# --- what it computes


@pytest.mark.parametrize("optimise", [True, False], ids=["optimised", "as it stands"])
def test_computes_what_the_unfolded_model_does(made: Exported, optimise: bool) -> None:
    assert_same_features(features_of(open_session(made.graph, optimise=optimise), made.frames), made.expected)


@pytest.mark.parametrize(
    ("spec", "size"),
    [
        (SHALLOW, Size(480, 640)),
        (SHALLOW, Size(720, 1280)),
        (SHALLOW, Size(16, 16)),
        (CONVNEXT, Size(480, 640)),
    ],
    ids=lambda value: str(value) if isinstance(value, Size) else value.kind,
)
def test_any_multiple_of_the_stride_is_accepted(spec: Spec, size: Size) -> None:
    made = exported(spec, size)
    assert_same_features(features_of(open_session(made.hub), made.frames), made.expected)


@pytest.mark.parametrize("spec", [VIT, CONVNEXT], ids=["vit", "convnext"])
def test_frames_of_a_batch_do_not_touch_each_other(spec: Spec) -> None:
    made = exported(spec, batch=2)
    features = features_of(open_session(made.hub), made.frames)
    assert_same_features(features, made.expected)
    single = open_session(exported(spec).hub)
    for index in range(2):
        alone = features_of(single, made.frames[index : index + 1])
        for name, value in alone.items():
            np.testing.assert_allclose(features[name][index : index + 1], value, atol=1e-4 * np.abs(value).max())
    assert np.abs(features["patches"][0] - features["patches"][1]).max() > 0.1


def test_registers_and_layers_on_request() -> None:
    made = exported(CLS_NORM, registers=True, layers=(0, 1))
    shapes = {output.name: _shape(output) for output in made.hub.graph.output}
    grid = [1, 4, 6, 64]
    assert shapes == {"cls": [1, 64], "patches": grid, "registers": [1, 4, 64], "patches_0": grid, "patches_1": grid}
    features = features_of(open_session(made.hub), made.frames)
    assert_same_features(features, made.expected)
    np.testing.assert_allclose(features["patches_1"], features["patches"], atol=1e-4)
    assert np.abs(features["patches_0"] - features["patches"]).max() > 0.1


def test_layers_of_convnext_have_their_stage_s_resolution() -> None:
    made = exported(CONVNEXT, layers=(0, 2, 3), registers=True)
    shapes = {output.name: _shape(output) for output in made.hub.graph.output}
    assert shapes == {
        "cls": [1, 48],
        "patches": [1, 2, 3, 48],
        "patches_0": [1, 16, 24, 16],
        "patches_2": [1, 4, 6, 32],
        "patches_3": [1, 2, 3, 48],
    }
    assert_same_features(features_of(open_session(made.hub), made.frames), made.expected)


def test_colours_are_read_as_rgb() -> None:
    made = exported(VIT)
    session = open_session(made.hub)
    swapped = features_of(session, np.ascontiguousarray(made.frames[..., ::-1]))
    assert np.abs(swapped["cls"] - made.expected["cls"]).max() > 0.01
    np.testing.assert_allclose(swapped["cls"], made.features(made.frames[..., ::-1])["cls"], atol=1e-4)


def test_black_and_white_frames_are_finite_and_right() -> None:
    made = exported(VIT)
    session = open_session(made.hub)
    for value in (0, 255):
        frames = np.full_like(made.frames, value)
        assert_same_features(features_of(session, frames), made.features(frames))


# --- refusals


@pytest.mark.parametrize(
    ("spec", "size", "nearest"),
    [
        (VIT, Size(100, 100), "96x96 or 112x112"),
        (VIT, Size(225, 224), "224x224 or 240x224"),
        (VIT, Size(720, 1279), "720x1264 or 720x1280"),
        (VIT, Size(7, 32), "16x32"),
        (CONVNEXT, Size(240, 240), "224x224 or 256x256"),
    ],
    ids=lambda value: str(value) if isinstance(value, Size) else "",
)
def test_other_sizes_are_refused_with_the_two_nearest(spec: Spec, size: Size, nearest: str) -> None:
    with pytest.raises(InputSizeError) as caught:
        assemble(random_checkpoint(spec), size, folded=True)
    assert nearest in caught.value.remedy
    assert str(size) in caught.value.what


@pytest.mark.parametrize("layers", [(2,), (-1,), (0, 7), (1, 1)], ids=str)
def test_layers_that_the_model_does_not_have_are_refused(layers: tuple[int, ...]) -> None:
    with pytest.raises(RequestError, match="layers") as caught:
        assemble(random_checkpoint(VIT), SMALL, folded=False, layers=layers)
    assert "0 to 1" in str(caught.value)


class _Unexportable(nn.Module):
    def forward(self, pixels: Tensor, registers: bool, layers: tuple[int, ...]) -> dict[str, Tensor]:
        return {"cls": torch.linalg.svdvals(pixels[:, 0]), "patches": pixels}


def test_what_the_exporter_cannot_do_is_an_export_error(capfd: pytest.CaptureFixture[str]) -> None:
    model = CameraModel(_Unexportable(), None)  # type: ignore[arg-type]
    with pytest.raises(ExportError, match="could not export") as caught:
        export(model, VIT, Size(16, 16), 1)
    assert caught.value.evidence
    assert caught.value.remedy
    assert capfd.readouterr().out == ""


def test_sessions_refuse_a_broken_graph() -> None:
    hub = exported(VIT).hub
    node(hub, "blocks.0.mlp.fc1").input[1] = "nowhere"
    with pytest.raises(RuntimeFailure, match="refuses the graph") as caught:
        open_session(ir.from_proto(hub))
    assert "nowhere" in str(caught.value)


def test_photographs_differ() -> None:
    """What the tests above run on: frames that a model can tell apart."""
    frames = pictures(SMALL, 2)
    assert frames.dtype == np.uint8
    assert frames.std() > 20
    assert np.abs(frames[0].astype(int) - frames[1]).mean() > 10
