"""Building an engine from an ONNX graph with TensorRT's Python package, 8.6 to 11.

What differs (NVIDIA/TensorRT, python/src/infer/pyCore.cpp and pyGraph.cpp at v8.6.1, v9.3.0, v10.0.1 to v10.16, v11.0 and v11.1;
API Migration Guide, Python, 8.x to 10.x and 10.x to 11.x):

- Before 10, a network for ONNX must be created with EXPLICIT_BATCH; in 10 that flag does nothing, from 11 it is gone.
- STRONGLY_TYPED is there since 9. From 11 every network is.
- FP16, INT8, PREFER_PRECISION_CONSTRAINTS and a layer's `precision` are gone from 11. They are used where a network cannot be
  strongly typed, which is before 9 (`edgec_device.flags`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgec.lowering.tensorrt.engine.log import Failed, Log

Options = Mapping[str, str]


def build(trt: Any, logger: Any, log: Log, options: Options, version: tuple[int, int, int]) -> bytes:
    """The engine as bytes to store. Reads the timing cache, and replaces it. Raises `Failed` if TensorRT refuses the graph."""
    builder = trt.Builder(logger)
    network = builder.create_network(_network_flags(trt, options, version))
    _parse(trt, network, logger, log, Path(options["onnx"]))
    config = builder.create_builder_config()
    _configure(trt, config, options)
    _constrain(trt, network, options)
    cache = _set_timing_cache(config, log, options)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise Failed("Engine could not be created from network")
    if cache is not None:
        cache.write_bytes(bytes(config.get_timing_cache().serialize()))
        log.info(f"Saved {cache.stat().st_size} bytes of timing cache to {cache}")
    return bytes(plan)


def _network_flags(trt: Any, options: Options, version: tuple[int, int, int]) -> int:
    flags = trt.NetworkDefinitionCreationFlag
    bits = 0
    if version < (10,):
        bits |= 1 << int(flags.EXPLICIT_BATCH)
    if "stronglyTyped" in options:
        bits |= 1 << int(flags.STRONGLY_TYPED)
    return bits


def _parse(trt: Any, network: Any, logger: Any, log: Log, path: Path) -> None:
    log.info("Start parsing network model.")
    parser = trt.OnnxParser(network, logger)
    if parser.parse_from_file(str(path)):
        log.info("Finished parsing network model.")
        return
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        log.line("E", f"node {error.node()}: {error.desc()}")
    raise Failed(f"Failed to parse onnx file {path}")


def _configure(trt: Any, config: Any, options: Options) -> None:
    flags = trt.BuilderFlag
    config.builder_optimization_level = int(options.get("builderOptimizationLevel", "3"))
    if "noTF32" in options:
        config.clear_flag(flags.TF32)
    if "fp16" in options:
        config.set_flag(flags.FP16)
    if "int8" in options:
        config.set_flag(flags.INT8)
    if "precisionConstraints" in options:
        config.set_flag(flags.PREFER_PRECISION_CONSTRAINTS)


def _constrain(trt: Any, network: Any, options: Options) -> None:
    """`layerPrecisions` is NAME:fp32,NAME:fp32…; no other type occurs."""
    in_float32 = {entry.rpartition(":")[0] for entry in options.get("layerPrecisions", "").split(",")}
    if in_float32 == {""}:
        return
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.name in in_float32:
            layer.precision = trt.float32


def _set_timing_cache(config: Any, log: Log, options: Options) -> Path | None:
    """The path of the timing cache, if there is one."""
    if "timingCacheFile" not in options:
        return None
    path = Path(options["timingCacheFile"])
    content = path.read_bytes() if path.is_file() else b""
    log.info(f"Loaded {len(content)} bytes of timing cache from {path}")
    cache = config.create_timing_cache(content)
    if cache is None or not config.set_timing_cache(cache, False):
        raise Failed(f"Failed to create timingCache from {path}!")
    return path
