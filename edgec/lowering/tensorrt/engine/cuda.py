"""As much of CUDA as running an engine takes, through the driver's own library: memory, one stream, events, a graph.

The driver is there wherever a GPU is, whatever PyTorch was installed (edgec's own pins have one without CUDA), and loads in no
time. TensorRT works through CUDA's runtime, which shares the device's primary context and takes streams and memory of the
driver's (NVIDIA CUDA Runtime API, Interactions with the CUDA Driver API; CUDA Driver API, Primary Context Management).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import byref, c_char_p, c_float, c_int, c_size_t, c_uint, c_uint64, c_void_p
from typing import Any

LIBRARY = "libcuda.so.1"
# From cuda.h; these numbers are part of the driver's ABI.
_MAJOR, _MINOR = 75, 76
_NON_BLOCKING = 1
_BLOCKING_SYNC = 1
_CAPTURE_THREAD_LOCAL = 1


class CudaError(Exception):
    """A call to the driver that failed: the function's name and the driver's message."""


class Gpu:
    """The first device that CUDA shows, with its primary context current in this thread, and one stream.

    Raises `CudaError` where there is no driver or no device.
    """

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(LIBRARY)
        except OSError as error:
            raise CudaError(f"{LIBRARY}, the NVIDIA driver's library, cannot be loaded: {error}") from error
        self._call("cuInit", c_uint(0))
        device = c_int()
        self._call("cuDeviceGet", byref(device), c_int(0))
        name = ctypes.create_string_buffer(256)
        self._call("cuDeviceGetName", name, c_int(len(name)), device)
        self.name = name.value.decode("utf-8", "replace")
        self.compute_capability = ".".join(str(self._attribute(number, device)) for number in (_MAJOR, _MINOR))
        context, stream = c_void_p(), c_void_p()
        self._call("cuDevicePrimaryCtxRetain", byref(context), device)
        self._call("cuCtxSetCurrent", context)
        self._call("cuStreamCreate", byref(stream), c_uint(_NON_BLOCKING))
        self._stream = stream

    @property
    def stream(self) -> int:
        """The handle that TensorRT takes."""
        return int(self._stream.value or 0)

    def device_memory(self, size: int) -> int:
        """Allocate so many bytes; returns the address. All memory here is freed when the process ends."""
        address = c_uint64()
        self._call("cuMemAlloc_v2", byref(address), c_size_t(size))
        return address.value

    def host_memory(self, size: int) -> memoryview:
        """So many bytes of pinned memory, which copies that overlap with computing need."""
        address = c_void_p()
        self._call("cuMemHostAlloc", byref(address), c_size_t(size), c_uint(0))
        return memoryview((ctypes.c_ubyte * size).from_address(address.value or 0)).cast("B")

    def copy_in(self, device: int, host: memoryview) -> None:
        """Copy to the GPU, in the stream's order."""
        self._call("cuMemcpyHtoDAsync_v2", c_uint64(device), _address(host), c_size_t(host.nbytes), self._stream)

    def copy_out(self, host: memoryview, device: int) -> None:
        """Copy from the GPU, in the stream's order."""
        self._call("cuMemcpyDtoHAsync_v2", _address(host), c_uint64(device), c_size_t(host.nbytes), self._stream)

    def synchronise(self) -> None:
        """Wait until the stream is idle."""
        self._call("cuStreamSynchronize", self._stream)

    def event(self, *, spin: bool) -> Event:
        """An event of the stream. With `spin`, waiting for it keeps a core busy instead of sleeping."""
        handle = c_void_p()
        self._call("cuEventCreate", byref(handle), c_uint(0 if spin else _BLOCKING_SYNC))
        return Event(self._call, handle, self._stream)

    def capture(self, enqueue: Callable[[], None]) -> Callable[[], None]:
        """Record what `enqueue` puts on the stream as one graph; returns the function that launches it. Nothing runs yet.

        Raises `CudaError`, or whatever `enqueue` raised, for work that a graph cannot hold; the stream is usable again then.
        """
        graph, executable = c_void_p(), c_void_p()
        self._call("cuStreamBeginCapture_v2", self._stream, c_int(_CAPTURE_THREAD_LOCAL))
        try:
            enqueue()
        except BaseException:
            self._library.cuStreamEndCapture(self._stream, byref(graph))
            raise
        self._call("cuStreamEndCapture", self._stream, byref(graph))
        self._call("cuGraphInstantiateWithFlags", byref(executable), graph, c_uint64(0))
        return lambda: self._call("cuGraphLaunch", executable, self._stream)

    def _attribute(self, number: int, device: c_int) -> int:
        value = c_int()
        self._call("cuDeviceGetAttribute", byref(value), c_int(number), device)
        return value.value

    def _call(self, function: str, *arguments: Any) -> None:
        code = getattr(self._library, function)(*arguments)
        if code:
            text = c_char_p()
            self._library.cuGetErrorString(c_int(code), byref(text))
            raise CudaError(f"{function}: {(text.value or b'unknown error').decode()} ({code})")


class Event:
    """A point in the stream."""

    def __init__(self, call: Callable[..., None], handle: c_void_p, stream: c_void_p) -> None:
        self._call, self._handle, self._stream = call, handle, stream

    def record(self) -> None:
        """Put the event at the end of the stream."""
        self._call("cuEventRecord", self._handle, self._stream)

    def wait(self) -> None:
        """Until the stream has reached the event."""
        self._call("cuEventSynchronize", self._handle)

    def since(self, earlier: Event) -> float:
        """Milliseconds between two events, both of which must have been reached."""
        elapsed = c_float()
        self._call("cuEventElapsedTime", byref(elapsed), earlier._handle, self._handle)
        return elapsed.value


def _address(host: memoryview) -> c_void_p:
    return c_void_p(ctypes.addressof(ctypes.c_ubyte.from_buffer(host)))
