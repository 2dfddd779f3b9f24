"""The stand-in itself: reads the command line as trtexec does, then builds or runs. `settings.py` says how to make it wrong.

It can be told from NVIDIA's by its banner, by its engines, and by being a script: no report made with it may say `measured on
target`, and tests/device/test_evidence.py sees to that.
"""

from __future__ import annotations

import os
import sys
import time

from standin import exports
from standin.engine import Engine, Refused, pack, read_cache, unpack, write_cache
from standin.flags import known
from standin.inference import WrongSize, find_packages, outputs_of, read, time_a_run
from standin.log import Log, print_device, print_options
from standin.settings import SLOW_S, Settings

LAYERS = 24
FILLER = b"\0" * (1 << 20)
MOST_FILLER = 512


class Failed(Exception):
    """Printed as an error; the run ends with FAILED."""


def main(argv: list[str]) -> int:
    settings = Settings()
    if settings.fault("nonsense"):
        print("usage: something else entirely")
        return 0
    options = _options(argv[1:])
    log = Log(settings, argv, "verbose" in options)
    log.result("RUNNING")
    if not argv[1:] or {"help", "h"} & set(options):
        print("=== Model Options ===")
        return 0
    unknown = sorted(set(options) - known(settings.version))
    if unknown:
        for name in unknown:
            log.error(f"Unknown option: --{name} {options[name]}")
        if settings.version < (11, 1):
            log.result("FAILED")
        return 1
    print_options(log, options, settings.version, forgets_transfers=settings.fault("transfers") is not None)
    if not print_device(log, settings):
        return 1
    try:
        _work(options, settings, log)
    except (Failed, Refused, WrongSize) as error:
        log.error(str(error))
        log.result("FAILED")
        return 1
    log.result("PASSED")
    return 0


def _options(arguments: list[str]) -> dict[str, str]:
    """The first of each, without dashes; what stands behind the first `=` is its value."""
    found: dict[str, str] = {}
    for argument in arguments:
        name, _, value = argument.partition("=")
        found.setdefault(name.lstrip("-"), value)
    return found


def _work(options: dict[str, str], settings: Settings, log: Log) -> None:
    if "loadEngine" in options:
        path = options["loadEngine"]
        if not os.path.isfile(path):
            raise Failed(f"Error opening engine file: {path}")
        content = read(path)
        log.info("Engine loaded in 0.01 sec.")
        try:
            engine = unpack(content, settings.version, settings.compute)
        except Refused as error:
            log.error(f"[TRT] IRuntime::deserializeCudaEngine: Error Code 6: API Usage Error ({error})")
            raise Failed("Engine deserialization failed") from error
        log.info("Engine deserialized in 0.0125 sec.")
    elif "onnx" in options:
        engine = _build(options, settings, log)
    else:
        raise Failed("Model missing or format not recognized")
    if {"skipInference", "buildOnly"} & set(options):
        log.info("Skipped inference phase since --skipInference is added.")
        return
    _run(engine, options, settings, log)


def _build(options: dict[str, str], settings: Settings, log: Log) -> Engine:
    path, version = options["onnx"], settings.version
    stem = os.path.splitext(os.path.basename(path))[0]
    log.info("Start parsing network model.")
    if not os.path.isfile(path):
        log.error(f"[TRT] ModelImporter.cpp:914: Failed to parse ONNX model from file: {path}")
        raise Failed("Failed to parse onnx file")
    onnx = read(path)
    if onnx[:1] != b"\x08":  # ir_version, the first field of a ModelProto
        log.error(f"[TRT] ModelImporter.cpp:914: Failed to parse ONNX model from file: {path}")
        raise Failed("Failed to parse onnx file")
    log.info("Finished parsing network model. Parse time: 0.01")
    typed = version >= (11,) or "stronglyTyped" in options
    for kind, needed in (("int8", b"QuantizeLinear" in onnx), ("fp16", not typed and _holds_fp16(onnx))):
        if needed and not typed and kind not in options:
            what = f"{kind} precision has been set for a layer or layer output, but {kind} is not configured in the builder"
            log.error(f"[TRT] Error Code 4: Internal Error ({what})")
            raise Failed("Engine could not be created from network")
    cache = _load_cache(options, version, log)
    layers = [f"/blocks.{number // 4}/{('norm1', 'attn/qkv', 'mlp/fc1', 'mlp/fc2')[number % 4]}" for number in range(LAYERS)]
    fault = settings.fault("crash", "killed", "hang", "slow", "out-of-memory", stem=stem)
    for number, layer in enumerate(layers):
        log.verbose(f"[TRT] =============== Computing costs for {layer}")
        log.verbose(f"[TRT] --------------- Timing Runner: {layer} (CaskGemm[0x80000023])")
        log.verbose(f"[TRT] Tactic: 0x{number:016x} Time: 0.{number:04d}")
        time.sleep(settings.building / LAYERS)
        if fault and number == LAYERS // 2:
            _go_wrong(fault, log)
    engine = Engine(version, settings.compute, stem, onnx)
    content = pack(engine)
    log.info("Engine built in 1.25 sec.")
    log.info(f"Created engine with size: {len(content) / 2**20:.4f} MiB")
    if "timingCacheFile" in options:
        if cache is None:
            raise Failed(f"Uncaught exception detected: Failed to create timingCache from {options['timingCacheFile']}!")
        try:
            size = write_cache(options["timingCacheFile"], version, cache | set(layers))
            log.info(f"Saved {size} bytes of timing cache to {options['timingCacheFile']}")
        except OSError:
            log.warning(f"Could not write timing cache to: {options['timingCacheFile']}")
    if "saveEngine" in options and not settings.fault("no-engine", stem=stem):
        _save(options["saveEngine"], content, full=settings.fault("disk-full", stem=stem) is not None)
    return engine


