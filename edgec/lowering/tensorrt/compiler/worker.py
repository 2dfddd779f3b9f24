"""`python -m edgec.lowering.tensorrt.compiler.worker GRAPH SMS ANSWER [ENGINE]`: one graph through NVIDIA's parser and compiler.

In a process of its own, because native code may crash, hang, or print what it likes. ANSWER is a file that this process writes as
JSON, with the compiler's words as they came, by SM (`compiling` reads it). SMS is `86` or `86,89`: the graph is compiled for one
after the other, or, with ENGINE, into one engine for all of them, which is written there; its words then stand under SMS.

Engines come out the same each time. In which order the compiler writes a graph's outputs follows from the addresses of objects
that it allocates (1.7.1), and so from all that this process has allocated and freed before. Three things keep that out: the graph
is compiled in a thread of its own, whose memory glibc takes from a fresh arena; Python's garbage collector, which frees old
objects whenever it likes, is off; and the graph's name is given without its folder.
"""

from __future__ import annotations

import gc
import json
import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from edgec.onboard.compiling import GraphRefused, compile_plan, make_logger

LAYERS = "Layers:"
"""What the compiler's list of kernels begins with, at its most detailed verbosity."""
ROW = "Name: "
MOST_MESSAGES = 20
LONGEST_MESSAGE = 1000
_MEMORY = {
    "activation_bytes": re.compile(r"Total Activation Memory: (\d+) bytes"),
    "weights_bytes": re.compile(r"Total Weights Memory: (\d+) bytes"),
}


def compile_graph(graph: str, sms: str, engine: str = "") -> dict[str, Any]:
    """The answer: `version`; `errors` in the parser's or compiler's words, none if an engine was made; `warnings`; `layers`, one
    line for each kernel; bytes of memory and of the engine; `seconds`."""
    import tensorrt_rtx_bindings as trt

    messages: list[tuple[str, str]] = []

    def on_message(severity: str, message: str) -> None:
        if severity != "VERBOSE" or message.startswith((LAYERS, ROW)):
            messages.append((severity, message))

    began = time.perf_counter()
    plan, errors = None, []
    try:
        plan = compile_plan(trt, make_logger(trt, on_message), graph, sms.split(","), detailed=not engine)
    except GraphRefused as refusal:
        errors = refusal.errors
    else:
        if plan is None:
            errors = [text for severity, text in messages if severity in ("ERROR", "INTERNAL_ERROR")] or ["no engine was made"]
        elif engine:
            Path(engine).write_bytes(plan)
    return {
        "version": trt.__version__,
        "errors": _shortened(errors),
        "warnings": _shortened([text for severity, text in messages if severity == "WARNING"]),
        "layers": [] if plan is None else _rows(messages),
        **{name: _number(pattern, messages) for name, pattern in _MEMORY.items()},
        "engine_bytes": 0 if plan is None else plan.nbytes,
        "seconds": time.perf_counter() - began,
    }


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


def main() -> None:
    """Reads the command line. Paths must be absolute: the compiler runs in the graph's folder."""
    graph_file, machines, answer_file, *engine_file = sys.argv[1:]
    gc.disable()
    # Not before everything is imported: `python -m` looks for modules in the working folder first.
    import tensorrt_rtx_bindings  # noqa: F401

    os.chdir(Path(graph_file).parent)
    answer = {}
    for sms in [machines] if engine_file else machines.split(","):
        with ThreadPoolExecutor(1) as fresh:
            answer[sms] = fresh.submit(compile_graph, Path(graph_file).name, sms, *engine_file).result()
    Path(answer_file).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
