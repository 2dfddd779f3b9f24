"""From the camera's frame to features: the float32 reference that everything is compared with, and the model to export."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from edgec.errors import RequestError
from edgec.model.convnext import ConvNext
from edgec.model.fold import fold
from edgec.model.normalisation import Normalisation
from edgec.model.spec import Size, Spec, VitSpec, check_size
from edgec.model.vit import VisionTransformer


class Trained(Protocol):
    """What a model is made from: `edgec.checkpoint.Checkpoint` has it."""

    @property
    def spec(self) -> Spec:
        """The dimensions."""

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """Float32, under the names of the unfolded modules, with `rope_periods` [head_width / 4] for a ViT."""

    @property
    def normalisation(self) -> Normalisation:
        """Of RGB pixels in [0, 1]."""


class CameraModel(nn.Module):
    """uint8 frames [N, H, W, 3] to named float32 features.

    With a normalisation, pixels are scaled and normalised explicitly, as the published preprocessing does; without one the
    weights take raw pixels.
    """

    def __init__(
        self,
        backbone: VisionTransformer | ConvNext,
        normalisation: Normalisation | None,
        *,
        registers: bool = False,
        layers: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.backbone, self.normalisation = backbone, normalisation
        self.registers, self.layers = registers, layers

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        """The backbone's outputs, as its `forward` names and shapes them, of uint8 frames [N, H, W, 3]."""
        pixels = frames.float().permute(0, 3, 1, 2)
        if self.normalisation is not None:
            mean = torch.tensor(self.normalisation.mean)[:, None, None]
            std = torch.tensor(self.normalisation.std)[:, None, None]
            pixels = (pixels / 255 - mean) / std
        return self.backbone(pixels, self.registers, self.layers)  # type: ignore[no-any-return]


def assemble(
    checkpoint: Trained, size: Size, *, folded: bool, registers: bool = False, layers: tuple[int, ...] = ()
) -> CameraModel:
    """The checkpoint's model at one size, in evaluation mode. `folded=False` is the float32 reference; folded weights are for
    export (`edgec.model.fold`). `registers` and `layers` add outputs.

    Raises `InputSizeError` for a size that is not a multiple of the stride, `RequestError` for layers that the model lacks.
    """
    spec = checkpoint.spec
    check_size(spec, size)
    _check_layers(spec, layers)
    weights = fold(spec, checkpoint.weights, checkpoint.normalisation) if folded else dict(checkpoint.weights)
    backbone: VisionTransformer | ConvNext
    # Built without storage and filled by assignment: no second copy of the weights, no time spent on random ones.
    with torch.device("meta"):
        if isinstance(spec, VitSpec):
            backbone = VisionTransformer(spec, size, weights.pop("rope_periods"), folded=folded)
        else:
            backbone = ConvNext(spec, folded=folded)
    backbone.load_state_dict(weights, strict=True, assign=True)
    model = CameraModel(backbone, None if folded else checkpoint.normalisation, registers=registers, layers=layers)
    return model.requires_grad_(False).eval()


def _check_layers(spec: Spec, layers: tuple[int, ...]) -> None:
    if all(0 <= layer < spec.blocks for layer in layers) and len(set(layers)) == len(layers):
        return
    what = "blocks" if isinstance(spec, VitSpec) else "stages"
    raise RequestError(
        f"The model cannot give the layers {', '.join(map(str, layers))}.",
        evidence=f"its {what} are 0 to {spec.blocks - 1}",
        remedy="give --layers numbers of these, each once",
    )
