"""What a head is, whatever file it came in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

Output = Literal["scores", "labels", "logits", "depth", "values"]
"""What a head gives, float32 unless named: `scores` [N, C], of the whole frame and before any softmax; `logits` [N, C, H, W] and
`labels` [N, H, W], int32, of every pixel of the frame; `depth` [N, H, W]; `values` [N, rows, columns, K], a vector a patch, or
whatever an ONNX head makes."""

FOREIGN: Final = "onnx"
"""The kind of heads that are ONNX files; all others are in `edgec.heads.kinds`."""
TWO_CLASSES: Final = 'write a yes or no as two classes, the first with weights and bias 0, or give ONNX with output = "values"'
"""What to do with a head that has one class: it would win everywhere, and every measure of agreement would be perfect."""
Array = NDArray[np.float32]


class Description(BaseModel):
    """What stands beside a head's weights: in the metadata of a `.safetensors` or `.onnx` file, or in a `.toml` of its name.

    `layers` are the backbone's blocks (stages, of a ConvNeXt), counted from 0, whose patches it reads, side by side; none: the
    last one's, `patches`. `width` is that of one feature vector and `patch` the pixels of a patch's side: checked where given.
    These are what any kind knows; some have fields of their own (`edgec.heads.kinds`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: str
    name: str = ""
    """For people. In the graph a head has the name that it was given on the command line."""
    description: str = ""
    classes: tuple[str, ...] = ()
    """By index."""
    layers: tuple[int, ...] = ()
    width: int | None = Field(default=None, ge=1)
    patch: int | None = Field(default=None, ge=1)
    prefix: str = ""
    """The head's tensors are those whose names begin with it, where a file holds more than them."""
    output: Output | None = None
    norm_eps: float = Field(default=1e-5, gt=0)
    """Of the batch norms, where a head has some."""


@dataclass(frozen=True, eq=False)
class Head:
    """A head that was read. `weights` are under edgec's names (the classes in `edgec.heads.kinds`); an ONNX head has `graph`
    instead, the bytes of its file. `inputs` are names of the hub graph's outputs, in the order in which the head reads them."""

    name: str
    path: str
    sha256: str
    """Of the file and, where there is one, the TOML beside it."""
    description: Description
    inputs: tuple[str, ...]
    output: Output
    weights: Mapping[str, Array] = field(default_factory=dict)
    graph: bytes = field(default=b"", repr=False)

    @property
    def kind(self) -> str:
        return self.description.kind

    @property
    def classes(self) -> tuple[str, ...]:
        return self.description.classes

    def outputs(self) -> tuple[str, ...]:
        """The names of its outputs in the graph: its own, and for an ONNX head with several, `NAME_OUTPUT` each."""
        if self.kind != FOREIGN:
            return (self.name,)
        from edgec.heads.foreign import output_names

        return tuple(output_names(self).values())

    @property
    def facts(self) -> dict[str, object]:
        """For a manifest, a report, and the model's own metadata: JSON-able."""
        return {
            "name": self.name,
            "kind": self.kind,
            "output": self.output,
            "outputs": list(self.outputs()),
            "classes": list(self.classes),
            "reads": list(self.inputs),
            "sha256": self.sha256,
        }
