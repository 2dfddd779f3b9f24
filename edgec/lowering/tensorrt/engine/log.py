"""Messages in trtexec's formats, so that the program for the boards understands them.

From NVIDIA/TensorRT, samples/common/logging.h, sampleOptions.cpp and sampleDevice.cpp.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

BANNER_TAG = "[edgec, not NVIDIA]"
"""`edgec_device.trtexec.SUBSTITUTE` looks for it."""


class Failed(Exception):
    """The reason why a build or run failed. It is printed as an error, and the command ends with FAILED."""


class Log:
    """Prints as trtexec does. `version` is TensorRT's: major, minor, patch. Details are printed only if `verbose`."""

    def __init__(self, version: tuple[int, int, int], argv: list[str], *, verbose: bool) -> None:
        major, minor, patch = version
        number = major * 10000 + minor * 100 + patch if major >= 10 else major * 1000 + minor * 100 + patch
        self._name = f"TensorRT.trtexec [TensorRT v{number}] {BANNER_TAG} # {' '.join(argv)}"
        self._verbose = verbose
        self._lock = threading.Lock()

    def result(self, word: str) -> None:
        """The banner with RUNNING, PASSED or FAILED."""
        print(f"&&&& {word} {self._name}", flush=True)

    def line(self, severity: str, text: str) -> None:
        """One line; `severity` is one of V, I, W, E, F."""
        if severity == "V" and not self._verbose:
            return
        with self._lock:  # TensorRT's builder speaks from several threads
            stream = sys.stdout if severity in "VI" else sys.stderr
            print(f"[{time.strftime('%m/%d/%Y-%H:%M:%S')}] [{severity}] {text}", file=stream, flush=True)

    def info(self, text: str) -> None:
        """A line of severity I."""
        self.line("I", text)


def logger(trt: Any, log: Log) -> Any:
    """An `ILogger` for TensorRT that writes to the log."""
    severity = trt.ILogger.Severity
    letters = (
        (severity.INTERNAL_ERROR, "F"),
        (severity.ERROR, "E"),
        (severity.WARNING, "W"),
        (severity.INFO, "I"),
        (severity.VERBOSE, "V"),
    )

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # pybind11 wants the base's own, not `super`

        def log(self, severity: Any, msg: str) -> None:
            letter = next(letter for each, letter in letters if each == severity)
            for line in msg.splitlines() or [""]:
                log.line(letter, f"[TRT] {line}")

    return Logger()
