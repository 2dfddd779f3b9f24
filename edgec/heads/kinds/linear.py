"""Linear classifiers: `scores` from CLS, from the mean of the patches, or from both concatenated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Literal, cast

import torch
from torch import Tensor, nn

from edgec.errors import HeadError
from edgec.heads.kinds.module import HeadModule, Shapes
from edgec.heads.types import Array, Description, Head, Output
from edgec.heads.weights import canonical, take_rows
from edgec.model.spec import Size, Spec


class LinearDescription(Description):
    """The fields of linear classifiers."""

    features: Literal["cls", "mean", "cls+mean"] | None = None
    """What a linear classifier reads: CLS, the mean of the patches, or both concatenated."""


class Linear(HeadModule):
    """Weights: weight [C, D] or [C, 2 D], bias [C]."""

    kind, gives, described_by, reads_layers = "linear", ("scores",), LinearDescription, False

    def __init__(self, described: Description, output: Output, shapes: Shapes) -> None:
        super().__init__(described, output, shapes)
        classes, width = shapes["weight"]
        self.scores = _Product(width, classes)

    def forward(self, features: Sequence[Tensor], frame: Size) -> Tensor:
        """Scores [N, C] from `cls` [N, D], the mean of `patches` [N, rows, columns, D], or both."""
        pooled = [x if x.ndim == 2 else x.mean(dim=(1, 2)) for x in features]
        scores: Tensor = self.scores(torch.cat(pooled, dim=1) if len(pooled) > 1 else pooled[0])
        return scores

    @classmethod
    def recognises(cls, names: Set[str], path: Path) -> bool:
        """The names in Meta's published classifiers."""
        return {canonical(name) for name in names} == {"weight", "bias"} and names != {"conv.weight", "conv.bias"}

    @classmethod
    def take(cls, described: Description, arrays: dict[str, Array], where: str) -> tuple[dict[str, Array], list[str]]:
        """The linear layer."""
        return take_rows(arrays)

    @classmethod
    def state(cls, described: Description, weights: Mapping[str, Array]) -> Mapping[str, Array]:
        """Under the module's names."""
        return {f"scores.{name}": value for name, value in weights.items()}

    @classmethod
    def inputs(cls, described: Description, weights: Mapping[str, Array]) -> tuple[str, ...]:
        """`cls`, `patches`, or both."""
        both = _vector_count(described, weights) == 2
        if features_of(described) == "mean":
            return ("patches",)
        return ("cls", "patches") if both else ("cls",)

    @classmethod
    def widths(cls, head: Head) -> list[int]:
        """One number, or the same for CLS and the mean."""
        count = _vector_count(head.description, head.weights)
        return [head.weights["weight"].shape[1] // count] * count

    @classmethod
    def problems(cls, described: Description) -> list[str]:
        """`features` is for linear classifiers alone."""
        features = features_of(described)
        if not features or described.kind == cls.kind:
            return []
        return [f'features "{features}" is for a linear classifier; a {described.kind} head reads patches']

    @classmethod
    def refusal(cls, head: Head, spec: Spec) -> str:
        """Only the last layer can be read."""
        layers = head.description.layers
        if layers in ((), (spec.blocks - 1,)):
            return ""
        return f"it reads the layers {list(layers)}; a classifier gets the last one, {spec.blocks - 1}"

    @classmethod
    def misfit(cls, head: Head, actual: list[int], reads: str) -> tuple[str, str]:
        """As above; without `features` in the description, they may be what is wrong."""
        expected = cls.widths(head)
        if expected == actual or features_of(head.description):
            return super().misfit(head, actual, reads)
        both = f"CLS and the patches' mean of {expected[0]} each"
        why = f"its weights take {sum(expected)} inputs: {both}; this model's have {actual[0]}"
        if reads:
            return why, f'the checkpoint says that its classifier reads features = "{reads}": say so in a TOML beside the head'
        alone = 'if it reads CLS alone, say features = "cls" in a TOML beside it'
        return why, f'{alone}; if the mean of the patches alone, features = "mean"'


class _Product(nn.Linear):
    """PyTorch exports a layer on vectors as Gemm, which in fp16 rounds differently from the MatMul that patches get."""

    def forward(self, x: Tensor) -> Tensor:
        """[N, D] to [N, C]."""
        return x @ self.weight.T + self.bias


def features_of(described: Description) -> str | None:
    """The description's `features`; None if it does not say."""
    return cast(LinearDescription, described).features


def _vector_count(described: Description, weights: Mapping[str, Array]) -> int:
    """How many vectors it reads: 1 for CLS or the mean of the patches, 2 for both.

    Without `features` or `width` in the description they are two, as in Meta's own classifiers. Raises `HeadError` if width and
    weights disagree.
    """
    columns, features = weights["weight"].shape[1], features_of(described)
    count = {"cls": 1, "mean": 1, "cls+mean": 2, None: 2}[features]
    if features is None and described.width == columns:
        count = 1
    if columns % count or described.width not in (None, columns // count):
        raise HeadError(
            "The classifier's weights do not fit its description.",
            evidence=f"{columns} inputs; width {described.width or 'not given'}, "
            + (f"features {features}" if features else "features not given: CLS and the patches' mean"),
            remedy='say features = "cls", "mean" or "cls+mean", and the width of one of them',
        )
    return count
