"""The family's dimensions, and what follows from them: tokens, parameters, operations, legal sizes.

Nothing here imports torch: `edgec inspect`, `verify` and cached builds use it.
Figures of the published models: DINOv3 (arXiv 2508.10104), tables of the model cards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgec.errors import InputSizeError, RequestError

CONVNEXT_STRIDE = 32
CONVNEXT_KERNEL = 7
_DIGITS = 6
"""Of a side in pixels."""


@dataclass(frozen=True)
class Size:
    """A frame's height and width in pixels."""

    height: int
    width: int

    @classmethod
    def parse(cls, text: str) -> Size:
        """`"224"` is a square, `"480x640"` is height x width. Raises `RequestError` on anything else."""
        parts = text.lower().split("x")
        if len(parts) not in (1, 2) or not all(_is_side(part) for part in parts):
            raise RequestError(
                f"{text!r} is not an input size.",
                remedy="give one side for a square, as in 224, or HEIGHTxWIDTH, as in 480x640",
            )
        return cls(int(parts[0]), int(parts[-1]))

    def __str__(self) -> str:
        return f"{self.height}x{self.width}"


def _is_side(text: str) -> bool:
    # Python refuses to read numbers of thousands of digits, by raising.
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS and int(text) > 0


@dataclass(frozen=True)
class VitSpec:
    """The dimensions of a DINOv3 vision transformer. `mlp_width` is the hidden width; a gated MLP has two projections to it."""

    width: int
    depth: int
    heads: int
    mlp_width: int
    mlp: Literal["gelu", "swiglu"] = "gelu"
    registers: int = 4
    patch: int = 16
    norm_eps: float = 1e-5
    key_bias: bool = False
    """Published weights have none. Where it exists it must stay: RoPE rotates it by the token's position, so that softmax does
    not cancel it."""
    separate_cls_norm: bool = False
    """Whether CLS and registers have another final norm than patches (`cls_norm` in Meta's code; no published backbone has)."""

    @property
    def stride(self) -> int:
        """Pixels of the frame from one patch to the next."""
        return self.patch

    @property
    def features(self) -> int:
        """D: the channels of `cls` and `patches`."""
        return self.width

    @property
    def blocks(self) -> int:
        """How many intermediate layers can be outputs."""
        return self.depth

    @property
    def head_width(self) -> int:
        """Channels of one attention head."""
        return self.width // self.heads

    @property
    def kind(self) -> str:
        """The architecture's name, for people."""
        return "ViT"


@dataclass(frozen=True)
class ConvNextSpec:
    """The dimensions of a DINOv3 ConvNeXt: four stages of `depths` blocks and `widths` channels. CLS is the mean of the last
    map."""

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    norm_eps: float = 1e-6

    @property
    def stride(self) -> int:
        """Pixels of the frame from one patch (a pixel of the last map) to the next."""
        return CONVNEXT_STRIDE

    @property
    def features(self) -> int:
        """D: the channels of `cls` and `patches`."""
        return self.widths[-1]

    @property
    def blocks(self) -> int:
        """How many intermediate layers, here stages, can be outputs."""
        return len(self.depths)

    @property
    def registers(self) -> int:
        """None: a ConvNeXt has no tokens."""
        return 0

    @property
    def kind(self) -> str:
        """The architecture's name, for people."""
        return "ConvNeXt"


Spec = VitSpec | ConvNextSpec

FAMILY: dict[str, Spec] = {
    "vitt16": VitSpec(192, 12, 3, 768),
    "vits16": VitSpec(384, 12, 6, 1536),
    "vits16plus": VitSpec(384, 12, 6, 1536, mlp="swiglu"),
    "vitb16": VitSpec(768, 12, 12, 3072),
    "vitl16": VitSpec(1024, 24, 16, 4096),
    "vith16plus": VitSpec(1280, 32, 20, 5120, mlp="swiglu"),
    "convnext_tiny": ConvNextSpec((3, 3, 9, 3), (96, 192, 384, 768)),
    "convnext_small": ConvNextSpec((3, 3, 27, 3), (96, 192, 384, 768)),
    "convnext_base": ConvNextSpec((3, 3, 27, 3), (128, 256, 512, 1024)),
    "convnext_large": ConvNextSpec((3, 3, 27, 3), (192, 384, 768, 1536)),
}


def family_name(spec: Spec) -> str | None:
    """The family's name for these dimensions, whatever the norm's epsilon and the biases; None if no published model has them."""
    return next((name for name, known in FAMILY.items() if _dimensions(known) == _dimensions(spec)), None)


