"""The reference on disk: what PyTorch computes, read back through memory maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edgec.errors import CheckpointError
from edgec.fidelity.reference import Reference, read_reference, write_reference
from tests.support.frames import pictures
from tests.support.models import SMALL, VIT, exported

NAMES = ("cls", "patches", "registers", "patches_0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = exported(VIT, registers=True, layers=(0,))
    steps: list[None] = []
    folder = tmp_path_factory.mktemp("reference")
    write_reference(made.model(folded=False), list(pictures(SMALL, 5)), folder, lambda: steps.append(None))
    assert len(steps) == 5
    return folder


@pytest.fixture
def reference(folder: Path) -> Reference:
    return read_reference(folder, NAMES)


def test_holds_what_pytorch_computes(reference: Reference) -> None:
    expected = exported(VIT, registers=True, layers=(0,)).features(pictures(SMALL, 5))
    assert reference.outputs == NAMES
    for name in NAMES:
        assert reference.features[name].dtype == np.float32
        np.testing.assert_allclose(reference.features[name], expected[name], atol=1e-5)
    np.testing.assert_array_equal(reference.frames, pictures(SMALL, 5))


def test_is_read_through_memory_maps(reference: Reference) -> None:
    for array in (reference.frames, *reference.features.values()):
        assert isinstance(array, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_is_written_frame_by_frame(tmp_path: Path) -> None:
    """At every step the frame's features are in the file already: nothing is gathered in memory first."""
    frames = list(pictures(SMALL, 3))
    seen: list[int] = []

    def step() -> None:
        written: NDArray[np.float32] = np.load(tmp_path / "feature-cls.npy", mmap_mode="r")
        seen.append(int((np.abs(written).sum(axis=1) > 0).sum()))

    write_reference(exported(VIT).model(folded=False), frames, tmp_path, step)
    assert seen == [1, 2, 3]


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_reference(exported(VIT).model(folded=False), list(pictures(SMALL, 2)), tmp_path / name, lambda: None)
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


@pytest.mark.parametrize("size", [1, 2, 4, 5, 8])
def test_batches_are_full_and_say_how_many_are_real(reference: Reference, size: int) -> None:
    batches = list(reference.batches(size))
    assert len(batches) == -(-5 // size)
    assert sum(real for _, _, real in batches) == 5
    for start, (frames, expected, real) in zip(range(0, 5, size), batches, strict=True):
        assert frames.shape == (size, 64, 96, 3)
        np.testing.assert_array_equal(frames[:real], reference.frames[start : start + real])
        for filler in frames[real:]:
            np.testing.assert_array_equal(filler, reference.frames[4])
        for name, value in expected.items():
            np.testing.assert_array_equal(value, reference.features[name][start : start + real])


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "frames.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="Python objects"):
        read_reference(tmp_path, ())


def test_features_that_are_not_finite_are_the_checkpoint_s_fault(tmp_path: Path) -> None:
    """Finite weights that overflow: nothing could be compared with such features."""
    model = exported(VIT).model(folded=False)
    with torch.no_grad():
        model.backbone.patch_embed.weight = torch.nn.Parameter(model.backbone.patch_embed.weight * 1e38, requires_grad=False)
    with pytest.raises(CheckpointError, match="NaN or Inf in 'cls'") as caught:
        write_reference(model, list(pictures(SMALL, 2)), tmp_path, lambda: None)
    assert caught.value.evidence == ("on validation frame 0 of 2",)