def _go_wrong(fault: str, log: Log) -> None:
    import signal

    if fault == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif fault == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault == "hang":
        _hang()
    elif fault == "slow":
        time.sleep(SLOW_S)
    elif fault == "out-of-memory":
        log.error("[TRT] Error Code 2: OutOfMemory (Requested size was 1073741824 bytes.)")
        raise Failed("Engine could not be created from network")


def _hang() -> None:
    """Deaf to a polite request, as a process inside a driver is."""
    import signal

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(60)


def _save(path: str, content: bytes, *, full: bool) -> None:
    """As C++ streams do: what does not fit is lost, and all that is known is that writing failed."""
    try:
        with open(path, "wb") as file:
            file.write(content)
            for _ in range(MOST_FILLER if full else 0):
                file.write(FILLER)
            file.flush()
    except OSError as error:
        raise Failed("Saving engine to file failed.") from error


def _load_cache(options: dict[str, str], version: tuple[int, ...], log: Log) -> set[str] | None:
    """Layers whose timings are known; None if the file is there and damaged, which the real one notices again when it saves."""
    if "timingCacheFile" not in options:
        return set()
    path = options["timingCacheFile"]
    if not os.path.isfile(path):
        log.warning(f"Could not read timing cache from: {path}. A new timing cache will be generated and written.")
        return set()
    log.info(f"Loaded {os.path.getsize(path)} bytes of timing cache from {path}")
    found = read_cache(path, version)
    if found is None:
        log.warning("[TRT] Detected invalid timing cache, setup a local cache instead")
    return found


def _holds_fp16(onnx: bytes) -> bool:
    find_packages()
    import onnx as library

    graph = library.load_model_from_string(onnx).graph
    kinds = {value.type.tensor_type.elem_type for value in graph.value_info} | {value.data_type for value in graph.initializer}
    return library.TensorProto.FLOAT16 in kinds


def _run(engine: Engine, options: dict[str, str], settings: Settings, log: Log) -> None:
    stem = engine.stem
    fault = settings.fault("crash-run", "hang-run", "torn", "no-times", stem=stem)
    inputs = dict(entry.rsplit(":", 1) for entry in options.get("loadInputs", "").split(",") if entry)
    for name, file in inputs.items():
        log.info(f"Using values loaded from {file} for input {name}")
    log.info("Starting inference")
    if fault == "crash-run":
        import signal

        os.kill(os.getpid(), signal.SIGSEGV)
    if fault == "hang-run":
        _hang()
    if "exportOutput" in options:
        frames = inputs.get("frames")
        exports.write_outputs(options["exportOutput"], outputs_of(engine, frames, settings), torn=fault == "torn")
    if "exportTimes" in options:
        warm_up, duration = float(options.get("warmUp", "200")), float(options.get("duration", "3")) * 1000
        trace = exports.Trace(time_a_run(engine, settings), "noDataTransfers" not in options)
        skipped, times = trace.take(warm_up, duration, int(options.get("iterations", "10")))
        log.info(f"Warmup completed {skipped} queries over {warm_up:g} ms")
        log.info(f"Timing trace has {len(times)} queries over {duration / 1000:g} s")
        exports.write_times(options["exportTimes"], [] if fault == "no-times" else times)
        log.info("")
        log.info("=== Performance summary ===")
    if "exportProfile" in options:
        exports.write_profile(options["exportProfile"])
    sys.stdout.flush()