def _dimensions(spec: Spec) -> tuple[object, ...]:
    if isinstance(spec, VitSpec):
        return spec.width, spec.depth, spec.heads, spec.mlp_width, spec.mlp, spec.patch
    return spec.depths, spec.widths


def describe(spec: Spec) -> str:
    """The dimensions in one line, for people."""
    if isinstance(spec, VitSpec):
        mlp = f"{'SwiGLU' if spec.mlp == 'swiglu' else 'MLP'} {spec.mlp_width}"
        return f"width {spec.width}, depth {spec.depth}, heads {spec.heads}, {mlp}, patch {spec.patch}"
    return f"widths {'-'.join(map(str, spec.widths))}, depths {'-'.join(map(str, spec.depths))}, stride {spec.stride}"


def check_size(spec: Spec, size: Size) -> None:
    """Raises `InputSizeError`, naming the two nearest legal sizes, unless both sides are multiples of the stride."""
    stride = spec.stride
    if size.height % stride == 0 and size.width % stride == 0:
        return

    def near(side: int) -> tuple[int, int]:
        if side % stride == 0:
            return side, side
        below = side // stride * stride
        return max(below, stride), below + stride

    (low_h, high_h), (low_w, high_w) = near(size.height), near(size.width)
    low, high = Size(low_h, low_w), Size(high_h, high_w)
    nearest = str(low) if low == high else f"{low} or {high}"
    raise InputSizeError(
        f"{size} is not a multiple of {stride}, the {'patch size' if isinstance(spec, VitSpec) else 'stride'} of this model.",
        evidence=f"remainders: height {size.height % stride}, width {size.width % stride}; edgec does not crop frames silently",
        remedy=f"use --input-size {nearest}",
    )


def grid(spec: Spec, size: Size) -> tuple[int, int]:
    """Rows and columns of `patches`."""
    return size.height // spec.stride, size.width // spec.stride


def tokens(spec: Spec, size: Size) -> int:
    """The number of tokens: CLS, registers and patches together."""
    rows, columns = grid(spec, size)
    return 1 + spec.registers + rows * columns


def parameters(spec: Spec) -> int:
    """Learned parameters of the backbone as published (mask token and masked biases excluded)."""
    if isinstance(spec, VitSpec):
        width, hidden = spec.width, spec.mlp_width
        attention = 4 * width * width + (4 if spec.key_bias else 3) * width
        projections = 3 if spec.mlp == "swiglu" else 2
        mlp = projections * width * hidden + (projections - 1) * hidden + width
        block = attention + mlp + 4 * width + 2 * width
        embeddings = 3 * spec.patch**2 * width + width + (1 + spec.registers) * width
        return embeddings + spec.depth * block + (4 if spec.separate_cls_norm else 2) * width
    total, channels = 0, 3
    for stage, (depth, width) in enumerate(zip(spec.depths, spec.widths, strict=True)):
        kernel = 4 if stage == 0 else 2
        total += kernel * kernel * channels * width + width + 2 * (width if stage == 0 else channels)
        total += depth * (CONVNEXT_KERNEL**2 * width + width + 2 * width + 8 * width * width + 5 * width + width)
        channels = width
    return total + 2 * channels


def macs(spec: Spec, size: Size) -> int:
    """Multiply-accumulates of one frame: products and convolutions, attention's own included; no elementwise work."""
    rows, columns = grid(spec, size)
    if isinstance(spec, VitSpec):
        count, width = tokens(spec, size), spec.width
        projections = 3 if spec.mlp == "swiglu" else 2
        block = count * (4 * width * width + projections * width * spec.mlp_width) + 2 * count * count * width
        return rows * columns * 3 * spec.patch**2 * width + spec.depth * block
    total, channels = 0, 3
    for stage, (depth, width) in enumerate(zip(spec.depths, spec.widths, strict=True)):
        kernel = 4 if stage == 0 else 2
        scale = spec.stride >> (2 + stage)
        positions = rows * columns * scale * scale
        total += positions * kernel * kernel * channels * width
        total += depth * positions * (CONVNEXT_KERNEL**2 * width + 8 * width * width)
        channels = width
    return total


def gflops(spec: Spec, size: Size) -> float:
    """Two operations a multiply-accumulate, in units of 1e9, as the model cards count."""
    return 2 * macs(spec, size) / 1e9
