"""How fast this machine multiplies matrices in a type: the upper limit for a program's steps.

The rate is that of a chain of products in OpenVINO and nothing else, the best of several runs. int8 is u8 x i8, requantised to u8
in between. Shapes are such that the cores have enough to do and all weights fit into a second-level cache.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import numpy as np

from edgec import extras
from edgec.onboard.runtimes import openvino_info

HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
ROWS, SIDE, LINKS = 512, 512, 8
RUNS, SECONDS = 30, 1.0


def product_rates(types: Iterable[str], threads: int) -> dict[str, float]:
    """GFLOP a second by type, for those of `types` that can be measured here: none without OpenVINO, and no type that OpenVINO
    computes in another one on this machine."""
    if not extras.installed("openvino"):
        return {}
    rates = {kind: _rate(kind, threads) for kind in sorted(set(types)) if kind in HINTS}
    return {kind: rate for kind, rate in rates.items() if rate}


def _rate(kind: str, threads: int) -> float:
    import openvino as ov

    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": HINTS[kind]}
    compiled = ov.Core().compile_model(_chain(kind), "CPU", settings)
    if _types(compiled) != ({"u8"} if kind == "int8" else {HINTS[kind]}):
        return 0.0
    request = compiled.create_infer_request()
    values = np.random.default_rng(0).uniform(0, 1, (1, ROWS, SIDE)).astype(np.float32)
    best, begun = float("inf"), time.perf_counter()
    for _ in range(RUNS):
        before = time.perf_counter()
        request.infer([values], share_inputs=True)
        best = min(best, time.perf_counter() - before)
        if time.perf_counter() - begun > SECONDS:
            break
    return 2e-9 * ROWS * SIDE * SIDE * LINKS / best


def _types(compiled: Any) -> set[str]:
    products = (node for node in compiled.get_runtime_model().get_ops() if openvino_info(node, "layerType") == "FullyConnected")
    return {openvino_info(node, "runtimePrecision") for node in products}


def _chain(kind: str) -> Any:
    import openvino as ov
    from openvino import opset13 as op

    random = np.random.default_rng(0)
    entry = op.parameter([1, ROWS, SIDE], np.float32)
    value: Any = entry
    for _ in range(LINKS):
        if kind == "int8":
            low, high = op.constant(np.float32(0)), op.constant(np.float32(255))
            value = op.fake_quantize(value, low, high, low, high, 256)
            integers = op.convert(op.constant(random.integers(-127, 128, (SIDE, SIDE), dtype=np.int8)), "f32")
            weight: Any = op.multiply(integers, op.constant(np.full((SIDE, 1), 1e-3, np.float32)))
        else:
            # Denormal numbers are slow: the variance stays what it was.
            weight = op.constant(random.standard_normal((SIDE, SIDE), dtype=np.float32) / np.float32(SIDE**0.5))
        value = op.matmul(value, weight, False, True)
    return ov.Model([op.result(value)], [entry])
