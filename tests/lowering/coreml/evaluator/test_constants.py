"""Weights that coremltools itself compressed, saved, and decompressed again, against what the evaluator reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgec.errors import RuntimeFailure
from edgec.lowering.coreml.evaluator import load
from edgec.lowering.coreml.sdk import quiet

from .programs import Array, convert, ct, mb, run, save, walk, working

with quiet():
    import coremltools.optimize.coreml as cto
    from coremltools.converters.mil.mil.ops.defs.iOS18.compression import constexpr_lut_to_dense

RANDOM = np.random.default_rng(0)
WEIGHT = RANDOM.normal(0, 1, (24, 40)).astype(np.float32)
KERNEL = RANDOM.normal(0, 1, (24, 8, 3, 1)).astype(np.float32)
X, IMAGE = RANDOM.normal(0, 1, (3, 40)).astype(np.float32), RANDOM.normal(0, 1, (1, 8, 5, 4)).astype(np.float32)
INPUTS = {"x": X, "image": IMAGE}


def products(variables: dict[str, Any]) -> dict[str, Any]:
    return {
        "product": mb.linear(x=variables["x"], weight=WEIGHT, bias=np.zeros(24, np.float32)),
        "map": mb.conv(x=variables["image"], weight=KERNEL, pad_type="valid"),
    }


def quantised(**options: Any) -> Any:
    config = cto.OptimizationConfig(cto.OpLinearQuantizerConfig(weight_threshold=0, **options))
    return lambda model: cto.linear_quantize_weights(model, config)


def palettised(**options: Any) -> Any:
    config = cto.OptimizationConfig(cto.OpPalettizerConfig(weight_threshold=0, **options))
    return lambda model: cto.palettize_weights(model, config)


SCHEMES = {
    "affine": (ct.target.iOS16, quantised(mode="linear"), "constexpr_affine_dequantize"),
    "symmetric": (ct.target.iOS18, quantised(mode="linear_symmetric"), "constexpr_blockwise_shift_scale"),
    "blocks-of-int4": (
        ct.target.iOS18,
        quantised(mode="linear", dtype="int4", granularity="per_block", block_size=8),
        "constexpr_blockwise_shift_scale",
    ),
    "palette-6-packed": (ct.target.iOS16, palettised(mode="uniform", nbits=6), "constexpr_lut_to_dense"),
    "palette-4": (
        ct.target.iOS18,
        palettised(mode="uniform", nbits=4, granularity="per_grouped_channel", group_size=8),
        "constexpr_lut_to_dense",
    ),
    "palette-3": (ct.target.iOS18, palettised(mode="uniform", nbits=3), "constexpr_lut_to_dense"),
    "palette-8": (ct.target.iOS16, palettised(mode="uniform", nbits=8), "constexpr_lut_to_dense"),
}


Converted = Callable[[Any, bool], Any]


@pytest.fixture(scope="module")
def converted() -> Iterator[Converted]:
    """`products` as coremltools' model, by opset and whether in fp16. It is compressed as a copy."""
    models: dict[tuple[Any, bool], Any] = {}

    def one(opset: Any, half: bool) -> Any:
        if (opset, half) not in models:
            models[opset, half] = convert(INPUTS, products, opset=opset, half=half)
        return models[opset, half]

    yield one
    with working():
        models.clear()


@pytest.mark.parametrize(("scheme", "half"), [*((scheme, False) for scheme in SCHEMES), ("symmetric", True), ("palette-4", True)])
def test_compressed_as_coremltools_does(scheme: str, half: bool, converted: Converted, tmp_path: Path) -> None:
    opset, compress, kind = SCHEMES[scheme]
    path = tmp_path / "small.mlpackage"
    with working():
        compressed = compress(converted(opset, half))
        compressed.save(str(path))
        cto.decompress_weights(compressed).save(str(tmp_path / "dense.mlpackage"))
        del compressed
    program = load(path)
    assert {entry.kind for entry in program.function.operations if entry.kind.startswith("constexpr")} == {kind}
    expected = run(tmp_path / "dense.mlpackage", INPUTS)
    actual = walk(program, INPUTS)
    for name in ("product", "map"):
        np.testing.assert_allclose(actual[name], expected[name], rtol=1e-5, atol=1e-5 if not half else 4e-3)
        assert not np.allclose(actual[name], X @ WEIGHT.T if name == "product" else 0, atol=1e-4)


def test_tables_of_vectors(tmp_path: Path) -> None:
    from coremltools.converters.mil.mil import types

    kind = types.nptype_from_builtin(types.string_to_builtin("uint2"))
    indices = RANDOM.integers(0, 4, (6, 5)).astype(kind)
    lut = RANDOM.normal(0, 1, (3, 1, 4, 2)).astype(np.float32)
    dense: Array = constexpr_lut_to_dense.decompress(indices, lut, np.int32(0))

    def build(variables: dict[str, Any]) -> dict[str, Any]:
        weight = mb.constexpr_lut_to_dense(indices=indices, lut=lut, vector_axis=0)
        return {"product": mb.linear(x=variables["x"], weight=weight, bias=np.zeros(12, np.float32))}

    x = RANDOM.normal(0, 1, (3, 5)).astype(np.float32)
    actual = run(save(tmp_path / "vectors.mlpackage", {"x": x}, build), {"x": x})["product"]
    np.testing.assert_allclose(actual, x @ dense.T, rtol=1e-5, atol=1e-5)


def test_sparse_weights_are_refused_by_name(tmp_path: Path) -> None:
    config = cto.OptimizationConfig(cto.OpMagnitudePrunerConfig(target_sparsity=0.8, weight_threshold=0))
    path = save(tmp_path / "sparse.mlpackage", INPUTS, products, optimise=lambda model: cto.prune_weights(model, config))
    with pytest.raises(RuntimeFailure, match=r"Operation \w+ \(constexpr_sparse_to_dense\) is not known"):
        load(path)
