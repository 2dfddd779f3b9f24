"""The float32 PyTorch model's features on validation frames: what every later stage is compared with.

They are kept on disk and read through memory maps, so that a ViT-L at 720x1280 needs no more memory than a ViT-T at 224.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgec.batches import batches
from edgec.errors import CheckpointError
from edgec.fidelity.metrics import Features, Fidelity
from edgec.frames.types import Pixels
from edgec.records.fidelity import HeadFacts

if TYPE_CHECKING:
    from torch import nn

FRAMES = "frames.npy"


@dataclass(frozen=True)
class Reference:
    """`frames` uint8 [M, H, W, 3]; `features` by output name, [M, …], float32, or int32 where a head gives labels. Both are
    memory maps, not to be written to. `heads` are those whose outputs are among the features."""

    frames: NDArray[np.uint8]
    features: Features
    heads: tuple[HeadFacts, ...] = ()
    key: str = ""
    """The cache key of what it was made from, if it comes from a cache."""
    gflops: float = 0.0
    """What a frame takes the model, where that is known."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of all features."""
        return tuple(self.features)

    def only(self, outputs: Collection[str]) -> Reference:
        """The reference with these outputs alone."""
        return replace(self, features={name: value for name, value in self.features.items() if name in outputs})

    def fidelity(self) -> Fidelity:
        """An empty `Fidelity` for comparing with this reference."""
        return Fidelity(self.heads, features="patches" in self.features)

    def batches(self, size: int) -> Iterator[tuple[NDArray[np.uint8], Features, int]]:
        """Frames as [size, H, W, 3], the features expected of them, and how many of them are real (`edgec.batches`)."""
        for batch, places in batches(self.frames, size):
            yield batch, {name: array[places] for name, array in self.features.items()}, places.stop - places.start


def frame_features(model: nn.Module, frame: Pixels) -> Features:
    """The outputs of a camera model by name, [1, …], for one frame, uint8 [H, W, 3]."""
    import torch

    with torch.inference_mode():
        return {name: value.numpy() for name, value in model(torch.from_numpy(frame[None].copy())).items()}


def write_reference(model: nn.Module, frames: list[Pixels], directory: Path, step: Callable[[], None]) -> None:
    """Run each frame, uint8 [H, W, 3], through the unfolded model, and write frames and features. Raises `CheckpointError` if a
    feature is not finite."""
    np.save(directory / FRAMES, np.stack(frames))
    maps: Features = {}
    for index, frame in enumerate(frames):
        for name, value in frame_features(model, frame).items():
            if not np.isfinite(value).all():
                raise CheckpointError(
                    f"The float32 model computes NaN or Inf in {name!r}: its weights are finite, but too large.",
                    evidence=f"on validation frame {index} of {len(frames)}",
                    remedy="check where the checkpoint comes from; `edgec inspect` shows what is odd about it",
                )
            if name not in maps:
                shape = (len(frames), *value.shape[1:])
                maps[name] = np.lib.format.open_memmap(  # type: ignore[no-untyped-call]
                    directory / f"feature-{name}.npy", mode="w+", dtype=value.dtype, shape=shape
                )
            maps[name][index] = value[0]
        step()


def read_reference(directory: Path, outputs: Sequence[str], heads: tuple[HeadFacts, ...] = ()) -> Reference:
    """What `write_reference` wrote of these outputs, as memory maps."""
    frames = np.load(directory / FRAMES, mmap_mode="r", allow_pickle=False)
    features = {name: np.load(directory / f"feature-{name}.npy", mmap_mode="r", allow_pickle=False) for name in outputs}
    return Reference(frames, features, heads)
