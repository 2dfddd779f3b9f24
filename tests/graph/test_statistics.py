"""Statistics of activations, against what PyTorch's own modules see."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgec.errors import CalibrationError
from edgec.graph.files import serialised
from edgec.graph.operations import operations
from edgec.graph.plan import Range
from edgec.graph.session import open_session
from edgec.graph.statistics import Statistics, load_statistics, observe, save_statistics, stacked
from edgec.precision.static import int8_activations
from tests.support.frames import pictures
from tests.support.models import SMALL, SPECS, VIT, Exported, exported
from tests.support.onnx_graphs import replace_constant
from tests.support.plans import observed_ranges


def torch_ranges(made: Exported, frames: NDArray[np.uint8]) -> dict[str, tuple[float, float]]:
    """By operation: the extremes, zero included, of what each layer of the folded model reads."""
    model = made.model(folded=True)
    seen: dict[str, list[Tensor]] = {}
    for name, module in model.backbone.named_modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            module.register_forward_pre_hook(lambda _, inputs, name=name: seen.setdefault(name, []).append(inputs[0]))
    with torch.inference_mode():
        for frame in frames:
            model(torch.from_numpy(frame[None]))
    return {
        name: (min(0.0, *(float(value.min()) for value in values)), max(0.0, *(float(value.max()) for value in values)))
        for name, values in seen.items()
    }


@pytest.mark.parametrize("kind", ["vit", "swiglu", "convnext"])
def test_ranges_are_the_extremes_over_all_frames(kind: str) -> None:
    made, frames = exported(SPECS[kind]), pictures(SMALL, 7)
    hub = made.graph
    ranges = observed_ranges(hub, int8_activations(hub), frames, 1)
    expected = torch_ranges(made, frames)
    checked = 0
    for operation in operations(hub):
        if operation.activation not in ranges:
            continue
        seen, wanted = ranges[operation.activation], expected[operation.name]
        width = wanted[1] - wanted[0]
        assert seen.low == pytest.approx(wanted[0], abs=1e-4 * width)
        assert seen.high == pytest.approx(wanted[1], abs=1e-4 * width)
        assert seen.low <= 0 <= seen.high
        checked += 1
    assert checked == (11 if kind == "convnext" else 12 if kind == "vit" else 14)


def test_no_frame_is_missed() -> None:
    """The set's range is that of its frames together, and every frame widens some."""
    hub = exported(VIT).graph
    tensors, frames = int8_activations(hub), pictures(SMALL, 3)
    together = observed_ranges(hub, tensors, frames, 1)
    alone = [observed_ranges(hub, tensors, [frame], 1) for frame in frames]
    for tensor in tensors:
        assert together[tensor].low == min(seen[tensor].low for seen in alone)
        assert together[tensor].high == max(seen[tensor].high for seen in alone)
    assert all(any(seen[tensor].high == together[tensor].high for tensor in tensors) for seen in alone)


def test_frames_need_not_fill_the_last_batch() -> None:
    frames = pictures(SMALL, 5)
    single, double = exported(VIT).graph, exported(VIT, batch=2).graph
    one, two = (observed_ranges(hub, int8_activations(hub), frames, batch) for hub, batch in ((single, 1), (double, 2)))
    assert list(one) == list(two)
    for tensor, seen in one.items():
        assert (two[tensor].low, two[tensor].high) == pytest.approx((seen.low, seen.high), rel=1e-4, abs=1e-6)


def test_stacks_repeat_the_last_frame() -> None:
    frames = pictures(SMALL, 5)
    stacks = list(stacked(frames, 2))
    assert [stack.shape for stack in stacks] == [(2, 64, 96, 3)] * 3
    np.testing.assert_array_equal(np.concatenate(stacks)[:5], frames)
    np.testing.assert_array_equal(stacks[2][1], frames[4])
    assert list(stacked([], 2)) == []
    assert len(list(stacked(frames[:4], 2))) == 2


