"""A GPU for tests: a stand-in for the driver's library, which the real `cuda-bindings` calls, and stand-ins for TensorRT."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_FOLDER = Path(__file__).resolve().parents[1] / "lowering" / "tensorrt"
PLAIN, RTX = _FOLDER / "standin", _FOLDER / "standin_rtx"
"""Folders with a stand-in for `tensorrt`, and for `tensorrt_rtx_bindings`."""


def environment(folder: Path, *packages: Path) -> dict[str, str]:
    """What makes a process find the driver's library, which is compiled into `folder`, and packages."""
    pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings is not installed")
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "libcuda.so.1", PLAIN / "libcuda.c", "-ldl"], check=True)
    paths = {"LD_LIBRARY_PATH": str(folder), "PYTHONPATH": os.pathsep.join(map(str, packages))}
    return {name: os.pathsep.join(filter(None, (path, os.environ.get(name)))) for name, path in paths.items()}
