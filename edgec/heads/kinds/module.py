"""What all kinds of heads have in common: a torch module, which is the reference and is exported, and how its file is read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from edgec.heads.fitting import joined
from edgec.heads.kinds.maps import Bilinear, concatenated
from edgec.heads.types import Array, Description, Head, Output
from edgec.model.spec import Size, Spec

Shapes = Mapping[str, tuple[int, ...]]


class HeadModule(nn.Module, ABC):
    """A kind of head: the class says how its file is read and which backbones it fits, an instance computes.

    The same module is the float32 reference and is exported to the hub graph. So it must export to static shapes and to
    operations that every runtime has (no antialiased Resize, nothing that depends on values).
    """

    kind: ClassVar[str]
    gives: ClassVar[tuple[Output, ...]]
    """The outputs that it can give; the first is the default."""
    described_by: ClassVar[type[Description]] = Description
    """The class with the fields that it adds to a description, if any."""
    reads_layers: ClassVar[bool] = True
    """Whether it may read other layers than the last."""

    def __init__(self, described: Description, output: Output, shapes: Shapes) -> None:
        """`shapes` are those of the weights that `build` will load."""
        super().__init__()
        self.output = output

    @classmethod
    def build(cls, head: Head, *, folded: bool) -> HeadModule:
        """The module with the head's weights, in evaluation mode."""
        weights = cls.folded(head.description, head.weights) if folded else head.weights
        # Built without storage and filled by assignment, like the backbone (`edgec.model.camera.assemble`).
        with torch.device("meta"):
            module = cls(head.description, head.output, {name: value.shape for name, value in weights.items()})
        state = {name: torch.from_numpy(value) for name, value in cls.state(head.description, weights).items()}
        module.load_state_dict(state, strict=True, assign=True)
        return module.requires_grad_(False).eval()

    @abstractmethod
    def forward(self, features: Sequence[Tensor], frame: Size) -> Tensor:
        """The head's output, in the shape that `edgec.heads.types.Output` gives, from the features that it reads, in the order of
        `inputs`; `frame` is the frame's size."""

    # --- from a file

    @classmethod
    def recognises(cls, names: Set[str], path: Path) -> bool:
        """Whether a file without description, with tensors of these names, holds such a head. Raises `HeadError` if it does but
        cannot be used without a description."""
        return False

    @classmethod
    @abstractmethod
    def take(cls, described: Description, arrays: dict[str, Array], where: str) -> tuple[dict[str, Array], list[str]]:
        """The head's weights under edgec's names, and a line for everything that is missing, unknown or of a wrong shape. Raises
        `HeadError` if this is not such a head at all."""

    @classmethod
    def folded(cls, described: Description, weights: Mapping[str, Array]) -> Mapping[str, Array]:
        """The weights with everything linear and constant folded into them, rounded once."""
        return weights

    @classmethod
    def state(cls, described: Description, weights: Mapping[str, Array]) -> Mapping[str, Array]:
        """The module's state: the weights under its names, and its constants."""
        return weights

    # --- what it reads and gives

    @classmethod
    def inputs(cls, described: Description, weights: Mapping[str, Array]) -> tuple[str, ...]:
        """The names of the hub graph's outputs that the head reads."""
        return tuple(f"patches_{layer}" for layer in described.layers) or ("patches",)

    @classmethod
    def channels(cls, weights: Mapping[str, Array]) -> int:
        """The number of classes, values or bins that it computes."""
        return len(weights["weight"])

    @classmethod
    def widths(cls, head: Head) -> list[int]:
        """Channels of what it reads: one number an input, or their sum if they are concatenated."""
        return [head.weights["weight"].shape[1]]

    # --- why it cannot be used

    @classmethod
    def problems(cls, described: Description) -> list[str]:
        """What is wrong with the fields that this kind adds, in a description of any kind."""
        return []

    @classmethod
    def refusal(cls, head: Head, spec: Spec) -> str:
        """Why the head cannot read this backbone, apart from widths; empty if it can."""
        return ""

    @classmethod
    def misfit(cls, head: Head, actual: list[int], reads: str) -> tuple[str, str]:
        """Why the head was not made for features of the `actual` widths, one an input, and what the user may have to add to the
        description; both empty if it was. `reads` is the `features` that the checkpoint's own classifier reads
        (`edgec.heads.fitting`)."""
        expected = cls.widths(head)
        if expected == actual:
            return "", ""
        return f"it was made for features {joined(expected)} wide; this model's are {joined(actual)}", ""


class PatchModule(HeadModule):
    """A kind that concatenates maps and computes the same for every patch: a value a patch, or logits that are resampled to the
    frame's pixels before a class is chosen, as in Meta's evaluation."""

    def __init__(self, described: Description, output: Output, shapes: Shapes) -> None:
        super().__init__(described, output, shapes)
        self.resize, self.upsample = Bilinear(), Bilinear()

    @abstractmethod
    def of_patches(self, x: Tensor) -> Tensor:
        """[N, rows, columns, D] to [N, rows, columns, C]."""

    def forward(self, features: Sequence[Tensor], frame: Size) -> Tensor:
        """Values [N, rows, columns, C], logits [N, C, H, W] or labels [N, H, W], from maps [N, rows, columns, D]."""
        x = self.of_patches(concatenated(features, self.resize))
        if self.output == "values":
            return x
        logits: Tensor = self.upsample(x.permute(0, 3, 1, 2), (frame.height, frame.width))
        return logits if self.output == "logits" else logits.argmax(dim=1).int()

    @classmethod
    def misfit(cls, head: Head, actual: list[int], reads: str) -> tuple[str, str]:
        """As above; a multiple of the width hints at several layers."""
        (expected,), whole = cls.widths(head), sum(actual)
        if expected == whole:
            return "", ""
        why = f"its weights take {expected} channels; {' and '.join(head.inputs)} of this model have {whole}"
        if head.description.layers or expected % whole:
            return why, ""
        hint = f"if it reads {expected // whole} layers side by side, say layers = […] in a TOML beside it"
        return why, hint + ("; only an ONNX head can read CLS and patches together" if expected == 2 * whole else "")