def test_frames_are_released_one_by_one() -> None:
    """Memory must not grow with the number of frames."""
    alive: list[weakref.ref[NDArray[np.uint8]]] = []

    def frames() -> Iterator[NDArray[np.uint8]]:
        for frame in pictures(SMALL, 8):
            copy = frame.copy()
            alive.append(weakref.ref(copy))
            yield copy
            del copy
            assert sum(reference() is not None for reference in alive) <= 2

    hub = exported(VIT).graph
    observed_ranges(hub, int8_activations(hub)[:1], frames(), 1)
    assert len(alive) == 8


@pytest.mark.parametrize("value", [np.nan, np.inf], ids=str)
@pytest.mark.parametrize(
    ("weight", "tensor"),
    [
        ("blocks.1.mlp.fc1.weight", "blocks.1.mlp.mul_2"),
        ("blocks.0.norm2.bias", "blocks.0.norm2"),
        ("blocks.0.attn.v.weight", "blocks.0.attn.reshape_4"),
    ],
    ids=["fc1", "norm2", "v"],
)
def test_one_bad_weight_is_found_and_the_activation_named(weight: str, tensor: str, value: float) -> None:
    """It spoils one channel in 64 of the activation named here; everything before is sound."""
    hub = exported(VIT).graph

    def spoil(values: NDArray[np.float32]) -> NDArray[np.float32]:
        values[..., 3] = value
        return values

    replace_constant(hub, weight, spoil)
    with pytest.raises(CalibrationError, match="NaN or Inf") as caught:
        observed_ranges(hub, int8_activations(hub), pictures(SMALL, 2), 1)
    assert caught.value.evidence == (f"first at the activation {tensor}",)


def test_a_frame_that_gives_nan_is_found_wherever_it_is() -> None:
    """Weights that overflow on white frames only."""
    hub = exported(VIT).graph
    replace_constant(hub, "patch_embed.weight", lambda values: np.abs(values) * np.float32(1e37))
    black, white = np.zeros((64, 96, 3), np.uint8), np.full((64, 96, 3), 255, np.uint8)
    with pytest.raises(CalibrationError, match="NaN or Inf"):
        observed_ranges(hub, int8_activations(hub), [black, white, black], 1)
    observed_ranges(hub, int8_activations(hub), [black, black], 1)


def test_the_hub_graph_is_not_changed() -> None:
    made = exported(VIT)
    hub = made.graph
    observe(hub, int8_activations(hub), pictures(SMALL, 1), 1)
    assert serialised(hub) == made.content


def activations_of(made: Exported, frames: NDArray[np.uint8], operation: str) -> list[NDArray[np.float32]]:
    """What one layer of the folded model reads, a frame an entry, [rows, channels]."""
    model, seen = made.model(folded=True), []
    module = model.backbone.get_submodule(operation)
    module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].reshape(-1, inputs[0].shape[-1]).numpy().copy()))
    with torch.inference_mode():
        for frame in frames:
            model(torch.from_numpy(frame[None]))
    return seen


def test_channels_rows_and_the_peak_are_those_of_the_activation() -> None:
    made, frames = exported(VIT), pictures(SMALL, 5)
    hub = made.graph
    fc2 = next(operation for operation in operations(hub) if operation.name == "blocks.1.mlp.fc2")
    actual = observe(hub, [fc2.activation], frames, 1)[fc2.activation]
    seen = activations_of(made, frames, fc2.name)
    together = np.concatenate(seen)
    np.testing.assert_allclose(actual.low, together.min(axis=0), atol=1e-4)
    np.testing.assert_allclose(actual.high, together.max(axis=0), atol=1e-4)
    np.testing.assert_allclose(actual.mean, together.mean(axis=0), atol=1e-4)
    assert float(actual.usual) == pytest.approx(np.abs(together).max(axis=1).mean(), rel=1e-4)
    frame, row, channel = actual.peak
    assert abs(seen[frame][row, channel]) == pytest.approx(np.abs(together).max(), rel=1e-4)
    distances = np.abs(actual.rows[:, None] - together[None]).max(axis=2).min(axis=1)
    assert len(actual.rows) == 40
    assert distances.max() < 1e-4 * np.abs(together).max(), "every kept row is a row of the activation"


