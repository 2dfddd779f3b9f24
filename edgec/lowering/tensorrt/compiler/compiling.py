"""A graph handed to NVIDIA's compiler, and what it made of it."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgec.errors import MissingPackage, RuntimeFailure
from edgec.graph.operations import PRODUCTS
from edgec.lowering.tensorrt.compiler.kernels import KINDS, Kernel, fused_attentions, products_by_type, read_kernels
from edgec.lowering.tensorrt.compiler.machines import INSTALL, MODULE, TITLE, availability, core_of
from edgec.lowering.tensorrt.view import View
from edgec.onboard.process import Ended, run
from edgec.onboard.worker import describe_exit
from edgec.records.compilation import Compilation
from edgec.untrusted import Refused, parse_json_object, read_bytes

PATIENCE_S = 600.0
"""For one graph and one SM. A ViT-S takes 3 s on a workstation."""
_WORKER = "edgec.lowering.tensorrt.compiler.worker"
_MOST_PRINTED = 64 << 20
"""Bytes that the compiler may print of its own accord."""
_MOST_ANSWERED = 256 << 20


@dataclass(frozen=True)
class Compiled:
    """`kernels` in the order in which they run; none if the graph was refused."""

    summary: Compilation
    kernels: tuple[Kernel, ...]
    warnings: tuple[str, ...]


def compile_graph(graph: Path, sm: str, boards: Iterable[str] = (), *, seconds: float = PATIENCE_S) -> Compiled:
    """One ONNX file, strongly typed, for one SM. What the parser or the compiler refuses is a `Compilation` with their words; so
    is a graph on which they crash or hang, because a board's would, too.

    Raises `TargetError` if the compiler is not installed, `RuntimeFailure` if it cannot be started or its answer not be read.
    """
    (compiled,) = compile_for_each(graph, {sm: boards}, seconds=seconds)
    return compiled


def compile_for_each(graph: Path, boards: Mapping[str, Iterable[str]], *, seconds: float = PATIENCE_S) -> tuple[Compiled, ...]:
    """As `compile_graph`, for each SM in `boards`, which has the profiles that it stands for.

    One process does them all, because most of a small graph's time goes into its start. If that crashes or hangs, each SM gets a
    process of its own: which one it was is then known.
    """
    version = _installed()
    with tempfile.TemporaryDirectory(prefix="edgec-compile-") as folder:
        answer = Path(folder, "answer.json")
        command = [sys.executable, "-m", _WORKER, str(graph.resolve()), ",".join(boards), str(answer)]
        refusal, ended = _compile(command, Path(folder), seconds * len(boards))
        if not refusal:
            said = _answer(answer)
            return tuple(_read(said[sm], graph, sm, names) for sm, names in boards.items())
    if len(boards) > 1:
        return tuple(compile_graph(graph, sm, names, seconds=seconds) for sm, names in boards.items())
    return tuple(
        Compiled(_summary(version, sm, names, refusal=refusal, compile_s=round(ended.seconds, 2)), (), ())
        for sm, names in boards.items()
    )


def compile_engine(graph: Path, sms: Sequence[str], engine: Path, *, seconds: float = PATIENCE_S) -> str:
    """Compile one ONNX file, strongly typed, into one engine for all of these SMs, and write it there; returns the version of
    TensorRT-RTX that it is for: no other loads it.

    The same graph, under the same file name, gives the same bytes (`worker` says what that takes). Raises as
    `compile_graph`, and `RuntimeFailure` for a graph that is refused.
    """
    _installed()
    with tempfile.TemporaryDirectory(prefix="edgec-compile-") as folder:
        answer = Path(folder, "answer.json")
        command = [sys.executable, "-m", _WORKER, str(graph.resolve()), ",".join(sms), str(answer), str(engine.resolve())]
        refusal, _ = _compile(command, Path(folder), seconds)
        said = {} if refusal else _answer(answer)[",".join(sms)]
        problem = refusal or "; ".join(said.get("errors", ()))
        if problem:
            machines = ", ".join(sms)
            raise RuntimeFailure(f"NVIDIA's compiler makes no engine of {graph.name} for SM {machines}.", evidence=problem)
        return str(said["version"])


def _installed() -> str:
    state = availability()
    if not state.available:
        raise MissingPackage("NVIDIA's compiler is not installed here.", evidence=f"no package {MODULE}", remedy=INSTALL)
    return state.version


def _compile(command: Sequence[str], folder: Path, seconds: float) -> tuple[str, Ended]:
    """Why the compiler's process gave no answer, empty if it did; and how it ended."""
    ended = _run(command, folder, seconds)
    problem = _problem(ended, seconds)
    return f"{problem}; last words: {ended.tail[-1][:300]}" if problem and ended.tail else problem, ended


