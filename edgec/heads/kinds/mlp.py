"""Multi-layer perceptrons, applied to every patch: values, or logits and labels of every pixel."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, cast

from torch import Tensor, nn

from edgec.heads.kinds.module import PatchModule, Shapes
from edgec.heads.types import Array, Description, Head, Output
from edgec.text import listed


class MlpDescription(Description):
    """The fields of multi-layer perceptrons."""

    activation: Literal["gelu", "relu"] = "gelu"
    """Between the layers of a multi-layer perceptron."""


class Mlp(PatchModule):
    """Weights: N.weight [K, D], N.bias [K], where N counts the layers from 0."""

    kind, gives, described_by = "mlp", ("values", "labels", "logits"), MlpDescription

    def __init__(self, described: Description, output: Output, shapes: Shapes) -> None:
        super().__init__(described, output, shapes)
        gelu = cast(MlpDescription, described).activation == "gelu"
        layers: list[nn.Module] = []
        for index in range(len(shapes) // 2):
            layers += [nn.GELU() if gelu else nn.ReLU()] if index else []
            outputs, inputs = shapes[f"{index}.weight"]
            layers.append(nn.Linear(inputs, outputs))
        self.layers = nn.Sequential(*layers)

    def of_patches(self, x: Tensor) -> Tensor:
        """Values [N, rows, columns, K]."""
        values: Tensor = self.layers(x)
        return values

    @classmethod
    def state(cls, described: Description, weights: Mapping[str, Array]) -> Mapping[str, Array]:
        """Under the module's numbers: there is an activation between two layers, which has a number too."""
        parts = [(index, part) for index in range(len(weights) // 2) for part in ("weight", "bias")]
        return {f"layers.{2 * index}.{part}": weights[f"{index}.{part}"] for index, part in parts}

    @classmethod
    def channels(cls, weights: Mapping[str, Array]) -> int:
        """Outputs of the last layer."""
        return len(weights[f"{len(weights) // 2 - 1}.weight"])

    @classmethod
    def widths(cls, head: Head) -> list[int]:
        """Inputs of the first layer."""
        return [head.weights["0.weight"].shape[1]]

    @classmethod
    def take(cls, described: Description, arrays: dict[str, Array], where: str) -> tuple[dict[str, Array], list[str]]:
        """Layers are numbered as in an `nn.Sequential`, in which activations have numbers too."""
        numbers = sorted({int(match.group(1)) for name in arrays if (match := re.search(r"(\d{1,3})\.(?:weight|bias)$", name))})
        taken: dict[str, Array] = {}
        wrong = []
        for index, number in enumerate(numbers):
            for part in ("weight", "bias"):
                ends = [name for name in arrays if re.fullmatch(rf"(?:.*\.)?{number}\.{part}", name)]
                if len(ends) != 1:
                    wrong.append(f"{'no' if not ends else 'more than one'} tensor {number}.{part}")
                    continue
                value = arrays[ends[0]]
                taken[f"{index}.{part}"] = value[:, :, 0, 0] if value.ndim == 4 and value.shape[2:] == (1, 1) else value
        if not numbers or len(taken) != len(arrays):
            wrong.append(f"needed 0.weight, 0.bias, 2.weight, …; there are: {listed(arrays)}")
        if not wrong:
            ranks = {name: 1 if name.endswith("bias") else 2 for name in taken}
            wrong += [f"{name} has {value.ndim} dimensions" for name, value in taken.items() if value.ndim != ranks[name]]
        return taken, wrong or _disagreements(taken)


def _disagreements(weights: Mapping[str, Array]) -> list[str]:
    """A line for each weight that does not fit its bias, or the layer before it."""
    wrong = []
    for index in range(len(weights) // 2):
        weight, bias = weights[f"{index}.weight"], weights[f"{index}.bias"]
        if len(bias) != len(weight):
            wrong.append(f"{index}.bias is {len(bias)}; {index}.weight has {len(weight)} outputs")
        if index and weight.shape[1] != len(weights[f"{index - 1}.weight"]):
            outputs = len(weights[f"{index - 1}.weight"])
            wrong.append(f"{index}.weight has {weight.shape[1]} inputs; {index - 1}.weight gives {outputs}")
    return wrong
