"""What a head is, whatever file it comes from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

Output = Literal["scores", "labels", "logits", "depth", "values"]
"""What a head gives, float32 unless said otherwise: `scores` [N, C], of the whole frame and before any softmax; `logits` [N, C,
H, W] and `labels` [N, H, W], int32, of every pixel of the frame; `depth` [N, H, W]; `values` [N, rows, columns, K], a vector a
patch, or whatever an ONNX head gives."""

ONNX: Final = "onnx"
"""The kind of heads that are ONNX files; all others are in `edgec.heads.kinds`."""
TWO_CLASSES: Final = 'write a yes or no as two classes, the first with weights and bias 0, or give ONNX with output = "values"'
"""What to do with a head that has one class: it would win everywhere, and every measure of agreement would be perfect."""
Array = NDArray[np.float32]


class Description(BaseModel):
    """What is said about a head's weights: in the metadata of a `.safetensors` or `.onnx` file, or in a `.toml` of its name.

    `layers` are the backbone's blocks (stages, of a ConvNeXt), counted from 0, whose patches it reads, concatenated; empty means
    the last one's, `patches`. `width` is that of one feature vector, and `patch` the pixels of a patch's side: both are checked
    if given. Every kind has these fields; some have more (`edgec.heads.kinds`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: str
    name: str = ""
    """For people. In the graph a head has the name from the command line."""
    description: str = ""
    classes: tuple[str, ...] = ()
    """By index."""
    layers: tuple[int, ...] = ()
    width: int | None = Field(default=None, ge=1)
    patch: int | None = Field(default=None, ge=1)
    prefix: str = ""
    """What the names of the head's tensors begin with, in a file that holds others too."""
    output: Output | None = None
    norm_eps: float = Field(default=1e-5, gt=0)
    """Of batch norms, if the head has any."""


@dataclass(frozen=True, eq=False)
class Head:
    """A head that was read. `weights` are under edgec's names (see the classes in `edgec.heads.kinds`); an ONNX head has `graph`
    instead, a serialised ModelProto. `inputs` are names of the hub graph's outputs, in the order in which the head reads them."""

    name: str
    path: str
    sha256: str
    """Of the file, and of the TOML and `.onnx.data` next to it, if there are any."""
    description: Description
    inputs: tuple[str, ...]
    output: Output
    weights: Mapping[str, Array] = field(default_factory=dict)
    graph: bytes = field(default=b"", repr=False)
    graph_outputs: tuple[str, ...] = ()
    """The names of `graph`'s outputs."""

    @property
    def kind(self) -> str:
        """A key of `edgec.heads.kinds.KINDS`, or `ONNX`."""
        return self.description.kind

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' names by index; empty if none are given."""
        return self.description.classes

    def outputs(self) -> tuple[str, ...]:
        """The names of its outputs in the hub graph: the head's name, or `NAME_OUTPUT` for each of an ONNX head's several."""
        if len(self.graph_outputs) < 2:
            return (self.name,)
        return tuple(f"{self.name}_{re.sub(r'[^A-Za-z0-9_]', '_', name)}" for name in self.graph_outputs)

    @property
    def facts(self) -> dict[str, object]:
        """For a manifest, a report, and the model's metadata, ready for `json.dumps`."""
        return {
            "name": self.name,
            "kind": self.kind,
            "output": self.output,
            "outputs": list(self.outputs()),
            "classes": list(self.classes),
            "reads": list(self.inputs),
            "sha256": self.sha256,
        }
