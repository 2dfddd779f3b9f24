"""A stand-in for `tensorrt_rtx_bindings` where engines are to be run, for machines without a GPU. A test tool, never shipped.

It is the stand-in for `tensorrt` under another name, and takes engines that the real compiler made: in place of one it runs the
ONNX file beside the engine of the same bytes, in $STANDIN_GRAPHS. What it builds itself is a stand-in's engine.
"""

from __future__ import annotations

import enum
import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "standin"))

import tensorrt as _plain
from standin.engine import Engine as _Graph
from tensorrt import *  # noqa: F403 - the same interface
from tensorrt import ILogger, _Config, _Engine

__version__ = os.environ.get("STANDIN_RTX", "1.7.1.116")


class ComputeCapability(enum.Enum):
    SM86 = 86
    SM89 = 89
    SM120 = 120
    SM121 = 121


def _set_compute_capability(config: _Config, capability: ComputeCapability, index: int) -> None:
    assert index == 0
    assert config.num_compute_capabilities == 1  # type: ignore[attr-defined]
    assert str(capability.value) == os.environ.get("STANDIN_COMPUTE", "8.9").replace(".", "")


_Config.set_compute_capability = _set_compute_capability  # type: ignore[attr-defined]


class Runtime(_plain.Runtime):
    def deserialize_cuda_engine(self, serialized_engine: bytes) -> _Engine | None:
        if not serialized_engine.startswith(b"vtrt"):
            return super().deserialize_cuda_engine(serialized_engine)
        for path in Path(os.environ["STANDIN_GRAPHS"]).glob("*.engine"):
            if path.read_bytes() == serialized_engine and "no-load" not in os.environ.get("STANDIN_FAULTS", ""):
                return _Engine(_Graph(_plain.VERSION, "8.9", path.stem, path.with_suffix(".onnx").read_bytes()))
        self._logger.log(ILogger.Severity.ERROR, "IRuntime::deserializeCudaEngine: Error Code 1 (engine is not valid here)")  # type: ignore[attr-defined]
        return None
