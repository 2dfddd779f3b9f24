"""The float32 reference with heads, which the merged graph is compared with: the heads' modules on the backbone's features.

Weights are used as they were read: batch norms are computed, not folded. An ONNX head runs unconverted, as its file has it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgec.errors import HeadError
from edgec.heads import kinds
from edgec.heads.types import ONNX, Head
from edgec.model.camera import CameraModel
from edgec.model.spec import Size
from edgec.text import shown


class CameraModelWithHeads(nn.Module):
    """uint8 frames [N, H, W, 3] to the outputs of `edgec.heads.attach`: named features, and the heads' outputs after them.

    `model` must give the layers that the heads read.
    """

    def __init__(self, model: CameraModel, heads: Sequence[Head], *, features: bool = True, layers: Sequence[int] = ()) -> None:
        super().__init__()
        self.model, self.features = model, features
        self.shipped = {"cls", "patches", "registers", *(f"patches_{layer}" for layer in layers)}
        self.heads = nn.ModuleList(ReferenceHead(head) for head in heads)

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        """Outputs by name; labels are int32, all others float32."""
        features = self.model(frames)
        size = Size(frames.shape[1], frames.shape[2])
        outputs = {name: value for name, value in features.items() if self.features and name in self.shipped}
        for head in self.heads:
            outputs |= head(features, size)
        return outputs


class ReferenceHead(nn.Module):
    """One head of any kind, ONNX files included."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head
        self.module = None if head.kind == ONNX else kinds.module_of(head, folded=False)

    def forward(self, features: dict[str, Tensor], size: Size) -> dict[str, Tensor]:
        """The head's outputs by name, from features by name and the frame's size. Raises `HeadError` if ONNX Runtime fails."""
        if self.module is None:
            return _run_onnx(self.head, features)
        return {self.head.name: self.module([features[name] for name in self.head.inputs], size)}


def _run_onnx(head: Head, features: dict[str, Tensor]) -> dict[str, Tensor]:
    import onnx

    from edgec.graph.session import open_session

    session = open_session(onnx.ModelProto.FromString(head.graph))
    try:
        values = session.run(list(head.graph_outputs), {name: features[name].numpy() for name in head.inputs})
    except Exception as error:  # ONNX Runtime's own errors, for what it only notices when it runs
        raise HeadError(
            f"ONNX Runtime cannot run the head {head.name}.",
            evidence=(f"head: {shown(head.path)}", shown(str(error).strip().splitlines()[0])),
            remedy="run it in ONNX Runtime on features of this backbone's shapes, and export it again",
        ) from error
    kind = torch.int32 if head.output == "labels" else torch.float32
    outputs = {name: torch.from_numpy(value).to(kind) for name, value in zip(head.outputs(), values, strict=True)}
    return {name: value[:, None] if value.ndim == 1 else value for name, value in outputs.items()}
