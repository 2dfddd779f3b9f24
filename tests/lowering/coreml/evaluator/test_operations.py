"""Every operation against PyTorch, on shapes that forgive nothing, from packages that were saved and read back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from .cases import Case, check, compute
from .programs import Array, mb

RANDOM = np.random.default_rng(0)


def drawn(*shape: int) -> Array:
    return RANDOM.normal(0, 1.5, shape).astype(np.float32)


W = drawn(6, 4, 3, 2)
DEPTHWISE = drawn(5, 1, 7, 7)
GROUPED = drawn(6, 2, 3, 3)
PATCH = drawn(7, 3, 4, 3)
BIAS = drawn(6)
IMAGE = drawn(2, 4, 9, 11)
GAMMA, BETA = drawn(5, 6), drawn(5, 6)
LINEAR, LINEAR_BIAS = drawn(8, 5), drawn(8)
QKV = drawn(2, 3, 7, 8)
KEYS = drawn(2, 3, 11, 8)
BIAS_MASK = drawn(7, 11)
BOOL_MASK = RANDOM.random((7, 11)) > 0.4
SCALES, ZEROS = np.array([0.1, 0.02, 0.5], np.float32), np.array([3, 0, -7], np.int8)
AFFINE = {"strides": [2, 1], "pad_type": "custom", "pad": [1, 2, 0, 3], "dilations": [2, 1]}


def torch_same(x: torch.Tensor, lower: bool) -> torch.Tensor:
    """9x11 under a 3x2 kernel with stride 2: totals of 2 and 1."""
    padded = F.pad(x, (1, 0, 1, 1) if lower else (0, 1, 1, 1))
    return F.conv2d(padded, torch.tensor(W), torch.tensor(BIAS), stride=2)


def attention(q: torch.Tensor, k: torch.Tensor, mask: Array | None = None) -> torch.Tensor:
    return F.scaled_dot_product_attention(q, k, k * 2, None if mask is None else torch.tensor(mask))


def unary(name: str, expect: Callable[[torch.Tensor], torch.Tensor], *, positive: bool = False, **options: Any) -> Case:
    x = drawn(3, 1, 17) * 2
    label = "_".join([name, *(str(value) for value in options.values() if isinstance(value, str))])
    return Case(label, lambda x: getattr(mb, name)(x=x, **options), expect, np.abs(x) + np.float32(0.01) if positive else x)


def binary(name: str, expect: Callable[..., torch.Tensor], x: Array | None = None, y: Array | None = None) -> Case:
    left, right = (drawn(2, 1, 5) if x is None else x), (drawn(4, 1) if y is None else y)
    return Case(name, lambda x, y: getattr(mb, name)(x=x, y=y), expect, left, right)


def reduced(name: str, expect: Callable[[torch.Tensor], torch.Tensor], **options: Any) -> Case:
    label = f"{name}_{len(options)}"
    return Case(label, lambda x: getattr(mb, name)(x=x, **options), expect, drawn(3, 4, 5))


CASES = [
    Case(
        "conv",
        lambda x: mb.conv(x=x, weight=W, bias=BIAS, **AFFINE),
        lambda x: F.conv2d(F.pad(x, (0, 3, 1, 2)), torch.tensor(W), torch.tensor(BIAS), stride=(2, 1), dilation=(2, 1)),
        IMAGE,
    ),
    Case(
        "conv_same",
        lambda x: mb.conv(x=x, weight=W, bias=BIAS, strides=[2, 2], pad_type="same"),
        lambda x: torch_same(x, False),
        IMAGE,
    ),
    Case(
        "conv_same_lower",
        lambda x: mb.conv(x=x, weight=W, bias=BIAS, strides=[2, 2], pad_type="same_lower"),
        lambda x: torch_same(x, True),
        IMAGE,
    ),
    Case(
        "conv_groups",
        lambda x: mb.conv(x=x, weight=GROUPED, groups=2, pad_type="valid", strides=[1, 2]),
        lambda x: F.conv2d(x, torch.tensor(GROUPED), groups=2, stride=(1, 2)),
        IMAGE,
    ),
    Case(
        "conv_depthwise",
        lambda x: mb.conv(x=x, weight=DEPTHWISE, groups=5, pad_type="custom", pad=[3, 3, 3, 3]),
        lambda x: F.conv2d(x, torch.tensor(DEPTHWISE), groups=5, padding=3),
        drawn(2, 5, 9, 8),
    ),
    Case(
        "conv_depthwise_odd",
        lambda x: mb.conv(
            x=x,
            weight=np.tile(DEPTHWISE[:4, :, :3, :2], (2, 1, 1, 1)),
            groups=4,
            pad_type="valid",
            strides=[2, 3],
            dilations=[2, 1],
        ),
        lambda x: F.conv2d(
            x, torch.tensor(DEPTHWISE[:4, :, :3, :2]).repeat(2, 1, 1, 1), groups=4, stride=(2, 3), dilation=(2, 1)
        ),
        IMAGE,
    ),
    Case(
        "conv_patches",
        lambda x: mb.conv(x=x, weight=PATCH, strides=[4, 3], pad_type="valid"),
        lambda x: F.conv2d(x, torch.tensor(PATCH), stride=(4, 3)),
        drawn(2, 3, 9, 11),
    ),
    Case(
        "conv_pointwise",
        lambda x: mb.conv(x=x, weight=W[:, :, :1, :1], pad_type="valid"),
        lambda x: F.conv2d(x, torch.tensor(W[:, :, :1, :1])),
        IMAGE,
    ),
    Case(
        "conv_line",
        lambda x: mb.conv(x=x, weight=W[..., 0], strides=[2], pad_type="custom", pad=[2, 0]),
        lambda x: F.conv1d(F.pad(x, (2, 0)), torch.tensor(W[..., 0]), stride=2),
        IMAGE[..., 0],
    ),
    Case(
        "linear",
        lambda x: mb.linear(x=x, weight=LINEAR, bias=LINEAR_BIAS),
        lambda x: F.linear(x, torch.tensor(LINEAR), torch.tensor(LINEAR_BIAS)),
        drawn(2, 3, 5),
    ),
    Case(
        "matmul",
        lambda x, y: mb.matmul(x=x, y=y, transpose_x=True, transpose_y=True),
        lambda x, y: x.mT @ y.mT,
        drawn(3, 5, 4),
        drawn(2, 1, 6, 5),
    ),
    Case(
        "einsum",
        lambda x, y: mb.einsum(values=(x, y), equation="abcd,adce->abce"),
        lambda x, y: torch.einsum("abcd,adce->abce", x, y),
        drawn(2, 3, 4, 5),
        drawn(2, 5, 4, 6),
    ),
    Case(
        "attention",
        lambda x, y: mb.scaled_dot_product_attention(query=x, key=y, value=mb.mul(x=y, y=np.float32(2))),
        attention,
        QKV,
        KEYS,
    ),
    Case(
        "attention_mask",
        lambda x, y: mb.scaled_dot_product_attention(query=x, key=y, value=mb.mul(x=y, y=np.float32(2)), attn_mask=BIAS_MASK),
        lambda x, y: attention(x, y, BIAS_MASK),
        QKV,
        KEYS,
    ),
    Case(
        "attention_bool",
        lambda x, y: mb.scaled_dot_product_attention(query=x, key=y, value=mb.mul(x=y, y=np.float32(2)), attn_mask=BOOL_MASK),
        lambda x, y: attention(x, y, BOOL_MASK),
        QKV,
        KEYS,
    ),
    Case(
        "layer_norm",
        lambda x: mb.layer_norm(x=x, axes=[-1], gamma=GAMMA[0], beta=BETA[0], epsilon=1e-3),
        lambda x: F.layer_norm(x, (6,), torch.tensor(GAMMA[0]), torch.tensor(BETA[0]), 1e-3),
        drawn(2, 3, 6) * 0.02,
    ),
    Case(
        "layer_norm_axes",
        lambda x: mb.layer_norm(x=x, axes=[2, -2], gamma=GAMMA, beta=BETA),
        lambda x: F.layer_norm(x, (5, 6), torch.tensor(GAMMA), torch.tensor(BETA)),
        drawn(4, 5, 6),
    ),
    Case(
        "layer_norm_channels",
        lambda x: mb.layer_norm(x=x, axes=[1], gamma=GAMMA[:4, 0], epsilon=1e-6),
        lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (4,), torch.tensor(GAMMA[:4, 0]), None, 1e-6).permute(0, 3, 1, 2),
        IMAGE,
    ),
    Case(
        "batch_norm",
        lambda x: mb.batch_norm(x=x, mean=GAMMA[0, :4], variance=BETA[0, :4] ** 2, gamma=BIAS[:4], epsilon=1e-2),
        lambda x: F.batch_norm(x, torch.tensor(GAMMA[0, :4]), torch.tensor(BETA[0, :4] ** 2), torch.tensor(BIAS[:4]), eps=1e-2),
        IMAGE,
    ),
    Case("softmax", lambda x: mb.softmax(x=x, axis=-2), lambda x: x.softmax(-2), drawn(2, 7, 3) * 30),
    unary("gelu", lambda x: F.gelu(x), mode="EXACT"),
    unary("gelu", lambda x: F.gelu(x, approximate="tanh"), mode="TANH_APPROXIMATION"),
    unary("gelu", lambda x: x * torch.sigmoid(1.702 * x), mode="SIGMOID_APPROXIMATION"),
    unary("erf", torch.erf),
    unary("sigmoid", torch.sigmoid),
    unary("silu", F.silu),
    unary("tanh", torch.tanh),
    unary("relu", F.relu),
    unary("leaky_relu", lambda x: F.leaky_relu(x, 0.3), alpha=0.3),
    unary("exp", torch.exp),
    unary("exp2", torch.exp2),
    unary("sin", torch.sin),
    unary("cos", torch.cos),
    unary("abs", torch.abs),
    unary("square", torch.square),
    unary("sign", torch.sign),
    unary("round", torch.round),
    unary("floor", torch.floor),
    unary("ceil", torch.ceil),
    unary("sqrt", torch.sqrt, positive=True),
    unary("log", lambda x: torch.log(x + 0.5), positive=True, epsilon=0.5),
    unary("rsqrt", lambda x: torch.rsqrt(x + 0.25), positive=True, epsilon=0.25),
    unary("inverse", lambda x: 1 / (x + 0.125), positive=True, epsilon=0.125),
    unary("clip", lambda x: x.clamp(-1, 0.5), alpha=-1.0, beta=0.5),
    unary("cast", lambda x: x.to(torch.int32), dtype="int32"),
    binary("add", torch.add),
    binary("sub", torch.sub),
    binary("mul", torch.mul),
    binary("real_div", torch.div),
    binary("maximum", torch.maximum),
    binary("minimum", torch.minimum),
    binary("floor_div", torch.floor_divide),
    binary("mod", torch.remainder),
    binary("pow", torch.pow, np.abs(drawn(2, 3)) + 1, drawn(3)),
    binary("greater", torch.gt),
    binary("less_equal", torch.le),
    binary("equal", torch.eq, np.array([1, 2], np.float32), np.array([1, 3], np.float32)),
    Case("select", lambda x, y: mb.select(cond=mb.less(x=x, y=y), a=x, b=y), torch.minimum, drawn(3, 4), drawn(3, 4)),
    reduced("reduce_mean", lambda x: x.mean((0, 2), keepdim=True), axes=[0, -1], keep_dims=True),
    reduced("reduce_sum", lambda x: x.sum(1), axes=[-2]),
    reduced("reduce_max", lambda x: x.amax(), keep_dims=False),
    reduced("reduce_min", lambda x: x.amin(2), axes=[2]),
    reduced("reduce_l2_norm", lambda x: x.norm(dim=(0, 1)), axes=[0, 1]),
    reduced("reduce_sum_square", lambda x: x.square().sum(0), axes=[0]),
    Case("reshape", lambda x: mb.reshape(x=x, shape=[0, -1, 5]), lambda x: x.reshape(3, 4, 5), drawn(3, 4, 5)),
    Case("reshape_aligned", lambda x: mb.reshape(x=x, shape=[1, 0, -1, 0]), lambda x: x.reshape(1, 1, 2, 50), drawn(2, 50)),
    Case("transpose", lambda x: mb.transpose(x=x, perm=[2, 0, -2]), lambda x: x.permute(2, 0, 1), drawn(3, 4, 5)),
    Case("expand_dims", lambda x: mb.expand_dims(x=x, axes=[-1, 1]), lambda x: x[:, None, :, None], drawn(3, 4)),
    Case("squeeze", lambda x: mb.squeeze(x=x, axes=[-1]), lambda x: x.squeeze(-1), drawn(1, 3, 1)),
    Case(
        "concat",
        lambda x, y: mb.concat(values=(x, y, x), axis=-2),
        lambda x, y: torch.cat((x, y, x), -2),
        drawn(2, 3, 4),
        drawn(2, 1, 4),
    ),
    Case("stack", lambda x, y: mb.stack(values=(x, y), axis=1), lambda x, y: torch.stack((x, y), 1), drawn(2, 3), drawn(2, 3)),
    Case(
        "split", lambda x: mb.split(x=x, split_sizes=[1, 4, 2], axis=-1), lambda x: x.split((1, 4, 2), -1), drawn(2, 7), several=3
    ),
    Case("split_even", lambda x: mb.split(x=x, num_splits=2, axis=0), lambda x: x.chunk(2), drawn(4, 3), several=2),
    Case(
        "slice",
        lambda x: mb.slice_by_index(
            x=x,
            begin=[1, -3, 9, 1],
            end=[9, -1, 9, 0],
            stride=[2, 1, 3, 1],
            begin_mask=[False, False, True, False],
            end_mask=[False, False, True, False],
            squeeze_mask=[False, False, False, True],
        ),
        lambda x: x[1:9:2, -3:-1, ::3, 1],
        drawn(6, 4, 8, 3),
    ),
    Case("slice_size", lambda x: mb.slice_by_size(x=x, begin=[1, 0], size=[2, -1]), lambda x: x[1:3], drawn(5, 3)),
    Case("gather", lambda x: mb.gather(x=x, indices=[[2, 0], [1, 1]], axis=-2), lambda x: x[:, [[2, 0], [1, 1]]], drawn(2, 3, 4)),
    Case("gather_one", lambda x: mb.gather(x=x, indices=0, axis=1), lambda x: x[:, 0], drawn(2, 3, 4)),
    Case(
        "gather_along",
        lambda x: mb.gather_along_axis(x=x, indices=np.array([[1, 0], [2, 2]], np.int32), axis=1),
        lambda x: x.gather(1, torch.tensor([[1, 0], [2, 2]])),
        drawn(2, 3),
    ),
    Case(
        "pad",
        lambda x: mb.pad(x=x, pad=[1, 0, 2, 3], constant_val=0.5),
        lambda x: F.pad(x, (2, 3, 1, 0), value=0.5),
        drawn(2, 3, 4),
    ),
    Case("pad_reflect", lambda x: mb.pad(x=x, pad=[1, 2], mode="reflect"), lambda x: F.pad(x, (1, 2), "reflect"), drawn(2, 3, 4)),
    Case(
        "pad_edge", lambda x: mb.pad(x=x, pad=[1, 2], mode="replicate"), lambda x: F.pad(x, (1, 2), "replicate"), drawn(2, 3, 4)
    ),
    Case("tile", lambda x: mb.tile(x=x, reps=[2, 1, 3]), lambda x: x.tile(2, 1, 3), drawn(1, 2, 2)),
    Case("reverse", lambda x: mb.reverse(x=x, axes=[-1]), lambda x: x.flip(-1), drawn(2, 3)),
    Case(
        "quantize",
        lambda x: mb.dequantize(
            input=mb.quantize(input=x, scale=SCALES, zero_point=ZEROS, axis=1, output_dtype="int8"),
            scale=SCALES,
            zero_point=ZEROS,
            axis=-2,
        ),
        lambda x: torch.fake_quantize_per_channel_affine(
            x, torch.tensor(SCALES), torch.tensor(ZEROS.astype(np.int32)), 1, -128, 127
        ),
        drawn(2, 3, 40),
    ),
    Case(
        "quantize_scalar",
        lambda x: mb.dequantize(
            input=mb.quantize(input=x, scale=SCALES[1], zero_point=np.uint8(100), output_dtype="uint8"),
            scale=SCALES[1],
            zero_point=np.uint8(100),
        ),
        lambda x: torch.fake_quantize_per_tensor_affine(x, float(SCALES[1]), 100, 0, 255),
        drawn(2, 50),
    ),
    Case(
        "dequantize",
        lambda x: mb.dequantize(input=x, scale=SCALES, zero_point=ZEROS, axis=0),
        lambda x: (x - torch.tensor(ZEROS.astype(int))[:, None]) * torch.tensor(SCALES)[:, None],
        np.arange(-128, 127, dtype=np.int8).reshape(3, 85),
    ),
]


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Array]:
    return compute(CASES, tmp_path_factory.mktemp("operations") / "all.mlpackage")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_operation(case: Case, computed: dict[str, Array]) -> None:
    check(case, computed)
