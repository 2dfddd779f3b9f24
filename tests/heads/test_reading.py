"""Head files: whose layouts are read, what travels with them, and what is refused with evidence."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from edgec.errors import CheckpointError, EdgecError, RequestError, UnreadableCheckpoint, UnsafeCheckpoint
from edgec.heads import Head, HeadError, check_heads, identify_heads, read_head, read_heads
from edgec.model.spec import FAMILY, Size, VitSpec
from tests.support import heads as made
from tests.support.commands import python
from tests.support.models import CONVNEXT, VIT

DEEP = replace(VIT, depth=4)
SIZE = Size(64, 96)
State = dict[str, Tensor]


def refused(path: Path, *parts: str, kind: type[EdgecError] = HeadError) -> None:
    """Reading fails with one error that has a sentence, evidence and these parts."""
    with pytest.raises(EdgecError) as caught:
        read_head("kind", path)
    assert type(caught.value) is kind, str(caught.value)
    assert caught.value.exit_code == CheckpointError.exit_code
    for part in parts:
        assert part in str(caught.value)


def test_metas_classifier_is_read_as_it_is(tmp_path: Path) -> None:
    """dinov3_vit7b16_imagenet1k_linear_head: the state of an nn.Linear on CLS and the patches' mean."""
    torch.save(torch.nn.Linear(128, 10).state_dict(), tmp_path / "linear_head-90d8ed92.pth")
    head = read_head("kind", tmp_path / "linear_head-90d8ed92.pth")
    assert (head.kind, head.output, head.inputs) == ("linear", "scores", ("cls", "patches"))
    check_heads([head], DEEP, SIZE)


