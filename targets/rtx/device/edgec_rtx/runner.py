"""One job of NVIDIA's code, in a process of its own: `edgec-rtx.pyz --runner JOB.json` writes its answer beside JOB.json.

TensorRT-RTX or TensorRT through their Python bindings; device memory, the stream, events and graphs through `cuda-bindings`.
Frames are copied in, computed, and copied out, one batch after the other, as on a robot. None of this has run on a GPU yet.
"""

from __future__ import annotations

import importlib
import json
import math
import mmap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgec_device.jobs import ANSWER, OUTPUTS
from edgec_onboard.compiling import GraphRefused, compile_plan, make_logger

MODULES = ("tensorrt_rtx_bindings", "tensorrt")
"""By preference. TensorRT-RTX knows no data-centre GPUs from Hopper on, which TensorRT does."""
WARM_UP_S = 0.5
_NON_BLOCKING = 1
_ITEM_BYTES = {"UINT8": 1, "INT32": 4, "FLOAT": 4}


class Failed(Exception):
    """The reason, in a sentence."""


class Gpu:
    """The first device that CUDA shows, with its primary context, which TensorRT uses too, and one stream. Memory is freed when
    the process ends."""

    def __init__(self) -> None:
        self.cuda = driver = importlib.import_module("cuda.bindings.driver")
        self.call(driver.cuInit, 0)
        device = self.call(driver.cuDeviceGet, 0)
        self.name = self.call(driver.cuDeviceGetName, 256, device).split(b"\0")[0].decode("utf-8", "replace")
        attributes = driver.CUdevice_attribute
        kinds = (attributes.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, attributes.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)
        self.capability = ".".join(str(self.call(driver.cuDeviceGetAttribute, kind, device)) for kind in kinds)
        self.driver_version = self.call(driver.cuDriverGetVersion)
        self.call(driver.cuCtxSetCurrent, self.call(driver.cuDevicePrimaryCtxRetain, device))
        self.stream = self.call(driver.cuStreamCreate, _NON_BLOCKING)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The result of a function of the driver, without its status. Raises `Failed` with the driver's words."""
        status, *results = function(*arguments)
        if int(status):
            words = self.cuda.cuGetErrorString(status)[1]
            raise Failed(f"{function.__name__}: {(words or b'unknown error').decode()} ({int(status)})")
        return results[0] if results else None

    def pinned(self, size: int) -> mmap.mmap:
        """Memory of the host that copies to and from the device need not stage: pages of its own, because no page can be
        registered twice."""
        memory = mmap.mmap(-1, size)
        self.call(self.cuda.cuMemHostRegister, memory, size, 0)
        return memory


