"""A stand-in for NVIDIA's `tensorrt` package, for machines without a GPU: what edgec uses of it, strict about how it is used.

What a version does not have, it does not have here (NVIDIA/TensorRT, python/src at v8.6.1, v9.3.0, v10.0.1 to v10.16, v11.0 and
v11.1).
Engines hold their graph, and say that they are a stand-in's; ONNX Runtime computes it. A test tool, never shipped. Environment:

STANDIN_TENSORRT   the version that it plays (default 10.13.3)
STANDIN_FAULTS     garbage, parse-error, no-engine, no-context, no-capture, crash, hang
STANDIN_CALLS      a file that gets a line for each call that matters
STANDIN_COMPUTE    the GPU's compute capability (default 8.9)
"""

from __future__ import annotations

import ctypes
import enum
import os
import random
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[4] / "device"))  # the stand-in for trtexec, whose engines these are

import numpy as np
from standin.engine import Engine, Refused, pack, unpack
from standin.inference import open_session

VERSION = tuple(int(part) for part in os.environ.get("STANDIN_TENSORRT", "10.13.3").split("."))
__version__ = ".".join(map(str, VERSION)) + ".9"
_FAULTS = os.environ.get("STANDIN_FAULTS", "").split(",")
_COMPUTE = os.environ.get("STANDIN_COMPUTE", "8.9")
_DEVICE = 1 << 60


def _called(text: str) -> None:
    if "STANDIN_CALLS" in os.environ:
        with Path(os.environ["STANDIN_CALLS"]).open("a") as file:
            file.write(text + "\n")


class DataType(enum.Enum):
    FLOAT = 0
    INT32 = 3
    UINT8 = 5


float32, int32, uint8 = DataType.FLOAT, DataType.INT32, DataType.UINT8


class TensorIOMode(enum.Enum):
    INPUT = 1
    OUTPUT = 2


class NetworkDefinitionCreationFlag(enum.IntEnum):
    if VERSION < (11,):
        EXPLICIT_BATCH = 0
    if VERSION >= (9,):
        STRONGLY_TYPED = 1


class BuilderFlag(enum.Enum):
    TF32 = 7
    if VERSION < (11,):
        FP16 = 0
        INT8 = 1
        PREFER_PRECISION_CONSTRAINTS = 11


