"""What heads bring, against PyTorch: resampling, pooling, transposed convolution, labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from edgec.lowering.coreml.evaluator.operations import OPERATIONS, Unsupported

from .cases import Case, check, compute
from .programs import Array, mb

RANDOM = np.random.default_rng(7)


def drawn(*shape: int) -> Array:
    return RANDOM.normal(0, 1.5, shape).astype(np.float32)


IMAGE = drawn(2, 4, 5, 7)
SPREAD, GROUPED, BIAS = drawn(4, 6, 2, 3), drawn(4, 3, 3, 2), drawn(6)
EDGES = {"kernel_sizes": [3, 2], "strides": [2, 1], "pad_type": "custom", "pad": [1, 1, 1, 1]}


def resized(rows: int, columns: int, mode: str) -> Case:
    corners = mode == "STRICT_ALIGN_CORNERS"
    return Case(
        f"resize_{rows}_{columns}_{corners}",
        lambda x: mb.resize_bilinear(x=x, target_size_height=rows, target_size_width=columns, sampling_mode=mode),
        lambda x: F.interpolate(x, (rows, columns), mode="bilinear", align_corners=corners),
        IMAGE,
    )


def pooled(kind: str, expect: Any, **options: Any) -> Case:
    return Case(f"{kind}_{len(options)}", lambda x: getattr(mb, kind)(x=x, **EDGES, **options), expect, IMAGE)


CASES = [
    resized(10, 14, "UNALIGN_CORNERS"),
    resized(8, 13, "UNALIGN_CORNERS"),
    resized(3, 2, "UNALIGN_CORNERS"),
    resized(10, 14, "STRICT_ALIGN_CORNERS"),
    resized(7, 1, "STRICT_ALIGN_CORNERS"),
    Case(
        "nearest",
        lambda x: mb.upsample_nearest_neighbor(x=x, scale_factor_height=2, scale_factor_width=3),
        lambda x: F.interpolate(x, scale_factor=(2, 3), mode="nearest"),
        IMAGE,
    ),
    Case(
        "conv_transpose",
        lambda x: mb.conv_transpose(x=x, weight=SPREAD, bias=BIAS, strides=[2, 3]),
        lambda x: F.conv_transpose2d(x, torch.tensor(SPREAD), torch.tensor(BIAS), stride=(2, 3)),
        IMAGE,
    ),
    Case(
        "conv_transpose_odd",
        lambda x: mb.conv_transpose(
            x=x, weight=GROUPED, groups=2, strides=[2, 1], dilations=[1, 2], pad_type="custom", pad=[1, 1, 2, 2]
        ),
        lambda x: F.conv_transpose2d(x, torch.tensor(GROUPED), stride=(2, 1), padding=(1, 2), groups=2, dilation=(1, 2)),
        IMAGE,
    ),
    pooled("max_pool", lambda x: F.max_pool2d(F.pad(x, (1, 1, 1, 1), value=-1e9), (3, 2), (2, 1))),
    pooled("avg_pool", lambda x: F.avg_pool2d(F.pad(x, (1, 1, 1, 1)), (3, 2), (2, 1))),
    pooled(
        "avg_pool",
        lambda x: F.avg_pool2d(x, (3, 2), (2, 1), (1, 1), count_include_pad=False),
        exclude_padding_from_average=True,
    ),
    Case("argmax", lambda x: mb.reduce_argmax(x=x, axis=1), lambda x: x.argmax(1), IMAGE),
    Case("argmax_kept", lambda x: mb.reduce_argmax(x=x, axis=-1, keep_dims=True), lambda x: x.argmax(-1, keepdim=True), IMAGE),
]


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Array]:
    return compute(CASES, tmp_path_factory.mktemp("operations") / "heads.mlpackage")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_operation(case: Case, computed: dict[str, Array]) -> None:
    check(case, computed)


def test_sampling_is_that_of_coremltools_documentation() -> None:
    """Its table for two pixels that become five."""
    table = {
        "UNALIGN_CORNERS": [0, 0.1, 0.5, 0.9, 1],
        "STRICT_ALIGN_CORNERS": [0, 0.25, 0.5, 0.75, 1],
        "ALIGN_CORNERS": [0, 0.25, 0.5, 0.75, 1],
        "DEFAULT": [0, 0.4, 0.8, 1, 1],
        "OFFSET_CORNERS": [0.1, 0.3, 0.5, 0.7, 0.9],
    }
    line = np.array([[[0, 1]]], np.float32)
    for mode, points in table.items():
        actual = OPERATIONS["resize_bilinear"](line, 1, 5, mode)
        np.testing.assert_allclose(actual, [[points]], atol=1e-6)
    middle = OPERATIONS["resize_bilinear"](line, 1, 1, "ALIGN_CORNERS")
    np.testing.assert_allclose(middle, [[[0.5]]])


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("resize_bilinear", {"target_size_height": 3, "target_size_width": 3, "sampling_mode": "BICUBIC"}),
        ("upsample_nearest_neighbor", {"scale_factor_height": 1.5, "scale_factor_width": 1.0}),
        ("max_pool", {"kernel_sizes": np.array([2, 2]), "ceil_mode": True}),
        ("conv_transpose", {"weight": SPREAD, "output_shape": np.array([2, 6, 10, 21])}),
        ("reduce_argmax", {"output_dtype": "int64"}),
    ],
)
def test_what_is_not_known_is_refused(kind: str, options: dict[str, Any]) -> None:
    with pytest.raises(Unsupported):
        OPERATIONS[kind](IMAGE, **options)
