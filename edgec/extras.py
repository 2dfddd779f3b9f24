"""What an installation may lack: the extras of edgec, what each enables, which packages it brings, and the line that installs it.

Packages outside the base dependencies are imported where they are used, inside functions or through `later`. Where one is
missing, `named` turns the error of the import into a `MissingPackage` with that line. The command line and the Python API run
inside `named`; `require` says the same before any work is done. No other module looks whether a package is there.
"""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from edgec.errors import MissingPackage


@dataclass(frozen=True)
class Extra:
    """An extra of `pyproject.toml`. `enables` continues the sentence "it adds …". `packages` are the names that are imported;
    `includes` are the extras that it brings along."""

    name: str
    enables: str
    packages: tuple[str, ...]
    includes: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """What installs it."""
        return f"pip install 'edgec[{self.name}]'"

    @property
    def missing(self) -> tuple[str, ...]:
        """Those of its packages, and of the extras that it includes, that are not installed."""
        own = [package for package in self.packages if not installed(package)]
        return tuple(dict.fromkeys([*own, *(package for name in self.includes for package in EXTRAS[name].missing)]))


_ALL = (
    Extra(
        "build",
        "`edgec build`, `sweep`, `inspect` and `check`, and whatever takes a checkpoint",
        ("torch", "onnx", "onnx_ir", "onnxscript", "onnxruntime", "ml_dtypes", "yaml"),
        ("pictures",),
    ),
    Extra("onnxruntime", "running artefacts of ONNX Runtime", ("onnxruntime",)),
    Extra("openvino", "running artefacts of OpenVINO", ("openvino",)),
    Extra("cpu", "both runtimes for CPUs", (), ("onnxruntime", "openvino")),
    Extra("pictures", "reading and drawing pictures: `edgec run`, `explain --pictures`, `calibration`", ("PIL", "matplotlib")),
    Extra("video", "videos, raw dumps and cameras", ("av",), ("pictures",)),
    Extra("ros", "ROS bags: `--calibration`, `run`, `calibration`", ("rosbags",), ("video",)),
    Extra("html", "charts and pictures on the pages of `edgec report`", ("altair", "vl_convert"), ("pictures",)),
    Extra("apple", "building for Apple silicon", ("coremltools", "threadpoolctl"), ("build",)),
    Extra("nvidia", "NVIDIA's compiler, with which graphs for its GPUs are seen", ("tensorrt_rtx_bindings", "cuda"), ("build",)),
    Extra("bundle", "signing: `edgec keygen`, `edgec bundle`", ("model_signing", "cyclonedx", "cryptography", "OpenSSL")),
    Extra("pkcs11", "signing with keys in hardware", ("PyKCS11",), ("bundle",)),
    Extra("dask", "sweeps on more machines", ("distributed",)),
)
EXTRAS = {extra.name: extra for extra in _ALL}
"""In the order in which `edgec doctor` lists them."""
TITLES = {
    "PIL": "Pillow",
    "altair": "Altair",
    "OpenSSL": "pyOpenSSL",
    "PyKCS11": "PyKCS11",
    "av": "PyAV",
    "cuda": "cuda-bindings",
    "cyclonedx": "cyclonedx-python-lib",
    "distributed": "dask.distributed",
    "ml_dtypes": "ml-dtypes",
    "model_signing": "model-signing",
    "onnx": "ONNX",
    "onnx_ir": "onnx-ir",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "tensorrt_rtx_bindings": "TensorRT-RTX",
    "torch": "PyTorch",
    "vl_convert": "vl-convert-python",
    "yaml": "PyYAML",
}
"""What people call a package, where that is not the name that is imported."""


def installed(package: str) -> bool:
    """Whether there is such a package; nothing is imported."""
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # a module that somebody put into `sys.modules` by hand
        return True


def failing(packages: Sequence[str]) -> dict[str, str]:
    """Those of these packages that are installed and cannot be imported, each with the reason. They are imported in a process of
    its own, one after another, which takes seconds for large ones."""
    names = [package for package in packages if installed(package)]
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TRY, *names], stdin=subprocess.DEVNULL, capture_output=True, timeout=_LONGEST_S, check=False
        )
    except subprocess.TimeoutExpired:
        return dict.fromkeys(names, f"importing them took over {_LONGEST_S:.0f} s")
    said = dict(line.split("\t", 1) for line in done.stdout.decode(errors="replace").splitlines() if "\t" in line)
    # The first without a word is the one at which the process ended.
    ended = next((name for name in names if name not in said), None)
    crashed = {} if ended is None else {ended: f"the process ended with {done.returncode} while it was imported"}
    return {name: reason for name, reason in (said | crashed).items() if reason}


_LONGEST_S = 180.0
_TRY = """
import importlib, os, sys
out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
for name in sys.argv[1:]:
    reason = ""
    try:
        importlib.import_module(name)
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}".replace("\\n", " ").replace("\\t", " ")[:300]
    print(name, reason, sep="\\t", file=out, flush=True)
os._exit(0)
"""


def line_for(package: str) -> str:
    """What installs the package, by the name that is imported: the extra that brings it and least else."""
    return min((extra for extra in _ALL if package in extra.packages), key=lambda extra: len(extra.packages)).line


def require(name: str, what: str) -> None:
    """Raises `MissingPackage` if something of the extra `name` is not installed. `what` is what needs it, as the beginning of a
    sentence: "Building an artefact"."""
    extra = EXTRAS[name]
    missing = [TITLES.get(package, package) for package in extra.missing]
    if missing:
        raise MissingPackage(
            f"{what} needs {'a package that is' if len(missing) == 1 else 'packages that are'} not installed.",
            evidence=f"missing: {', '.join(missing)}",
            remedy=extra.line,
        )


@contextmanager
def named(package: str = "") -> Iterator[None]:
    """Raises the error of an import as a `MissingPackage`, if it is one of a package outside the base dependencies that is not
    installed. With `package`, every error of an import is one of this package: it may be there, and its libraries not."""
    try:
        yield
    except ImportError as error:
        top = package or (error.name or "").partition(".")[0]
        if not (package or (isinstance(error, ModuleNotFoundError) and any(top in extra.packages for extra in _ALL))):
            raise
        raise MissingPackage(
            f"{TITLES.get(top, top)} is needed here and is not installed.", evidence=str(error), remedy=line_for(top)
        ) from error


def load(package: str) -> Any:
    """The package, imported. Raises `MissingPackage`."""
    with named(package):
        return importlib.import_module(package)


class later:  # noqa: N801 - it is called like a function
    """A module that is imported when something of it is used. It stands for `from PIL import Image` in modules that do other
    things too and must be imported where Pillow is missing; type checkers are given the import itself.

    Attributes raise `MissingPackage`. `edgec.dependencies` knows these calls.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        with named():
            module = importlib.import_module(self._name)
        return getattr(module, attribute)