def test_the_same_seed_draws_the_same_rows_and_memory_stays_bounded() -> None:
    hub, frames = exported(VIT).graph, pictures(SMALL, 6)
    [tensor] = int8_activations(hub)[:1]
    many = [frames[index % 6] for index in range(45)]
    first, again, other = (observe(hub, [tensor], many, 1, seed=seed)[tensor].rows for seed in (1, 1, 2))
    assert first.shape == (256, 64), "45 batches of 8 rows, of which 256 are kept"
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("limit", [1024, 40], ids=["whole", "blocks"])
def test_covariance_is_that_of_the_activation(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All its rows drawn, in effect: many batches of one frame."""
    monkeypatch.setattr("edgec.graph.statistics.BLOCK", limit)
    made, frames = exported(VIT), pictures(SMALL, 1)
    hub = made.graph
    fc2 = next(operation for operation in operations(hub) if operation.name == "blocks.1.mlp.fc2")
    actual = observe(hub, [fc2.activation], [frames[0]] * 60, 1)[fc2.activation]
    watched = exported(VIT).hub
    watched.graph.output.append(next(value for value in watched.graph.value_info if value.name == fc2.activation))
    rows = open_session(watched).run([fc2.activation], {"frames": frames})[0].reshape(-1, 128)
    size = actual.covariance.shape[-1]
    assert actual.covariance.shape == ((1, 128, 128) if limit == 1024 else (4, 32, 32))
    exact = np.cov(rows.T, bias=True)
    for index, block in enumerate(actual.covariance):
        expected = exact[index * size : (index + 1) * size, index * size : (index + 1) * size]
        np.testing.assert_allclose(block, expected, atol=0.08 * np.diag(exact).max())
    moments = actual.moments[0] - actual.covariance[0]
    np.testing.assert_allclose(moments, np.outer(actual.mean[:size], actual.mean[:size]), atol=1e-4 * np.abs(moments).max())


def test_scaling_statistics_is_scaling_the_activation() -> None:
    made, frames = exported(VIT), pictures(SMALL, 3)
    [tensor] = int8_activations(made.graph)[:1]
    actual = observe(made.graph, [tensor], frames, 1)[tensor]
    scale = np.linspace(0.5, 4, 64, dtype=np.float32)
    scaled = actual.scaled(scale)
    np.testing.assert_allclose(scaled.rows * scale, actual.rows, rtol=1e-5)
    np.testing.assert_allclose(scaled.covariance[0] * np.outer(scale, scale), actual.covariance[0], rtol=1e-4)
    assert scaled.range.high == pytest.approx(max(0.0, float((actual.high / scale).max())))


def test_statistics_survive_their_file(tmp_path: Path) -> None:
    hub = exported(VIT).graph
    actual = observe(hub, int8_activations(hub)[:2], pictures(SMALL, 2), 1)
    save_statistics(tmp_path / "statistics.npz", actual)
    back = load_statistics(tmp_path / "statistics.npz")
    assert list(back) == list(actual)
    for name, entry in actual.items():
        for field in fields(Statistics):
            np.testing.assert_array_equal(getattr(back[name], field.name), getattr(entry, field.name))


def test_a_range_must_hold_zero() -> None:
    for low, high in ((0.1, 2.0), (-2.0, -0.1), (float("nan"), 1.0), (0.0, float("nan")), (1.0, -1.0)):
        with pytest.raises(ValueError, match="must hold zero"):
            Range(low, high)
    assert Range(0.0, 0.0) == Range(-0.0, 0.0)
