"""Linear segmentation: a class for every pixel, from a linear layer on every patch, after a batch norm if there is one."""

from __future__ import annotations

from collections.abc import Mapping, Set
from pathlib import Path

from torch import Tensor, nn

from edgec.heads.kinds.maps import without_norm
from edgec.heads.kinds.module import PatchModule, Shapes
from edgec.heads.types import Array, Description, Output
from edgec.heads.weights import NORM, canonical, take_rows


class Segmentation(PatchModule):
    """Weights: weight [C, D], bias [C]; norm.{weight,bias,mean,variance} [D], or none of them."""

    kind, gives = "segmentation", ("labels", "logits")

    def __init__(self, described: Description, output: Output, shapes: Shapes) -> None:
        super().__init__(described, output, shapes)
        classes, width = shapes["weight"]
        self.norm = nn.BatchNorm2d(width, eps=described.norm_eps) if "norm.mean" in shapes else None
        self.classes = nn.Linear(width, classes)

    def of_patches(self, x: Tensor) -> Tensor:
        """Logits [N, rows, columns, C]."""
        if self.norm is not None:
            x = self.norm(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        logits: Tensor = self.classes(x)
        return logits

    @classmethod
    def recognises(cls, names: Set[str], path: Path) -> bool:
        """The names in the files that Meta's evaluation code saves."""
        return {"weight", "bias"} <= {canonical(name) for name in names} <= {"weight", "bias", *NORM}

    @classmethod
    def take(cls, described: Description, arrays: dict[str, Array], where: str) -> tuple[dict[str, Array], list[str]]:
        """The linear layer, and the batch norm if there is one."""
        return take_rows(arrays, norm=True)

    @classmethod
    def folded(cls, described: Description, weights: Mapping[str, Array]) -> Mapping[str, Array]:
        """The batch norm goes into the linear layer."""
        if "norm.mean" not in weights:
            return weights
        weight, bias = without_norm(weights["weight"], weights["bias"], weights, described.norm_eps, NORM)
        return {"weight": weight, "bias": bias}

    @classmethod
    def state(cls, described: Description, weights: Mapping[str, Array]) -> Mapping[str, Array]:
        """Under torch's names."""
        statistics = {"norm.mean": "norm.running_mean", "norm.variance": "norm.running_var"}
        return {
            statistics.get(name, name) if name.startswith("norm.") else f"classes.{name}": value
            for name, value in weights.items()
        }
