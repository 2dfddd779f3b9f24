"""A GPU and TensorRT for the engine tests: stand-ins for the driver's library and for the `tensorrt` package."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

STANDIN = Path(__file__).resolve().parents[1] / "lowering" / "tensorrt" / "standin"


def environment(folder: Path) -> dict[str, str]:
    """What makes a process find both; the library is compiled into `folder`."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "libcuda.so.1", STANDIN / "libcuda.c"], check=True)
    paths = {"LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(STANDIN)}
    return {name: os.pathsep.join(filter(None, (path, os.environ.get(name)))) for name, path in paths.items()}
