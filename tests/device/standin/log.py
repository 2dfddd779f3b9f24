"""What trtexec prints, in the shapes that it prints it (samples/common/logging.h, sampleOptions.cpp, sampleDevice.cpp)."""

from __future__ import annotations

import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from standin.settings import Settings

MARK = "[edgec stand-in]"


class Log:
    """Information goes to standard output, warnings and errors to standard error, as in the original."""

    def __init__(self, settings: Settings, argv: list[str], verbose: bool) -> None:
        major, minor, patch = settings.version
        number = major * 10000 + minor * 100 + patch if major >= 10 else major * 1000 + minor * 100 + patch
        build = " [b42]" if settings.version >= (10, 4) else ""
        self._name = f"TensorRT.trtexec [TensorRT v{number}]{build} {MARK} # {' '.join(argv)}"
        self._verbose = verbose

    def result(self, word: str) -> None:
        print(f"&&&& {word} {self._name}", flush=True)

    def info(self, text: str = "") -> None:
        self._line("I", text)

    def verbose(self, text: str) -> None:
        if self._verbose:
            self._line("V", text)

    def warning(self, text: str) -> None:
        self._line("W", text)

    def error(self, text: str) -> None:
        self._line("E", text)

    def _line(self, severity: str, text: str) -> None:
        stream = sys.stdout if severity in "IV" else sys.stderr
        print(f"[{time.strftime('%m/%d/%Y-%H:%M:%S')}] [{severity}] {text}", file=stream, flush=True)


def print_options(log: Log, options: Mapping[str, str], version: tuple[int, ...], *, forgets_transfers: bool) -> None:
    def enabled(on: bool) -> str:
        return "Enabled" if on else "Disabled"

    new = version >= (11,)
    transfers = "includeDataTransfers" in options if new else "noDataTransfers" not in options
    log.info("=== Model Options ===")
    log.info("Format: ONNX" if "onnx" in options else "Format: *")
    log.info(f"Model: {options.get('onnx', '')}")
    log.info("Output:")
    if "loadEngine" not in options:
        log.info("=== Build Options ===")
        log.info(f"Save engine: {options.get('saveEngine', '')}")
        log.info(f"timingCacheFile: {options.get('timingCacheFile', '')}")
    log.info("=== Inference Options ===")
    log.info("Batch: Explicit")
    log.info(f"Iterations: {options.get('iterations', '10')}")
    log.info(f"Duration: {options.get('duration', '3')}s (+ {options.get('warmUp', '200')}ms warm up)")
    log.info(f"ExposeDMA: {enabled('exposeDMA' in options)}")
    log.info(f"Data transfers: {enabled(transfers and not forgets_transfers)}")
    log.info(f"Spin-wait: {enabled('noSpinWait' not in options if new else 'useSpinWait' in options)}")
    log.info(f"Multithreading: {enabled('threads' in options)}")
    log.info(f"CUDA Graph: {enabled('noCudaGraph' not in options if new else 'useCudaGraph' in options)}")
    log.info("Inputs:")
    if "loadInputs" in options:
        log.info(options["loadInputs"].replace(":", "<-"))
    log.info("=== Reporting Options ===")
    log.info(f"Verbose: {enabled('verbose' in options)}")
    log.info("")


def print_device(log: Log, settings: Settings) -> bool:
    """Whether there is a GPU."""
    log.info("=== Device Information ===")
    if settings.fault("no-gpu"):
        log.info("Cannot find any available devices (GPUs)!")
        return False
    identity = "GPU-00000000-0000-0000-0000-000000000000"
    for line in (
        "Available Devices: ",
        f'  Device 0: "Orin" UUID: {identity}',
        "Selected Device: Orin",
        "Selected Device ID: 0",
        f"Selected Device UUID: {identity}",
        f"Compute Capability: {settings.compute}",
        "SMs: 8",
        "Device Global Memory: 7620 MiB",
        "Shared Memory per SM: 164 KiB",
        "Memory Bus Width: 128 bits (ECC disabled)",
        "Application Compute Clock Rate: 1.02 GHz",
        "",
        "TensorRT version: {}.{}.{}".format(*settings.version),
        "Loading standard plugins",
    ):
        log.info(line)
    return True