class Engine:
    """A loaded engine, with memory for one batch on both sides. Raises `Failed`, with TensorRT's last words."""

    def __init__(self, trt: Any, gpu: Gpu, plan: Path) -> None:
        self._gpu, self._words = gpu, list[str]()
        began = time.perf_counter()
        self._logger = make_logger(trt, self._note)
        self._runtime = trt.Runtime(self._logger)  # must outlive what it makes
        self._engine = self._made(self._runtime.deserialize_cuda_engine(plan.read_bytes()), "the engine cannot be loaded")
        # TensorRT-RTX compiles for the very GPU here.
        self._context = self._made(self._engine.create_execution_context(), "the engine cannot be prepared")
        self.load_ms = (time.perf_counter() - began) * 1000
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        self.tensors = {name: self._tensor(name) for name in names}
        modes = {name: self._engine.get_tensor_mode(name) for name in names}
        self.inputs = [name for name in names if modes[name] == trt.TensorIOMode.INPUT]
        self.outputs = [name for name in names if name not in self.inputs]
        self.host = {name: gpu.pinned(size) for name, (_, _, size) in self.tensors.items()}
        self._device = {name: gpu.call(gpu.cuda.cuMemAlloc, size) for name, (_, _, size) in self.tensors.items()}
        for name, address in self._device.items():
            if not self._context.set_tensor_address(name, int(address)):
                raise Failed(f"{name} cannot be given its memory")
        self._events = [gpu.call(gpu.cuda.cuEventCreate, 0) for _ in range(2)]
        self._launch = self._enqueue

    def load(self, name: str, content: bytes) -> None:
        """What the next runs copy in for an input."""
        if name not in self.inputs or len(content) != len(self.host[name]):
            takes = ", ".join(f"{each}: {len(self.host[each])} bytes" for each in self.inputs)
            raise Failed(f"{name} cannot be {len(content)} bytes; the engine takes {takes}")
        self.host[name][:] = content

    def run(self) -> float:
        """Copy in, compute, copy out, and wait; returns the milliseconds by the GPU's clock."""
        call, cuda, stream, (began, ended) = self._gpu.call, self._gpu.cuda, self._gpu.stream, self._events
        call(cuda.cuEventRecord, began, stream)
        for name in self.inputs:
            call(cuda.cuMemcpyHtoDAsync, self._device[name], self.host[name], len(self.host[name]), stream)
        self._launch()
        for name in self.outputs:
            call(cuda.cuMemcpyDtoHAsync, self.host[name], self._device[name], len(self.host[name]), stream)
        call(cuda.cuEventRecord, ended, stream)
        call(cuda.cuEventSynchronize, ended)
        return float(call(cuda.cuEventElapsedTime, began, ended))

    def capture(self) -> str:
        """From now on launch the kernels as one graph; returns why that is not possible, empty if it is. Must follow a run, which
        sets up what no graph can hold."""
        call, cuda, stream = self._gpu.call, self._gpu.cuda, self._gpu.stream
        call(cuda.cuStreamBeginCapture, stream, cuda.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
        try:
            try:
                self._enqueue()
            finally:
                graph = call(cuda.cuStreamEndCapture, stream)
            executable = call(cuda.cuGraphInstantiate, graph, 0)
        except Failed as error:
            return str(error)
        self._launch = lambda: call(cuda.cuGraphLaunch, executable, stream)
        return ""

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(int(self._gpu.stream)):
            raise Failed(f"the engine cannot be run; {self._last_words()}")

    def _tensor(self, name: str) -> tuple[str, tuple[int, ...], int]:
        """Type, shape and bytes."""
        kind, shape = self._engine.get_tensor_dtype(name).name, tuple(self._engine.get_tensor_shape(name))
        if kind not in _ITEM_BYTES or min(shape, default=1) < 1:
            raise Failed(f"{name} is {kind} {shape}: edgec's have uint8 frames, float32 or int32 outputs, and static shapes")
        return kind, shape, math.prod(shape) * _ITEM_BYTES[kind]

    def _made(self, thing: Any, otherwise: str) -> Any:
        if thing is None:
            raise Failed(f"{otherwise}; {self._last_words()}")
        return thing

    def _note(self, severity: str, message: str) -> None:
        if severity in ("WARNING", "ERROR", "INTERNAL_ERROR"):
            print(f"[{severity}] {message}", flush=True)
            self._words += [message] if severity != "WARNING" else []

    def _last_words(self) -> str:
        return self._words[-1] if self._words else "no reason is given"


def do(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The answer to a job. Raises `Failed`, `GraphRefused`, or `ImportError` where a package is missing."""
    gpu = Gpu()
    name, trt = _module(gpu.capability)
    if job["do"] == "look":
        gpu_facts = {"gpu": gpu.name, "compute_capability": gpu.capability, "driver": _dotted(gpu.driver_version)}
        return {**gpu_facts, "module": name, "version": trt.__version__}
    if job["do"] == "build":
        return _build(trt, job, gpu)
    engine = Engine(trt, gpu, Path(job["plan"]))
    if job["do"] == "load":
        return {"load_ms": engine.load_ms}
    if job["do"] == "run":
        return _run(engine, job, folder)
    return _bench(engine, job)


def _module(capability: str) -> tuple[str, Any]:
    """The name, and the module, that knows GPUs of this kind. Raises `ImportError` if none is installed."""
    for name in MODULES:
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        known = getattr(module, "ComputeCapability", None)
        if name != MODULES[0] or hasattr(known, "SM" + capability.replace(".", "")):
            return name, module
    raise ImportError(f"no package of TensorRT that knows GPUs of compute capability {capability} ({' or '.join(MODULES)})")


def _build(trt: Any, job: dict[str, Any], gpu: Gpu) -> dict[str, Any]:
    errors: list[str] = []
    logger = make_logger(trt, lambda severity, message: errors.append(message) if severity.endswith("ERROR") else None)
    sms = [gpu.capability.replace(".", "")] if hasattr(trt, "ComputeCapability") else []
    plan = compile_plan(trt, logger, job["graph"], sms, tf32=job["tf32"])
    if plan is None:
        raise Failed(f"no engine was made; {errors[-1] if errors else 'no reason is given'}")
    Path(job["plan"]).write_bytes(plan)
    return {}


def _run(engine: Engine, job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Every batch of the file `frames` once; outputs go to a file, batch after batch, in the order of the answer."""
    size = len(engine.host[engine.inputs[0]])
    with Path(job["frames"]).open("rb") as frames, (folder / OUTPUTS).open("wb") as outputs:
        for _ in range(job["batches"]):
            engine.load(job["input"], frames.read(size))
            engine.run()
            for name in engine.outputs:
                outputs.write(engine.host[name])
    facts = {name: engine.tensors[name] for name in engine.outputs}
    return {"outputs": [{"name": name, "dtype": kind, "shape": shape} for name, (kind, shape, _) in facts.items()]}


def _bench(engine: Engine, job: dict[str, Any]) -> dict[str, Any]:
    """Runs for `seconds` and at least `iterations`, after warming up."""
    engine.load(job["input"], Path(job["frames"]).read_bytes())
    engine.run()
    refused = engine.capture()
    warm_up, samples = list[float](), list[float]()
    for runs, seconds, least in ((warm_up, WARM_UP_S, 1), (samples, job["seconds"], job["iterations"])):
        until = time.monotonic() + seconds
        while time.monotonic() < until or len(runs) < least:
            runs.append(engine.run())
    return {"samples_ms": samples, "warm_up": len(warm_up), "load_ms": engine.load_ms, "no_graph": refused}


def _dotted(version: int) -> str:
    """12080 as 12.8."""
    return f"{version // 1000}.{version % 1000 // 10}"


def main(path: str) -> int:
    """Do the job in that file. Returns the exit code; what went wrong is in the answer, too."""
    job = Path(path)
    try:
        answer = do(json.loads(job.read_text(encoding="utf-8")), job.parent)
    except ImportError as error:
        answer = {"missing": str(error)}
    except (Failed, GraphRefused, OSError, RuntimeError) as error:
        # cuda-bindings raises a RuntimeError where there is no driver.
        answer = {"error": f"{error}" if isinstance(error, (Failed, GraphRefused)) else f"{type(error).__name__}: {error}"}
    (job.parent / ANSWER).write_text(json.dumps(answer), encoding="utf-8")
    return 1 if answer.keys() & {"missing", "error"} else 0
