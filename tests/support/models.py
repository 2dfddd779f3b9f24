"""Small models of every shape that the family has, with weights that make each part of them matter."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
import onnx
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from edgec.checkpoint import Checkpoint, Licence, Normalisation
from edgec.graph.export import export
from edgec.graph.files import serialised
from edgec.model.camera import CameraModel, assemble
from edgec.model.convnext import ConvNext
from edgec.model.normalisation import LVD
from edgec.model.spec import ConvNextSpec, Size, Spec, VitSpec
from edgec.model.vit import VisionTransformer, rope_periods
from tests.support.frames import pictures
from tests.support.once import made_once

VIT = VitSpec(64, 2, 1, 128)
SWIGLU = replace(VIT, mlp="swiglu")
BARE = replace(VIT, registers=0)
KEY_BIAS = replace(VIT, key_bias=True)
CLS_NORM = replace(VIT, separate_cls_norm=True)
HEADS = VitSpec(128, 1, 2, 256)
CONVNEXT = ConvNextSpec((1, 1, 1, 1), (16, 24, 32, 48))

SPECS: dict[str, Spec] = {
    "vit": VIT,
    "swiglu": SWIGLU,
    "no-registers": BARE,
    "key-bias": KEY_BIAS,
    "cls-norm": CLS_NORM,
    "two-heads": HEADS,
    "convnext": CONVNEXT,
}
SMALL = Size(64, 96)

Array = NDArray[np.float32]


def random_checkpoint(spec: Spec, seed: int = 0) -> Checkpoint:
    """Weights drawn so that nothing hides: attention is far from uniform, a few channels are outliers, no bias is zero and no
    scale one."""
    backbone: VisionTransformer | ConvNext
    if isinstance(spec, VitSpec):
        backbone = VisionTransformer(spec, Size(spec.stride, spec.stride), rope_periods(spec.head_width))
    else:
        backbone = ConvNext(spec)
    random = np.random.default_rng(seed)
    weights = {name: torch.from_numpy(_drawn(name, value.shape, random)) for name, value in backbone.state_dict().items()}
    if isinstance(spec, VitSpec):
        weights["rope_periods"] = rope_periods(spec.head_width)
    return Checkpoint(
        name="small",
        spec=spec,
        weights=weights,
        normalisation=Normalisation(*LVD, "LVD-1689M", "made for a test"),
        form="random",
        sha256="0" * 64,
        licence=Licence("none", "LicenseRef-none", "made for a test"),
        stored_dtype="float32",
    )


def _drawn(name: str, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    last = name.split(".")[-1]
    if last in ("ls1", "ls2", "gamma"):
        drawn = 10 ** random.uniform(-1.5, 0, shape)
    elif last == "weight" and "norm" in name:
        drawn = random.lognormal(0, 0.4, shape)
        drawn[random.choice(len(drawn), 2, replace=False)] *= 6
    elif last == "weight":
        drawn = random.normal(0, 1.5 / np.sqrt(np.prod(shape[1:])), shape)
    else:
        drawn = random.normal(0, 0.5 if last in ("cls_token", "registers") else 0.15, shape)
    return np.asarray(drawn, dtype=np.float32)


@dataclass(frozen=True)
class Exported:
    """A model that was exported once for the whole run of the tests, whatever the number of its processes. `hub` and `graph`
    are a copy of one's own each time."""

    spec: Spec
    size: Size
    batch: int
    registers: bool
    layers: tuple[int, ...]
    seed: int

    @cached_property
    def checkpoint(self) -> Checkpoint:
        return random_checkpoint(self.spec, self.seed)

    @cached_property
    def content(self) -> bytes:
        return made_once(repr(self), lambda: serialised(export(self.model(folded=True), self.spec, self.size, self.batch)))

    @property
    def hub(self) -> onnx.ModelProto:
        """As its file has it."""
        return onnx.ModelProto.FromString(self.content)

    @property
    def graph(self) -> ir.Model:
        """As edgec has it."""
        return ir.from_proto(self.hub)

    def model(self, *, folded: bool) -> CameraModel:
        return assemble(self.checkpoint, self.size, folded=folded, registers=self.registers, layers=self.layers)

    @cached_property
    def frames(self) -> NDArray[np.uint8]:
        """One batch of photographs."""
        return pictures(self.size, self.batch)

    def features(self, frames: NDArray[np.uint8]) -> dict[str, Array]:
        """Of the unfolded float32 model in PyTorch, which everything is compared with."""
        model = self.model(folded=False)  # before: what is made in inference mode can be used nowhere else
        with torch.inference_mode():
            outputs = model(torch.from_numpy(frames.copy()))
        return {name: value.numpy() for name, value in outputs.items()}

    @cached_property
    def expected(self) -> dict[str, Array]:
        return self.features(self.frames)


@cache
def exported(
    spec: Spec, size: Size = SMALL, batch: int = 1, *, registers: bool = False, layers: tuple[int, ...] = (), seed: int = 0
) -> Exported:
    return Exported(spec, size, batch, registers, layers, seed)