def test_metas_segmentation_is_read_as_its_training_saves_it(tmp_path: Path) -> None:
    head = torch.nn.ModuleDict({"batchnorm_layer": torch.nn.BatchNorm2d(64), "conv": torch.nn.Conv2d(64, 5, 1)})
    state = {f"segmentation_model.1.{name}": value for name, value in head.state_dict().items()}
    torch.save({"model": state, "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}}}, tmp_path / "model_final.pth")
    head = read_head("floor", tmp_path / "model_final.pth")
    assert (head.kind, head.output, head.inputs) == ("segmentation", "labels", ("patches",))
    assert head.weights["weight"].shape == (5, 64)
    np.testing.assert_array_equal(head.weights["norm.variance"], np.ones(64))


@pytest.mark.parametrize("wrapper", ["", "module."])
def test_one_of_several_classifiers_of_an_evaluation(wrapper: str, tmp_path: Path) -> None:
    state = {
        f"{wrapper}classifiers_dict.classifier_1_blocks_avgpool_True_lr_{rate}.linear.{part}": value + index
        for index, rate in enumerate(("0_00100", "0_01000"))
        for part, value in torch.nn.Linear(128, 4).state_dict().items()
    }
    path = tmp_path / "checkpoint.pth"
    torch.save({"iteration": 7, "linear_classifiers": state}, path)
    refused(path, "2 linear classifiers", "lr_0_01000", "prefix")
    chosen = "linear_classifiers.classifiers_dict.classifier_1_blocks_avgpool_True_lr_0_01000.linear"
    path.with_suffix(".toml").write_text(f'kind = "linear"\nprefix = "{chosen}"\n')
    expected = state[f"{wrapper}classifiers_dict.classifier_1_blocks_avgpool_True_lr_0_01000.linear.weight"]
    np.testing.assert_array_equal(read_head("kind", path).weights["weight"], expected.numpy())


def test_metas_depth_head_needs_a_description(tmp_path: Path) -> None:
    path = tmp_path / "dinov3_vitl16_synthmix_dpt_head.pth"
    torch.save(made.dpt_tensors([64] * 4), path)
    refused(path, "which layers", "dpt_head.toml")
    path.with_suffix(".toml").write_text('kind = "depth"\nlayers = [0, 1, 2, 3]\nmin_depth = 0.001\nmax_depth = 100.0\n')
    head = read_head("depth", path)
    assert head.inputs == ("patches_0", "patches_1", "patches_2", "patches_3")
    check_heads([head], DEEP, SIZE)


def test_the_toml_overrides_the_metadata_and_is_in_the_hash(tmp_path: Path) -> None:
    head = made.segmentation(tmp_path, 64)
    assert head.classes == made.CLASSES
    (tmp_path / "floor.toml").write_text('output = "logits"\nclasses = ["a", "b", "c"]\n')
    again = read_head("floor", tmp_path / "floor.safetensors")
    assert (again.output, again.classes) == ("logits", ("a", "b", "c"))
    assert again.sha256 != head.sha256
    assert again.facts["classes"] == ["a", "b", "c"]


def test_half_precision_and_plain_names_are_read(tmp_path: Path) -> None:
    tensors = {name: value.half() for name, value in made.drawn(0, weight=(3, 64), bias=(3,)).items()}
    head = read_head("kind", made.write(tmp_path / "kind.safetensors", tensors, kind="linear", features="cls"))
    assert head.weights["weight"].dtype == np.float32
    assert head.inputs == ("cls",)


# --- heads for another backbone: both numbers


@pytest.mark.parametrize(
    ("make", "spec", "numbers"),
    [
        (lambda folder: made.linear(folder, 64), FAMILY["vits16"], ("64", "384")),
        (lambda folder: made.linear(folder, 384, features="cls"), VIT, ("384", "64")),
        (lambda folder: made.segmentation(folder, 768), VIT, ("768", "64")),
        (lambda folder: made.segmentation(folder, 128, layers=(1, 5)), VIT, ("1, 5", "0 to 1")),
        (lambda folder: made.segmentation(folder, 64), CONVNEXT, ("64", "48")),
        (lambda folder: made.mlp(folder, 96), VIT, ("96", "64")),
        (lambda folder: made.depth(folder, (96,) * 4, (0, 1, 2, 3)), DEEP, ("96", "64")),
        (lambda folder: made.depth(folder, (64,) * 4, (2, 5, 8, 11)), DEEP, ("2, 5, 8, 11", "0 to 3")),
        (lambda folder: made.depth(folder, (24, 16, 32, 48), (1, 0, 2, 3)), CONVNEXT, ("[1, 0, 2, 3]", "[0, 1, 2, 3]")),
    ],
    ids=["cls+mean", "cls", "segmentation", "layers", "convnext", "mlp", "depth", "depth-layers", "depth-convnext"],
)
def test_a_head_for_another_backbone_is_refused(
    make: Callable[[Path], object], spec: VitSpec, numbers: tuple[str, str], tmp_path: Path
) -> None:
    with pytest.raises(HeadError) as caught:
        check_heads([make(tmp_path)], spec, SIZE)  # type: ignore[list-item]
    for number in numbers:
        assert number in " ".join(caught.value.evidence)


def test_another_patch_is_refused_with_both_numbers(tmp_path: Path) -> None:
    path = made.write(tmp_path / "a.safetensors", made.drawn(0, weight=(2, 64), bias=(2,)), kind="segmentation", patch=14)
    with pytest.raises(HeadError, match="14 pixels; this model has 16"):
        check_heads([read_head("floor", path)], VIT, SIZE)


def test_a_map_beyond_all_memory_is_refused(tmp_path: Path) -> None:
    path = made.write(tmp_path / "a.safetensors", made.drawn(0, weight=(1000, 64), bias=(1000,)), kind="segmentation")
    head = read_head("floor", path)
    check_heads([head], VIT, SIZE)
    with pytest.raises(HeadError, match="1000 channels of 1072x1904"):
        check_heads([head], VIT, Size(1072, 1904))


# --- files that cannot be used


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda state: state.pop("conv.weight"), ("weight is missing",)),
        (lambda state: state.pop("batchnorm_layer.running_var"), ("norm.variance is missing", "64")),
        (lambda state: state.update({"conv.bias": torch.zeros(4)}), ("bias is 4", "needed 3")),
        (lambda state: state.update({"conv.weight": torch.zeros(3, 64, 3, 3)}), ("3x64x3x3",)),
        (lambda state: state.update({"extra": torch.zeros(1)}), ("extra",)),
        (lambda state: state["conv.weight"].fill_(torch.nan), ("NaN",)),
        (lambda state: state["batchnorm_layer.running_var"].fill_(-1), ("negative",)),
        (lambda state: state.update({"conv.bias": torch.zeros(3, dtype=torch.int64)}), ("no plain tensor of floats",)),
    ],
    ids=["missing", "half a norm", "bias", "3x3", "extra", "nan", "variance", "integers"],
)
def test_tensors_that_make_no_head(change: Callable[[State], object], parts: tuple[str, ...], tmp_path: Path) -> None:
    names = {"weight": (64,), "bias": (64,), "running_mean": (64,), "running_var": (64,)}
    state = made.drawn(0, conv__weight=(3, 64, 1, 1), conv__bias=(3,), **{f"batchnorm_layer__{k}": v for k, v in names.items()})
    change(state)
    refused(made.write(tmp_path / "head.safetensors", state, kind="segmentation"), *parts)


