"""`python -m edgec.lowering.tensorrt.compiler.worker GRAPH SM ANSWER`: one graph through NVIDIA's parser and compiler.

In a process of its own, because native code may crash, hang, or print what it likes. ANSWER is a file that this process writes as
JSON, with the compiler's words as they came (`compiling` reads it).
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

LAYERS = "Layers:"
"""What the compiler's list of kernels begins with, at its most detailed verbosity."""
ROW = "Name: "
MOST_MESSAGES = 20
LONGEST_MESSAGE = 1000
_MEMORY = {
    "activation_bytes": re.compile(r"Total Activation Memory: (\d+) bytes"),
    "weights_bytes": re.compile(r"Total Weights Memory: (\d+) bytes"),
}


def compile_graph(graph: str, sm: str) -> dict[str, Any]:
    """The answer: `version`; `errors` in the parser's or compiler's words, none if an engine was made; `warnings`; `layers`, one
    line for each kernel; bytes of memory and of the engine; `seconds`."""
    import tensorrt_rtx_bindings as trt

    messages: list[tuple[str, str]] = []

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()

        def log(self, severity: Any, message: str) -> None:
            if severity.name != "VERBOSE" or message.startswith((LAYERS, ROW)):
                messages.append((severity.name, message))

    log = Log()
    builder = trt.Builder(log)
    # From core 11 every network is strongly typed; before, it has to be asked for.
    strongly_typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if strongly_typed is None else 1 << int(strongly_typed))
    parser = trt.OnnxParser(network, log)
    began = time.perf_counter()
    plan, errors = None, []
    if not parser.parse_from_file(graph):
        errors = [_parser_error(parser.get_error(index)) for index in range(parser.num_errors)] or ["the parser gives no reason"]
    elif not hasattr(trt.ComputeCapability, f"SM{sm}"):
        errors = [f"this version does not compile for SM{sm}"]
    else:
        config = builder.create_builder_config()
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{sm}"), 0)
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            errors = [text for severity, text in messages if severity in ("ERROR", "INTERNAL_ERROR")] or ["no engine was made"]
    return {
        "version": trt.__version__,
        "errors": _shortened(errors),
        "warnings": _shortened([text for severity, text in messages if severity == "WARNING"]),
        "layers": [] if plan is None else _rows(messages),
        **{name: _number(pattern, messages) for name, pattern in _MEMORY.items()},
        "engine_bytes": 0 if plan is None else plan.nbytes,
        "seconds": time.perf_counter() - began,
    }


def _parser_error(error: Any) -> str:
    return f"{error.desc()} (at {error.node_name() or 'no node'}, {error.node_operator() or 'no operator'})"


def _shortened(texts: list[str]) -> list[str]:
    return [text[:LONGEST_MESSAGE] for text in dict.fromkeys(texts)][:MOST_MESSAGES]


def _rows(messages: list[tuple[str, str]]) -> list[str]:
    """Of the last list of kernels: earlier ones are of graphs that the compiler still worked on."""
    start = max((index for index, (_, text) in enumerate(messages) if text.startswith(LAYERS)), default=None)
    if start is None:
        return []
    lines = (line for _, text in messages[start:] for line in text.splitlines())
    return [line for line in lines if line.startswith(ROW)]


def _number(pattern: re.Pattern[str], messages: list[tuple[str, str]]) -> int:
    matches = (pattern.search(text) for _, text in reversed(messages))
    return next((int(match[1]) for match in matches if match), 0)


if __name__ == "__main__":
    graph_file, streaming_multiprocessor, answer_file = sys.argv[1:]
    Path(answer_file).write_text(json.dumps(compile_graph(graph_file, streaming_multiprocessor)), encoding="utf-8")
