"""An ONNX graph through NVIDIA's parser and compiler, by the Python bindings of TensorRT-RTX, or of TensorRT from 10 on.

Their interfaces agree in what is used here; `trt` is whichever module is there. The workstation compiles without a GPU, for GPUs
that it names; a machine with a GPU compiles for its own.
"""

from __future__ import annotations

from typing import Any, Callable, Sequence


class GraphRefused(Exception):
    """In the parser's words, or in those of this module; `errors` are one sentence each."""

    def __init__(self, errors: Sequence[str]) -> None:
        super().__init__("; ".join(errors))
        self.errors = list(errors)


def make_logger(trt: Any, on_message: Callable[[str, str], None]) -> Any:
    """An `ILogger` that calls `on_message` with the severity's name, such as "WARNING", and the message."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()

        def log(self, severity: Any, message: str) -> None:
            on_message(severity.name, message)

    return Logger()


def compile_plan(trt: Any, logger: Any, graph: str, sms: Sequence[str], *, detailed: bool = False, tf32: bool = True) -> Any:
    """The engine for these SMs, such as "86", as an `IHostMemory`; None if the compiler makes none, and says why to the logger.
    Without `sms` it is for the GPU that is here. `detailed` makes the compiler list its kernels. Without `tf32` products of
    float32 are not rounded.

    Raises `GraphRefused` for a graph that cannot be parsed, or an SM that this version does not know.
    """
    builder = trt.Builder(logger)
    # From core 11 every network is strongly typed; before, it has to be asked for.
    strongly_typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if strongly_typed is None else 1 << int(strongly_typed))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(graph):
        words = [_words(parser.get_error(index)) for index in range(parser.num_errors)]
        raise GraphRefused(words or ["the parser gives no reason"])
    config = builder.create_builder_config()
    if sms:
        unknown = [sm for sm in sms if not hasattr(trt.ComputeCapability, f"SM{sm}")]
        if unknown:
            raise GraphRefused([f"this version does not compile for SM{sm}" for sm in unknown])
        config.num_compute_capabilities = len(sms)
        for index, sm in enumerate(sms):
            config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{sm}"), index)
    if detailed:
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if not tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    return builder.build_serialized_network(network, config)


def _words(error: Any) -> str:
    return f"{error.desc()} (at {error.node_name() or 'no node'}, {error.node_operator() or 'no operator'})"