@pytest.mark.parametrize(
    ("said", "parts"),
    [
        ({"kind": "transformer"}, ("kind",)),
        ({"kind": "linear", "clases": ["a"]}, ("clases", "the fields are")),
        ({"kind": "linear", "classes": ["a", "b"]}, ("2 names", "3 outputs")),
        ({"kind": "linear", "classes": ["a", "a", "b"]}, ("two classes",)),
        ({"kind": "linear", "classes": ["a", "\x1b[31m", "b"]}, ("cannot be printed",)),
        ({"kind": "linear", "layers": [1, 1]}, ("each once",)),
        ({"kind": "linear", "width": "wide"}, ("width",)),
        ({"kind": "linear", "output": "labels"}, ("labels", "scores")),
        ({"kind": "linear", "features": "cls", "width": 32}, ("64 inputs", "32")),
        ({"kind": "depth", "layers": [1]}, ("four layers", "[1]")),
        ({"kind": "mlp"}, ("0.weight",)),
        ({"classes": ["a", "b", "c"]}, ("kind",)),
        ({"kind": "onnx"}, ("not an .onnx file",)),
        ({"kind": "linear", "prefix": "nowhere"}, ("nowhere.",)),
        ({"kind": "depth", "layers": [0, 1, 2, 3], "min_depth": 5, "max_depth": 2}, ("min_depth 5",)),
        ({"kind": "depth", "layers": [3, 2, 1, 0]}, ("[3, 2, 1, 0]: ascending", "[0, 1, 2, 3]")),
        ({"kind": "segmentation", "features": "cls+mean"}, ("is for a linear classifier",)),
    ],
    ids=lambda value: json.dumps(value)[:40] if isinstance(value, dict) else "",
)
def test_descriptions_that_make_no_sense(said: dict[str, object], parts: tuple[str, ...], tmp_path: Path) -> None:
    refused(made.write(tmp_path / "head.safetensors", made.drawn(0, weight=(3, 64), bias=(3,)), **said), *parts)


@pytest.mark.parametrize("kind", ["linear", "segmentation"])
def test_one_class_would_always_win(kind: str, tmp_path: Path) -> None:
    """scikit-learn's classifier of two classes has one row: every label would be 0, and every agreement perfect."""
    path = made.write(tmp_path / "head.safetensors", made.drawn(0, coef_=(1, 64), intercept_=(1,)), kind=kind)
    refused(path, "one class", "two classes, the first with weights and bias 0")


def test_scikit_learns_names_are_read(tmp_path: Path) -> None:
    tensors = {name: value.double() for name, value in made.drawn(0, coef_=(3, 64), intercept_=(3,)).items()}
    head = read_head("kind", made.write(tmp_path / "head.safetensors", tensors, kind="linear", features="cls"))
    np.testing.assert_array_equal(head.weights["bias"], tensors["intercept_"].float().numpy())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: made.linear(folder, 32, features="cls+mean"), "32"),
        (lambda folder: made.segmentation(folder, 4 * 64), "4 layers side by side"),
        (lambda folder: made.segmentation(folder, 2 * 64), "CLS and patches together"),
    ],
    ids=["linear", "layers", "cls"],
)
def test_a_multiple_of_the_width_hints_at_the_description(make: Callable[[Path], Head], said: str, tmp_path: Path) -> None:
    with pytest.raises(HeadError, match=said):
        check_heads([make(tmp_path)], DEEP, SIZE)


