"""The gates: an export that computes something else is refused by name, and features may not be lost on the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgec.errors import ExportError, FidelityError
from edgec.fidelity.gate import check_export, measure_fidelity, require_kept
from edgec.fidelity.metrics import compare
from edgec.fidelity.reference import Reference, read_reference, write_reference
from edgec.graph.session import features_of, open_session
from edgec.records.evidence import Evidence
from edgec.records.fidelity import StageFidelity
from tests.support.frames import pictures
from tests.support.models import CLS_NORM, CONVNEXT, SPECS, VIT, Exported, exported
from tests.support.onnx_graphs import AnyArray, constant, node, replace_constant

OUTPUTS = ("cls", "patches", "registers", "patches_0")


def reference_of(made: Exported, folder: Path, count: int = 3) -> Reference:
    write_reference(made.model(folded=False), list(pictures(made.size, count)), folder, lambda: None)
    outputs = tuple(output.name for output in made.hub.graph.output)
    return read_reference(folder, outputs)


def check(hub: onnx.ModelProto, reference: Reference, batch: int = 1) -> StageFidelity:
    session = open_session(hub)
    return check_export(reference, lambda frames: features_of(session, frames), batch, lambda: None)


@pytest.mark.parametrize("kind", ["vit", "swiglu", "key-bias", "cls-norm", "convnext"])
def test_a_good_export_passes(kind: str, tmp_path: Path) -> None:
    made = exported(SPECS[kind])
    actual = check(made.hub, reference_of(made, tmp_path))
    assert actual.stage == "hub"
    assert actual.frames == 3
    assert min(actual.cls_cosine_mean, actual.patch_cosine_mean, actual.patch_cosine_p01) > 0.999999


def test_frames_that_do_not_fill_the_last_batch_are_compared_too(tmp_path: Path) -> None:
    made = exported(VIT, batch=2)
    assert check(made.hub, reference_of(made, tmp_path), batch=2).frames == 3


def _flip(values: AnyArray) -> AnyArray:
    values.flat[np.abs(values).argmax()] *= -1
    return values


def _altered(name: str, change: Callable[[AnyArray], AnyArray] = _flip) -> Callable[[onnx.ModelProto], None]:
    return lambda hub: replace_constant(hub, name, change)


def _swap_tables(hub: onnx.ModelProto) -> None:
    cos, sin = (node(hub, f"blocks.0.attn.{name}").input[1] for name in ("mul", "mul_2"))
    first, second = constant(hub, cos).copy(), constant(hub, sin).copy()
    assert first.shape == second.shape == (1, 1, 29, 64)
    replace_constant(hub, cos, lambda _: second)
    replace_constant(hub, sin, lambda _: first)


@pytest.mark.parametrize(
    "damage",
    [
        _altered("patch_embed.weight"),
        _altered("patch_embed.bias"),
        _altered("concat.constant0"),
        _altered("blocks.0.norm1.weight"),
        _altered("blocks.0.attn.q.weight"),
        _altered("blocks.0.attn.k.weight"),
        _altered("blocks.1.attn.v.bias"),
        _altered("blocks.1.attn.proj.weight"),
        _altered("blocks.0.mlp.fc1.weight"),
        _altered("blocks.1.mlp.fc2.bias"),
        _altered("norm.bias"),
        _swap_tables,
    ],
    ids=["patch_embed", "patch_bias", "tokens", "norm1", "q", "k", "v_bias", "proj", "fc1", "fc2_bias", "norm", "rope"],
)
def test_one_wrong_constant_is_found(damage: Callable[[onnx.ModelProto], None], tmp_path: Path) -> None:
    """One value of one constant: its sign. The first output is already wrong."""
    made = exported(VIT)
    hub = made.hub
    damage(hub)
    with pytest.raises(ExportError, match="computes another 'cls'") as caught:
        check(hub, reference_of(made, tmp_path))
    assert "validation batch 0" in caught.value.evidence[0]
    assert "tolerated" in caught.value.evidence[1]


@pytest.mark.parametrize(
    "name",
    [
        "stages.0.downsample.weight",
        "stages.0.blocks.0.dwconv.weight",
        "stages.2.downsample_norm.weight",
        "stages.3.blocks.0.fc2.weight",
    ],
)
def test_one_wrong_constant_of_a_convnext_is_found(name: str, tmp_path: Path) -> None:
    made = exported(CONVNEXT)
    hub = made.hub
    replace_constant(hub, name, _flip)
    with pytest.raises(ExportError, match="computes another 'cls'"):
        check(hub, reference_of(made, tmp_path))


@pytest.mark.parametrize(
    ("damage", "output"),
    [
        (_altered("cls_norm.weight"), "cls"),
        (_altered("norm.weight"), "patches"),
        (_altered("blocks.1.mlp.fc2.bias"), "cls"),
    ],
    ids=["cls_norm", "norm", "fc2"],
)
def test_the_first_output_that_differs_is_named(damage: Callable[[onnx.ModelProto], None], output: str, tmp_path: Path) -> None:
    made = exported(CLS_NORM, registers=True, layers=(0,))
    hub = made.hub
    damage(hub)
    with pytest.raises(ExportError, match=f"computes another '{output}'"):
        check(hub, reference_of(made, tmp_path))


@pytest.mark.parametrize("output", OUTPUTS)
def test_every_output_is_compared(output: str, tmp_path: Path) -> None:
    made = exported(CLS_NORM, registers=True, layers=(0,))
    reference, session = reference_of(made, tmp_path), open_session(made.hub)

    def run(frames: np.ndarray) -> dict[str, np.ndarray]:
        features = features_of(session, frames)
        features[output] = features[output] + 0.01 * np.abs(features[output]).max()
        return features

    with pytest.raises(ExportError, match=f"computes another '{output}'"):
        check_export(reference, run, 1, lambda: None)


@pytest.mark.parametrize("bad", [np.nan, np.inf], ids=str)
def test_values_that_are_not_finite_are_differences(bad: float, tmp_path: Path) -> None:
    made = exported(VIT)
    reference, session = reference_of(made, tmp_path), open_session(made.hub)
    frame = 0

    def run(frames: np.ndarray) -> dict[str, np.ndarray]:
        nonlocal frame
        features = features_of(session, frames)
        if frame == 2:
            features["patches"][0, 3, 5, 7] = bad
        frame += 1
        return features

    with pytest.raises(ExportError, match="another 'patches'") as caught:
        check_export(reference, run, 1, lambda: None)
    assert "validation batch 2" in caught.value.evidence[0]


def test_measuring_ignores_the_filler_of_the_last_batch(tmp_path: Path) -> None:
    """The filler's features are spoilt: if they counted, it would show."""
    made = exported(VIT, batch=2)
    reference, session = reference_of(made, tmp_path), open_session(made.hub)
    steps: list[None] = []

    def run(frames: np.ndarray) -> dict[str, np.ndarray]:
        features = {name: value.copy() for name, value in features_of(session, frames).items()}
        if (frames[0] == frames[1]).all():
            for value in features.values():
                value[1] = np.nan
        return features

    actual = measure_fidelity(reference, run, 2, "a candidate", lambda: steps.append(None))
    assert actual.stage == "a candidate"
    assert actual.frames == 3
    assert actual.patch_cosine_p01 > 0.999
    assert len(steps) == 2


