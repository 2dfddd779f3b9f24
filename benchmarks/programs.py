"""Projects of `edgec code`, built with the runtimes of this environment's wheels, or of the emulated arm64 machine's."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.arm64.debian import RELEASE, Apt, Unavailable, host_architecture, require, run
from benchmarks.arm64.machine import A76, Machine, cache_folder, made_once

STRICT = ("-O1", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror")
RELEASED = ("-O3",)
_ARM = "aarch64-linux-gnu-g++"
_BUILD_S = 240


@dataclass(frozen=True)
class Program:
    """A program that was built; `machine` is the emulated one that it is for, None for this one."""

    path: Path
    machine: Machine | None = None

    def run(self, *arguments: str | Path, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        """What it prints, and its exit code."""
        command, environment = [str(self.path), *map(str, arguments)], dict(os.environ)
        if self.machine is not None:
            command.insert(0, str(self.machine.folder / "qemu-aarch64"))
            environment = self.machine.environment(A76)
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=timeout)


def build_program(
    sources: Path,
    runtime: str,
    build: Path,
    *,
    flags: Sequence[str] = STRICT,
    target: str = "run-frames",
    options: Sequence[str] = (),
    machine: Machine | None = None,
) -> Program:
    """Configure the project in `sources` and build it in `build`. Raises `Unavailable` without CMake, a compiler or headers;
    `RuntimeError`, with what the compiler says, if the code does not build."""
    require("cmake", _ARM if machine else "c++")
    site = machine.folder / "site" if machine else None
    words = ["cmake", "-S", str(sources), "-B", str(build), "-DCMAKE_BUILD_TYPE=None", f"-DCMAKE_CXX_FLAGS={' '.join(flags)}"]
    if machine:
        words += ["-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64", f"-DCMAKE_CXX_COMPILER={_ARM}"]
    _call([*words, *_runtime(runtime, site), *options])
    _call(["cmake", "--build", str(build)])
    return Program(build / target, machine)


def _call(command: Sequence[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=_BUILD_S)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}")


def _runtime(runtime: str, site: Path | None) -> list[str]:
    """Where CMake finds the runtime: in the wheel in `site`, or in this environment's."""
    package = _package(runtime) if site is None else site / runtime
    if runtime == "openvino":
        return [f"-DOpenVINO_DIR={package / 'cmake'}"]
    library = next((package / "capi").glob("libonnxruntime.so.*"), None)
    if library is None:
        raise Unavailable("the wheel of onnxruntime has no libonnxruntime.so here")
    return [f"-DONNXRUNTIME_LIBRARY={library}", f"-DONNXRUNTIME_INCLUDE_DIR={onnxruntime_headers()}"]


def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise Unavailable(f"no {name} here")
    return Path(found.origin).parent


@cache
def onnxruntime_headers() -> Path:
    """Debian's, from a package of 85 kB: ONNX Runtime's wheels have none. Raises `Unavailable`."""
    folder = cache_folder() / f"onnxruntime-headers-{RELEASE}"
    with made_once(folder) as work:
        if work is not None:
            with TemporaryDirectory(prefix="edgec-headers-") as name:
                Apt(host_architecture(), Path(name)).unpack_alone("libonnxruntime-dev", Path(name) / "unpacked")
                run(["mv", str(Path(name) / "unpacked" / "usr" / "include" / "onnxruntime"), str(work)])
    return folder / "onnxruntime"
