"""The command line that replaces trtexec: its options, its order of steps, its exit codes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgec.lowering.tensorrt.engine.building import build
from edgec.lowering.tensorrt.engine.cuda import CudaError, Gpu
from edgec.lowering.tensorrt.engine.exports import write_outputs, write_times
from edgec.lowering.tensorrt.engine.log import Failed, Log, logger
from edgec.lowering.tensorrt.engine.running import Engine, measure

KNOWN = {
    *("onnx", "saveEngine", "skipInference", "timingCacheFile", "builderOptimizationLevel", "noTF32", "stronglyTyped"),
    *("fp16", "int8", "precisionConstraints", "layerPrecisions"),
    *("loadEngine", "loadInputs", "exportOutput", "exportTimes", "warmUp", "duration", "iterations", "avgRuns", "percentile"),
    *("exposeDMA", "useSpinWait", "useCudaGraph", "includeDataTransfers", "infStreams", "sleepTime", "idleTime"),
    *("device", "verbose"),
}
"""Those of trtexec's options that the program for the boards uses (`edgec_device.flags`, `build`, `verify`, `bench`)."""
ONLY = {"device": "0", "infStreams": "1", "sleepTime": "0", "idleTime": "0", "precisionConstraints": "prefer"}
"""These have one value here, and are refused with any other."""


def main(argv: list[str]) -> int:
    """Does what the options say, as trtexec does. Returns the exit code: 0, or 1 with the reason in the log."""
    import tensorrt as trt

    options = _options(argv[1:])
    version = _version(trt.__version__)
    log = Log(version, argv, verbose="verbose" in options)
    log.result("RUNNING")
    try:
        _check(options)
        _log_settings(log, options)
        gpu = Gpu()
        _log_device(log, gpu)
        log.info(f"TensorRT version: {trt.__version__}, through its Python package")
        _work(trt, log, gpu, options, version)
    except (Failed, CudaError, OSError) as error:
        log.line("E", str(error))
        log.result("FAILED")
        return 1
    log.result("PASSED")
    return 0


def _work(trt: Any, log: Log, gpu: Gpu, options: Mapping[str, str], version: tuple[int, int, int]) -> None:
    trt_logger = logger(trt, log)
    trt.init_libnvinfer_plugins(trt_logger, "")
    if "onnx" in options:
        plan = build(trt, trt_logger, log, options, version)
        Path(options["saveEngine"]).write_bytes(plan)
        log.info(f"Created engine with size: {len(plan) / 2**20:.4g} MiB")
        return
    path = Path(options["loadEngine"])
    if not path.is_file():
        raise Failed(f"Error opening engine file: {path}")
    engine = Engine(trt, trt_logger, log, gpu, path.read_bytes(), spin="useSpinWait" in options)
    inputs = dict(entry.rsplit(":", 1) for entry in options.get("loadInputs", "").split(",") if entry)
    engine.load({name: Path(file).read_bytes() for name, file in inputs.items()})
    engine.prepare(graph="useCudaGraph" in options)
    warm_up, duration = float(options.get("warmUp", "200")), float(options.get("duration", "3")) * 1000
    warmed, runs = measure(engine, warm_up=warm_up, duration=duration, iterations=int(options.get("iterations", "10")))
    log.info(f"Warmup completed {warmed} queries over {warm_up:g} ms")
    log.info(f"Timing trace has {len(runs)} queries over {duration / 1000:g} s")
    if "exportOutput" in options:
        write_outputs(Path(options["exportOutput"]), [binding for binding in engine.bindings if not binding.is_input])
    if "exportTimes" in options:
        write_times(Path(options["exportTimes"]), runs)


def _options(arguments: list[str]) -> dict[str, str]:
    """Options by name, without dashes; the value is what follows the first `=`."""
    return {name.lstrip("-"): value for name, _, value in (argument.partition("=") for argument in arguments)}


def _check(options: Mapping[str, str]) -> None:
    for name, value in options.items():
        if name not in KNOWN or value != ONLY.get(name, value):
            raise Failed(f"Unknown option: --{name} {value}".rstrip())
    if "onnx" in options and not {"saveEngine", "skipInference"} <= set(options):
        raise Failed("An engine is built (--onnx) with --saveEngine and --skipInference, and run in another process")
    if ("onnx" in options) == ("loadEngine" in options):
        raise Failed("Model missing or format not recognized")


def _version(text: str) -> tuple[int, int, int]:
    """The first three numbers of a version such as `10.13.3.9`."""
    major, minor, patch, *_ = (*map(int, re.findall(r"\d+", text)), 0, 0)
    return major, minor, patch


def _log_settings(log: Log, options: Mapping[str, str]) -> None:
    """How it really measures: one frame after the other, always with both copies."""

    def enabled(name: str) -> str:
        return "Enabled" if name in options else "Disabled"

    log.info("=== Inference Options ===")
    log.info("ExposeDMA: Enabled")
    log.info("Data transfers: Enabled")
    log.info(f"Spin-wait: {enabled('useSpinWait')}")
    log.info("Multithreading: Disabled")
    log.info(f"CUDA Graph: {enabled('useCudaGraph')}")


def _log_device(log: Log, gpu: Gpu) -> None:
    log.info("=== Device Information ===")
    log.info(f"Selected Device: {gpu.name}")
    log.info(f"Compute Capability: {gpu.compute_capability}")
