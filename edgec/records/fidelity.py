"""How much of float32's features, and of its decisions, one stage kept: records of reports and manifests.

Nothing here knows the truth: an agreement of 1 says that a head decides as the float32 one does, right or wrong.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgec.records.base import Record
from edgec.records.evidence import Evidence

Output = Literal["scores", "labels", "logits", "depth", "values"]
"""As `edgec.heads.types.Output`, which readers of reports and robots need not have."""


class Classes(Record):
    """Of `scores`, a class a frame. A margin is the score of the class that float32 chose less the best of the others: below zero
    where the other head chooses another. Both are means over frames."""

    agreement: float = Field(ge=0, le=1)
    margin_float32: float
    margin_shipped: float
    smallest_margin: float
    """Of the shipped head, over all frames."""


class Masks(Record):
    """Of label maps. `iou` is by class, the intersection over the union of float32's pixels and the shipped ones'; None where
    neither has any. `mean_iou` is over the others."""

    pixel_agreement: float = Field(ge=0, le=1)
    mean_iou: float = Field(ge=0, le=1)
    iou: tuple[float | None, ...]


class Depths(Record):
    """Of depth maps: |shipped - float32| / |float32| on average over pixels, and the root of the mean squared difference, in the
    map's own unit."""

    relative_error: float = Field(ge=0)
    rmse: float = Field(ge=0)


class Vectors(Record):
    """Of plain values: cosines along the last axis."""

    cosine_mean: float = Field(ge=-1.0001, le=1.0001)
    cosine_min: float = Field(ge=-1.0001, le=1.0001)


class TaskFidelity(Record):
    """One output of a head; exactly one of the last four is there."""

    head: str
    """The output's name, which is the head's, unless an ONNX head has several."""
    output: Output
    classes: Classes | None = None
    masks: Masks | None = None
    depths: Depths | None = None
    values: Vectors | None = None

    @property
    def retained(self) -> float:
        """The one figure that orders candidates, 1 for float32's own: agreement, mean IoU, 1 less the relative error, the
        smallest cosine."""
        if self.classes:
            return self.classes.agreement
        if self.masks:
            return self.masks.mean_iou
        if self.depths:
            return 1 - self.depths.relative_error
        return self.values.cosine_min if self.values else 0.0


class StageFidelity(Record):
    """Cosines between one stage's features and those of the float32 PyTorch model, on frames that calibration never saw; and the
    same of what heads make of them. The cosines are None where a model gives no features, but its heads' outputs alone.

    `patch_cosine_p01` is the first percentile over all patches of all frames. `registers_cosine_mean` is reported, never gated.
    """

    stage: str
    cls_cosine_mean: float | None = Field(ge=-1.0001, le=1.0001)
    patch_cosine_mean: float | None = Field(ge=-1.0001, le=1.0001)
    patch_cosine_p01: float | None = Field(ge=-1.0001, le=1.0001)
    frames: int = Field(ge=1)
    evidence: Evidence
    tasks: tuple[TaskFidelity, ...] = ()
    """One for each output of a head, in the outputs' order."""

    @property
    def cosines(self) -> tuple[float, ...]:
        """The three, or none."""
        three = (self.cls_cosine_mean, self.patch_cosine_mean, self.patch_cosine_p01)
        return tuple(value for value in three if value is not None)


class HeadFacts(Record):
    """A head that is part of the model."""

    name: str
    kind: Literal["linear", "segmentation", "mlp", "depth", "onnx"]
    output: Output
    outputs: tuple[str, ...]
    """The model's outputs that are this head's."""
    classes: tuple[str, ...] = ()
    """By index."""
    reads: tuple[str, ...]
    """Names of the backbone's features."""
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """Of its file and, where there is one, the TOML beside it."""
