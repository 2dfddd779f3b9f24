"""The models that int8 is judged by, and where the shared data for them is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.goals import RANDOM, TRAINED, Bounds
from benchmarks.outliers import plant, write_huggingface
from edgec.checkpoint import read
from edgec.model.spec import Size

MODELS = ("plain", "outlier", "wide", "convnext")
WIDE = ("vitb16", "vits16plus")
CONVNEXT = ("convnext_tiny",)
TRAINED_SIZES, RANDOM_SIZES = (Size(224, 224), Size(480, 640)), (Size(224, 224),)


@dataclass(frozen=True)
class Case:
    """One model at one size. `trained` weights have features that mean something."""

    model: str
    title: str
    checkpoint: str
    size: Size
    bounds: Bounds
    trained: bool

    @property
    def label(self) -> str:
        """As tables name it."""
        return f"{self.title} {self.size}"


def cases(models: Sequence[str], checkpoint: str, sizes: Sequence[Size], folder: Path) -> Iterator[Case]:
    """Each model at the sizes given, or at its own; checkpoints with outliers are written into `folder` as they come up."""
    for model in models:
        trained = model in ("plain", "outlier")
        bounds = TRAINED if trained else RANDOM
        for title, reference in _checkpoints(model, checkpoint, folder):
            for size in sizes or (TRAINED_SIZES if trained else RANDOM_SIZES):
                yield Case(model, title, reference, size, bounds, trained)


def _checkpoints(model: str, checkpoint: str, folder: Path) -> Iterator[tuple[str, str]]:
    if model == "plain":
        yield "plain", checkpoint
    elif model == "outlier":
        yield "outlier", _planted(checkpoint, folder)
    else:
        for arch in WIDE if model == "wide" else CONVNEXT:
            yield f"{model} {arch}", _planted(f"random:{arch}", folder)


def _planted(checkpoint: str, folder: Path) -> str:
    path = folder / f"{Path(checkpoint.removeprefix('random:')).name}-outliers"
    if not path.exists():
        write_huggingface(plant(read(checkpoint)), path)
    return str(path)


def data_folder() -> Path | None:
    """`$EDGEC_DATA`, or `shared/data` beside the checkout."""
    folder = Path(os.environ.get("EDGEC_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    return folder if (folder / "checkpoints").is_dir() else None
