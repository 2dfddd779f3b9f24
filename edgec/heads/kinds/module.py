"""What all kinds of heads have in common: a torch module that is the reference and is exported, and how its file is read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from edgec.heads.fitting import spoken
from edgec.heads.kinds.maps import Bilinear, side_by_side
from edgec.heads.types import Array, Description, Head, Output
from edgec.model.spec import Size, Spec

Shapes = Mapping[str, tuple[int, ...]]


class HeadModule(nn.Module, ABC):
    """A kind of head: the class says how its file is read and what fits it, the instance computes.

    One module computes the float32 reference and is exported to the hub graph: it is written to be exported, to static shapes and
    to operations that every runtime has (no antialiased Resize, nothing that depends on values).
    """

    kind: ClassVar[str]
    gives: ClassVar[tuple[Output, ...]]
    """What it can give; the first is the default."""
    said: ClassVar[type[Description]] = Description
    """With the fields that it adds to a description, if any."""
    reads_layers: ClassVar[bool] = True
    """Whether `layers` may be others than the last."""

    def __init__(self, described: Description, output: Output, shapes: Shapes) -> None:
        """`shapes` are those of the weights that it will have."""
        super().__init__()
        self.output = output

    @classmethod
    def made(cls, head: Head, *, folded: bool) -> HeadModule:
        """With its weights, in evaluation mode."""
        weights = cls.folded(head.description, head.weights) if folded else head.weights
        # Built without storage and filled by assignment, as the backbone is (`edgec.model.camera.assemble`).
        with torch.device("meta"):
            module = cls(head.description, head.output, {name: value.shape for name, value in weights.items()})
        state = {name: torch.from_numpy(value) for name, value in cls.state(head.description, weights).items()}
        module.load_state_dict(state, strict=True, assign=True)
        return module.requires_grad_(False).eval()

    @abstractmethod
    def forward(self, given: Sequence[Tensor], frame: Size) -> Tensor:
        """The head's output, as `edgec.heads.types.Output` shapes it, from its inputs in their order; `frame` is the frame's
        size."""

    # --- from a file

    @classmethod
    def recognises(cls, names: Set[str], path: Path) -> bool:
        """Whether a file with tensors of these names, of which nothing is said, holds such a head. Raises `HeadError` if it does,
        and something has to be said of it."""
        return False

    @classmethod
    @abstractmethod
    def take(cls, described: Description, arrays: dict[str, Array], where: str) -> tuple[dict[str, Array], list[str]]:
        """The head's weights under edgec's names, and everything that is missing, too much or of a wrong shape. Raises
        `HeadError` for what is no such head at all."""

    @classmethod
    def folded(cls, described: Description, weights: Mapping[str, Array]) -> Mapping[str, Array]:
        """With everything that is linear and constant in the weights beside it; rounded once."""
        return weights

    @classmethod
    def state(cls, described: Description, weights: Mapping[str, Array]) -> Mapping[str, Array]:
        """The weights under the module's own names, and its constants."""
        return weights

    # --- what it needs, and gives

    @classmethod
    def inputs(cls, described: Description, weights: Mapping[str, Array]) -> tuple[str, ...]:
        """What the head reads of the hub graph's outputs."""
        return tuple(f"patches_{layer}" for layer in described.layers) or ("patches",)

    @classmethod
    def channels(cls, weights: Mapping[str, Array]) -> int:
        """How many classes, values or bins come out."""
        return len(weights["weight"])

    @classmethod
    def widths(cls, head: Head) -> list[int]:
        """Channels of what it reads: one number an input, or their sum where they are read side by side."""
        return [head.weights["weight"].shape[1]]

    # --- why it cannot be used

    @classmethod
    def problems(cls, described: Description) -> list[str]:
        """What makes no sense in its own fields, of any kind's description."""
        return []

    @classmethod
    def refusal(cls, head: Head, spec: Spec) -> str:
        """Why this backbone cannot be read, its widths aside; empty if it can."""
        return ""

    @classmethod
    def misfit(cls, head: Head, there: list[int], reads: str) -> tuple[str, str]:
        """Why features as wide as `there`, one number an input, are not what it was made for, and what the user may have
        forgotten to say; nothing if they are. `reads` is what the checkpoint says that its own classifier reads
        (`edgec.heads.fitting`)."""
        made_for = cls.widths(head)
        if made_for == there:
            return "", ""
        return f"it was made for features {spoken(made_for)} wide; this model's are {spoken(there)}", ""


class PatchModule(HeadModule):
    """Of a kind that reads maps side by side and computes the same for every patch: for a value a patch, or brought to the
    frame's pixels as Meta's evaluation does, by resampling before a class is chosen."""

    def __init__(self, described: Description, output: Output, shapes: Shapes) -> None:
        super().__init__(described, output, shapes)
        self.resize, self.upsample = Bilinear(), Bilinear()

    @abstractmethod
    def of_patches(self, x: Tensor) -> Tensor:
        """[N, rows, columns, D] to [N, rows, columns, C]."""

    def forward(self, given: Sequence[Tensor], frame: Size) -> Tensor:
        x = self.of_patches(side_by_side(given, self.resize))
        if self.output == "values":
            return x
        logits: Tensor = self.upsample(x.permute(0, 3, 1, 2), (frame.height, frame.width))
        return logits if self.output == "logits" else logits.argmax(dim=1).int()

    @classmethod
    def misfit(cls, head: Head, there: list[int], reads: str) -> tuple[str, str]:
        (made_for,), whole = cls.widths(head), sum(there)
        if made_for == whole:
            return "", ""
        why = f"its weights take {made_for} channels; {' and '.join(head.inputs)} of this model have {whole}"
        if head.description.layers or made_for % whole:
            return why, ""
        hint = f"if it reads {made_for // whole} layers side by side, say layers = […] in a TOML beside it"
        return why, hint + ("; CLS beside the patches only an ONNX head can read" if made_for == 2 * whole else "")
