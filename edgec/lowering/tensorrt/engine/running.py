"""An engine run frame after frame: copied in, computed, copied out, one frame at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgec.lowering.tensorrt.engine.cuda import CudaError, Gpu
from edgec.lowering.tensorrt.engine.log import Failed, Log


@dataclass(frozen=True)
class Binding:
    """One input or output: its memory on the GPU, and the pinned memory that it is copied from or to."""

    name: str
    is_input: bool
    array: NDArray[Any]
    host: memoryview
    device: int


@dataclass(frozen=True)
class FrameTimes:
    """One frame's times in milliseconds, by the GPU's clock; `start` is counted from the first run's."""

    start: float
    copy_in: float
    compute: float
    copy_out: float

    @property
    def latency(self) -> float:
        """Copy in, compute and copy out together."""
        return self.copy_in + self.compute + self.copy_out


class Engine:
    """A loaded engine with memory for one frame. Raises `Failed`, with TensorRT's message, if it cannot be loaded."""

    def __init__(self, trt: Any, logger: Any, log: Log, gpu: Gpu, plan: bytes, *, spin: bool) -> None:
        self._gpu, self._log = gpu, log
        began = time.perf_counter()
        self._runtime = trt.Runtime(logger)  # must outlive what it makes
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise Failed("Engine deserialization failed")
        log.info(f"Engine deserialized in {time.perf_counter() - began:.6g} sec.")
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise Failed("Unable to create execution context: out of memory?")
        self.bindings = [self._bind(trt, self._engine.get_tensor_name(index)) for index in range(self._engine.num_io_tensors)]
        self._launch = self._enqueue
        self._first = gpu.event(spin=spin)
        self._events = [gpu.event(spin=spin) for _ in range(4)]

    def _bind(self, trt: Any, name: str) -> Binding:
        kinds: dict[Any, Any] = {trt.uint8: np.uint8, trt.int32: np.int32, trt.float32: np.float32}
        kind, shape = self._engine.get_tensor_dtype(name), tuple(self._engine.get_tensor_shape(name))
        if kind not in kinds or min(shape, default=1) < 1:
            raise Failed(f"Tensor {name} is {kind} {shape}: edgec's have uint8 frames, float32 or int32 outputs, static shapes")
        size = math.prod(shape) * np.dtype(kinds[kind]).itemsize
        host, device = self._gpu.host_memory(size), self._gpu.device_memory(size)
        host[:] = bytes(size)
        array: NDArray[Any] = np.frombuffer(host, kinds[kind]).reshape(shape)
        if not self._context.set_tensor_address(name, device):
            raise Failed(f"Tensor {name} cannot be given its memory")
        return Binding(name, self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT, array, host, device)

    def load(self, inputs: Mapping[str, bytes]) -> None:
        """Put these bytes where inputs are copied from; other inputs stay zero. Raises `Failed` for an unknown input or another
        size."""
        bindings = {binding.name: binding for binding in self.bindings if binding.is_input}
        for name, content in inputs.items():
            binding = bindings.get(name)
            if binding is None or binding.host.nbytes != len(content):
                known = ", ".join(f"{each.name}: {each.host.nbytes} bytes" for each in bindings.values())
                raise Failed(f"Cannot set input {name} to {len(content)} bytes; the engine takes {known}")
            binding.host[:] = content

    def run(self) -> FrameTimes:
        """Run one frame and wait for its end."""
        gpu, (start, copied, computed, done) = self._gpu, self._events
        start.record()
        for binding in self.bindings:
            if binding.is_input:
                gpu.copy_in(binding.device, binding.host)
        copied.record()
        self._launch()
        computed.record()
        for binding in self.bindings:
            if not binding.is_input:
                gpu.copy_out(binding.host, binding.device)
        done.record()
        done.wait()
        return FrameTimes(start.since(self._first), copied.since(start), computed.since(copied), done.since(computed))

    def prepare(self, *, graph: bool) -> None:
        """Do the first run, which sets up more than later ones; then, with `graph`, capture the kernels as one CUDA graph if that
        is possible."""
        self._first.record()
        self.run()
        if graph:
            try:
                self._launch = self._gpu.capture(self._enqueue)
            except (CudaError, Failed) as error:
                self._gpu.synchronise()
                self._log.line("W", f"Graph capture failed, its kernels are launched one by one: {error}")

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._gpu.stream):
            raise Failed("Inference failed: execute_async_v3 says no")


def measure(engine: Engine, *, warm_up: float, duration: float, iterations: int) -> tuple[int, list[FrameTimes]]:
    """The number of runs within `warm_up` ms, and the runs after: for `duration` ms and at least `iterations`."""
    engine.run()
    began, warmed = time.monotonic(), 0
    while (time.monotonic() - began) * 1000 < warm_up:
        engine.run()
        warmed += 1
    began, runs = time.monotonic(), list[FrameTimes]()
    while (time.monotonic() - began) * 1000 < duration or len(runs) < iterations:
        runs.append(engine.run())
    return warmed, runs