def test_measuring_and_comparing_agree(tmp_path: Path) -> None:
    made = exported(VIT)
    reference, session = reference_of(made, tmp_path), open_session(made.hub)
    random = np.random.default_rng(0)

    def run(frames: np.ndarray) -> dict[str, np.ndarray]:
        features = features_of(session, frames)
        return {name: (value + random.normal(0, 0.3, value.shape)).astype(np.float32) for name, value in features.items()}

    found = measure_fidelity(reference, run, 1, "x", lambda: None)
    random = np.random.default_rng(0)
    runs = [run(frame[None]) for frame in reference.frames]
    actual = {name: np.concatenate([features[name] for features in runs]) for name in ("cls", "patches")}
    assert found == compare(dict(reference.features), actual, "x", Evidence.HOST)


def fidelity(cls: float = 0.999, mean: float = 0.999, percentile: float = 0.99) -> StageFidelity:
    return StageFidelity(
        stage="x", cls_cosine_mean=cls, patch_cosine_mean=mean, patch_cosine_p01=percentile, frames=4, evidence=Evidence.HOST
    )


def test_features_may_not_be_lost_between_two_stages() -> None:
    require_kept(fidelity(), fidelity())
    require_kept(fidelity(), fidelity(percentile=0.9885))
    require_kept(fidelity(percentile=0.9), fidelity())
    for after in (fidelity(percentile=0.98), fidelity(cls=0.9), fidelity(mean=0.5)):
        with pytest.raises(FidelityError, match="other features than the candidate") as caught:
            require_kept(fidelity(), after)
        assert caught.value.exit_code == 7