def _run(command: Sequence[str], folder: Path, seconds: float) -> Ended:
    try:
        return run(
            command,
            cwd=folder,
            patience=seconds,
            most_seconds=seconds,
            most_bytes=_MOST_PRINTED,
            environment=_environment(),
            on_line=lambda line: None,
            on_tick=lambda passed: None,
        )
    except OSError as error:
        raise RuntimeFailure("The process for NVIDIA's compiler could not be started.", evidence=str(error)) from error


def _environment() -> dict[str, str]:
    """This process's, without what changes how memory is allocated, on which the order within an engine depends."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))}


def _problem(ended: Ended, seconds: float) -> str:
    """Why there is no answer; empty if there is one."""
    if ended.silent is not None:
        return f"the compiler was ended after {ended.seconds:.0f} s of at most {seconds:.0f} s"
    return f"the compiler's process {describe_exit(ended.code)}" if ended.code else ""


def _read(said: Mapping[str, Any], graph: Path, sm: str, boards: Iterable[str]) -> Compiled:
    try:
        refusal = "; ".join(said["errors"])
        kernels = read_kernels(said["layers"])
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(error) from error
    memory = {name: int(said[name]) for name in ("activation_bytes", "weights_bytes", "engine_bytes")} if not refusal else {}
    counts = {} if refusal else _counts(kernels, graph)
    summary = _summary(said["version"], sm, boards, refusal=refusal, compile_s=round(said["seconds"], 2), **memory, **counts)
    return Compiled(summary, kernels, tuple(said["warnings"]))


def _answer(path: Path) -> dict[str, Any]:
    try:
        return parse_json_object(read_bytes(path, _MOST_ANSWERED))
    except (OSError, Refused) as error:
        raise _unreadable(error) from error


def _unreadable(error: Exception) -> RuntimeFailure:
    return RuntimeFailure(
        "What NVIDIA's compiler said cannot be read.",
        evidence=f"{type(error).__name__}: {error}",
        remedy="report this with the versions that `edgec doctor` prints",
    )


def _summary(version: str, sm: str, boards: Iterable[str], **figures: Any) -> Compilation:
    return Compilation(compiler=f"{TITLE} {version}", core=core_of(version), sm=sm, boards=tuple(boards), **figures)


def _counts(kernels: Sequence[Kernel], graph: Path) -> dict[str, Any]:
    """What of the graph became of these kernels."""
    import onnx

    view = View(onnx.load(graph))
    attentions, products = [], set()
    if not view.broken:
        products = {str(node.name) for node in view.graph if node.op_type in PRODUCTS}
        attentions = [names for score, softmax in view.attentions() if (names := _attention(score, softmax))]
    kinds = [kernel.kind for kernel in kernels]
    return {
        "kernels": len(kernels),
        "kernels_by_kind": {kind: kinds.count(kind) for kind in KINDS if kind in kinds},
        "attentions": len(attentions),
        "attentions_fused": fused_attentions(kernels, attentions),
        "products": products_by_type(kernels, products),
        "moved_bytes": sum(kernel.moved_bytes for kernel in kernels),
        "constant_bytes": sum(kernel.constant_bytes for kernel in kernels),
    }


def _attention(score: Any, softmax: Any) -> tuple[str, ...]:
    """The names of an attention's product, softmax and second product; empty if nothing multiplies what the softmax gives."""
    from edgec.lowering.tensorrt.view import LAYOUT, below

    through = (*LAYOUT, "QuantizeLinear", "DequantizeLinear")
    for node in below(softmax.outputs[0], through):
        if node.op_type == "MatMul":
            return (str(score.name), str(softmax.name), str(node.name))
    return ()