def test_a_classifier_on_cls_alone_must_say_so(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(64, 3).state_dict(), tmp_path / "kind.pth")
    with pytest.raises(HeadError, match=r"32 each; this model's have 64[^|]*features = .cls"):
        check_heads([read_head("kind", tmp_path / "kind.pth")], VIT, SIZE)


def test_a_classifier_of_another_layer_than_the_last_is_refused(tmp_path: Path) -> None:
    path = made.write(tmp_path / "head.safetensors", made.drawn(0, weight=(3, 128), bias=(3,)), kind="linear")
    for layers, fits in (([3], True), ([1], False)):
        path.with_suffix(".toml").write_text(f"layers = {layers}\n")
        head = read_head("kind", path)
        if fits:
            check_heads([head], DEEP, SIZE)
        else:
            with pytest.raises(HeadError, match=r"\[1\]; a classifier gets the last one, 3"):
                check_heads([head], DEEP, SIZE)


def test_a_file_without_description_or_known_names_is_refused(tmp_path: Path) -> None:
    refused(made.write(tmp_path / "head.safetensors", made.drawn(0, a=(3, 64), b=(3,))), "what kind", "head.toml")


def test_a_depth_head_with_readout_is_refused(tmp_path: Path) -> None:
    tensors = made.dpt_tensors([64] * 4) | made.drawn(0, reassemble_blocks__readout_projects__0__0__weight=(64, 128))
    refused(made.write(tmp_path / "a.safetensors", tensors, kind="depth", layers=[0, 1, 2, 3]), "CLS", "readout_projects")


@pytest.mark.parametrize("content", [b'kind = "linear', b"\xff\xfe", b"kind = 1979-05-27", b"kind = nan"], ids=repr)
def test_invalid_toml_is_refused(content: bytes, tmp_path: Path) -> None:
    made.linear(tmp_path, 64)
    (tmp_path / "kind.toml").write_bytes(content)
    refused(tmp_path / "kind.safetensors", "kind.toml")


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    refused(tmp_path / "absent.pth", "There is no head")
    refused(tmp_path, "There is no head", "it is a folder")
    for name, content in {"empty.pth": b"", "page.pth": b"<!doctype html>", "noise.safetensors": b"\x80" * 50}.items():
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, name, "The head kind cannot be read", "To do", kind=UnreadableCheckpoint)


class Payload:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.path,)


def test_a_pickle_that_wants_to_run_is_not_run(tmp_path: Path) -> None:
    torch.save({"weight": Payload(tmp_path / "was here")}, tmp_path / "head.pth")
    refused(tmp_path / "head.pth", "not run", kind=UnsafeCheckpoint)
    assert not (tmp_path / "was here").exists()


@pytest.mark.parametrize(
    "asked", ["floor", "=a.pth", "floor=", "Floor=a.pth", "cls=a.pth", "patches_3=a.pth", "a b=a.pth", "x/y=a.pth"]
)
def test_names_that_no_output_can_have(asked: str) -> None:
    with pytest.raises(RequestError):
        read_heads([asked])


def test_two_heads_of_one_name(tmp_path: Path) -> None:
    made.linear(tmp_path, 64)
    with pytest.raises(RequestError, match="Two heads"):
        read_heads([f"kind={tmp_path / 'kind.safetensors'}"] * 2)


def test_a_key_needs_no_more_than_hashes(tmp_path: Path) -> None:
    head = made.linear(tmp_path, 64)
    asked = f"kind={tmp_path / 'kind.safetensors'}"
    assert identify_heads([asked]) == (("kind", head.sha256),)
    (tmp_path / "kind.toml").write_text('name = "other"\n')
    assert identify_heads([asked]) == (("kind", read_head("kind", tmp_path / "kind.safetensors").sha256),)
    assert identify_heads([asked])[0][1] != head.sha256
    code = f"import sys; from edgec.heads import identify_heads; identify_heads([{asked!r}])\n"
    done = python(code + "assert not {'torch', 'onnx', 'safetensors'} & set(sys.modules)", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
