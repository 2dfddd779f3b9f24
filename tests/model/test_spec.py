"""The family's figures, and the sizes that a model takes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edgec.errors import InputSizeError, RequestError
from edgec.model.spec import (
    FAMILY,
    ConvNextSpec,
    Size,
    VitSpec,
    check_size,
    describe,
    family_name,
    gflops,
    grid,
    parameters,
    tokens,
)

# Millions of parameters and GFLOPs at 224, 256 and 512, from the model cards.
CARDS = {
    "vits16": (21.6, 9.4, 12.5, 63.8),
    "vits16plus": (28.7, 12.2, 16.2, 78.4),
    "vitb16": (85.7, 35.9, 47.1, 215),
    "vitl16": (303, 126, 165, 727),
    "vith16plus": (841, 344, 450, 1902),
    "convnext_tiny": (27.8, 8.9, 11.6, 46.5),
    "convnext_small": (49.5, 17.4, 22.7, 90.7),
    "convnext_base": (87.6, 30.7, 40.1, 160),
    "convnext_large": (196, 68.7, 89.8, 359),
}
SMALL = VitSpec(64, 2, 2, 128)


@pytest.mark.parametrize("arch", CARDS)
def test_parameters_and_operations_are_those_of_the_cards(arch: str) -> None:
    spec, (millions, *operations) = FAMILY[arch], CARDS[arch]
    assert parameters(spec) / 1e6 == pytest.approx(millions, rel=0.005)
    for side, expected in zip((224, 256, 512), operations, strict=True):
        assert gflops(spec, Size(side, side)) == pytest.approx(expected, rel=0.025)


def test_tokens_and_grid() -> None:
    assert tokens(FAMILY["vits16"], Size(224, 224)) == 201
    assert grid(FAMILY["vits16"], Size(480, 640)) == (30, 40)
    assert tokens(FAMILY["vits16"], Size(480, 640)) == 1205
    assert grid(FAMILY["convnext_tiny"], Size(480, 640)) == (15, 20)
    assert tokens(FAMILY["convnext_tiny"], Size(224, 224)) == 50


@pytest.mark.parametrize(("text", "size"), [("224", (224, 224)), ("480x640", (480, 640)), ("720X1280", (720, 1280))])
def test_sizes_are_height_by_width(text: str, size: tuple[int, int]) -> None:
    parsed = Size.parse(text)
    assert (parsed.height, parsed.width) == size
    assert str(parsed) == f"{size[0]}x{size[1]}"


@pytest.mark.parametrize("text", ["", "x", "0", "-224", "224x", "1x2x3", "22.4", "²²⁴", "large", "0x16"])
def test_invalid_sizes(text: str) -> None:
    with pytest.raises(RequestError, match="is not an input size") as caught:
        Size.parse(text)
    assert "480x640" in caught.value.remedy


@pytest.mark.parametrize(
    ("spec", "size", "nearest"),
    [
        (SMALL, Size(225, 224), "224x224 or 240x224"),
        (SMALL, Size(224, 250), "224x240 or 224x256"),
        (SMALL, Size(7, 7), "16x16"),
        (SMALL, Size(7, 33), "16x32 or 16x48"),
        (FAMILY["convnext_tiny"], Size(720, 1280), "704x1280 or 736x1280"),
    ],
)
def test_a_size_between_two_steps_is_refused_with_both(spec: VitSpec | ConvNextSpec, size: Size, nearest: str) -> None:
    with pytest.raises(InputSizeError, match=f"{size} is not a multiple of {spec.stride}") as caught:
        check_size(spec, size)
    assert caught.value.remedy == f"use --input-size {nearest}"


@pytest.mark.parametrize("size", [Size(224, 224), Size(480, 640), Size(720, 1280), Size(16, 16)])
def test_every_multiple_of_the_patch_is_taken(size: Size) -> None:
    check_size(SMALL, size)


@pytest.mark.parametrize("arch", FAMILY)
def test_dimensions_name_the_family(arch: str) -> None:
    assert family_name(FAMILY[arch]) == arch
    assert family_name(VitSpec(384, 12, 6, 1536, registers=0, norm_eps=1e-6, key_bias=True)) == "vits16"
    assert family_name(SMALL) is None
    assert family_name(ConvNextSpec((1, 1, 1, 1), (96, 192, 384, 768))) is None


def test_dimensions_for_people() -> None:
    assert describe(FAMILY["vits16plus"]) == "width 384, depth 12, heads 6, SwiGLU 1536, patch 16"
    assert describe(FAMILY["convnext_tiny"]) == "widths 96-192-384-768, depths 3-3-9-3, stride 32"


def test_the_table_needs_no_torch() -> None:
    script = "import sys, edgec.model.spec; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