class ILogger:
    class Severity(enum.Enum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4


class _Layer:
    def __init__(self, name: str) -> None:
        self.name = name

    def __setattr__(self, name: str, value: object) -> None:
        assert name == "name" or (name == "precision" and VERSION < (11,) and value is float32), (name, value)
        if name == "precision":
            _called(f"precision {self.name}")
        super().__setattr__(name, value)


class _Network:
    def __init__(self, flags: int) -> None:
        self.typed = VERSION >= (11,) or bool(flags & 2)
        self.onnx = b""
        self._layers: list[_Layer] = []

    @property
    def num_layers(self) -> int:
        return len(self._layers)

    def get_layer(self, index: int) -> _Layer:
        return self._layers[index]

    def fill(self, path: Path) -> None:
        import onnx

        self.onnx = path.read_bytes()
        self._layers = [_Layer(node.name) for node in onnx.load_model_from_string(self.onnx).graph.node]


class _Config:
    def __init__(self) -> None:
        self.flags = {BuilderFlag.TF32}

    def set_flag(self, flag: BuilderFlag) -> None:
        self.flags.add(BuilderFlag(flag))

    def clear_flag(self, flag: BuilderFlag) -> None:
        self.flags.remove(flag)


class Builder:
    def __init__(self, logger: ILogger) -> None:
        assert isinstance(logger, ILogger)
        self._logger = logger

    def create_network(self, flags: int = 0) -> _Network:
        known = sum(1 << flag for flag in NetworkDefinitionCreationFlag)
        assert isinstance(flags, int)
        assert flags & ~known == 0, f"no such flag: {flags}"
        assert VERSION >= (10,) or flags & 1, "before 10, ONNX needs an explicit batch"
        _called(f"network {flags}")
        return _Network(flags)

    def create_builder_config(self) -> _Config:
        return _Config()

    def build_serialized_network(self, network: _Network, config: _Config) -> memoryview | None:
        assert network.onnx, "nothing was parsed"
        weak = {flag.name for flag in config.flags} & {"FP16", "INT8"}
        assert not (network.typed and weak), "a strongly typed network takes no types from flags"
        _called(f"build {' '.join(sorted(flag.name for flag in config.flags))}")
        said = self._logger.log  # type: ignore[attr-defined]
        for layer in range(3):
            said(ILogger.Severity.VERBOSE, f"=============== Computing costs for /blocks.{layer}")
        if "no-engine" in _FAULTS:
            said(ILogger.Severity.ERROR, "IBuilder::buildSerializedNetwork: Error Code 2: Internal Error (no implementation)")
            return None
        return memoryview(pack(Engine(VERSION, _COMPUTE, "graph", network.onnx)))


class _ParserError:
    def node_name(self) -> str:
        return "/blocks.0/sinkhorn"

    def node_operator(self) -> str:
        return "Sinkhorn"

    def desc(self) -> str:
        return "no importer registered for op: Sinkhorn"


class OnnxParser:
    def __init__(self, network: _Network, logger: ILogger) -> None:
        assert isinstance(logger, ILogger)
        self._network = network
        self.num_errors = 0

    def parse_from_file(self, path: str) -> bool:
        if "parse-error" in _FAULTS:
            self.num_errors = 1
            return False
        self._network.fill(Path(path))
        return True

    def get_error(self, index: int) -> _ParserError:
        assert index < self.num_errors
        return _ParserError()


class _Context:
    def __init__(self, engine: _Engine) -> None:
        self._engine = engine
        self._addresses: dict[str, int] = {}
        self._runs = 0
        self._library = ctypes.CDLL("libcuda.so.1")
        self._compute = ctypes.CFUNCTYPE(None)(self._run)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return name in self._engine.tensors and bool(memory & _DEVICE)

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert set(self._addresses) == set(self._engine.tensors), "tensors without memory"
        capturing = self._library.standin_captures(ctypes.c_void_p(stream_handle), None)
        if capturing and ("no-capture" in _FAULTS or not self._runs):
            return False  # the first run sets up what a graph cannot hold
        self._runs += 1
        if not self._library.standin_captures(ctypes.c_void_p(stream_handle), self._compute):
            self._run()
        return True

    def _run(self) -> None:
        engine = self._engine
        frames = {name: self._memory(name) for name, (_, _, is_input) in engine.tensors.items() if is_input}
        names = [name for name, (_, _, is_input) in engine.tensors.items() if not is_input]
        for name, features in zip(names, engine.session.run(names, frames), strict=True):
            if "garbage" in _FAULTS:
                generator = random.Random(name)
                features = np.array([generator.gauss(0, 1) for _ in range(features.size)]).reshape(features.shape)
            self._memory(name)[:] = features

    def _memory(self, name: str) -> np.ndarray:  # type: ignore[type-arg]
        kind, shape, _ = self._engine.tensors[name]
        dtype = np.dtype({uint8: "u1", int32: "i4", float32: "f4"}[kind])
        size = int(np.prod(shape)) * dtype.itemsize
        raw = (ctypes.c_ubyte * size).from_address(self._addresses[name] & ~_DEVICE)
        return np.frombuffer(raw, dtype).reshape(shape)


class _Engine:
    def __init__(self, engine: Engine) -> None:
        self.session = open_session(engine)
        kinds = {"tensor(uint8)": uint8, "tensor(int32)": int32, "tensor(float)": float32}
        self.tensors = {
            node.name: (kinds[node.type], tuple(node.shape), is_input)
            for nodes, is_input in ((self.session.get_inputs(), True), (self.session.get_outputs(), False))
            for node in nodes
        }

    @property
    def num_io_tensors(self) -> int:
        return len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_dtype(self, name: str) -> DataType:
        return self.tensors[name][0]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.tensors[name][1]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if self.tensors[name][2] else TensorIOMode.OUTPUT

    def create_execution_context(self) -> _Context | None:
        return None if "no-context" in _FAULTS else _Context(self)


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        assert isinstance(logger, ILogger)
        self._logger = logger
        if "crash" in _FAULTS:
            os.abort()
        if "hang" in _FAULTS:
            time.sleep(600)

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> _Engine | None:
        try:
            return _Engine(unpack(bytes(serialized_engine), VERSION, _COMPUTE))
        except Refused as error:
            self._logger.log(ILogger.Severity.ERROR, f"IRuntime::deserializeCudaEngine: Error Code 6: API Usage Error ({error})")  # type: ignore[attr-defined]
            return None
