"""Engines through NVIDIA's Python packages: `edgec_device.tool.Tool`, each job in a process of its own (`runner`)."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgec_device.bundle import Shipped, Variant
from edgec_device.errors import EngineFailed, NoTensorRT
from edgec_device.npy import Array
from edgec_device.output import Output, elapsed
from edgec_device.session import Session
from edgec_device.tool import PLAN, Gpu, Measured
from edgec_device.versions import Version, within
from edgec_onboard import process
from edgec_onboard.documents import Tensor
from edgec_onboard.errors import UsageError
from edgec_onboard.text import shorten
from edgec_onboard.untrusted import Refused, parse_json_object, read_bytes
from edgec_onboard.worker import describe_exit

from edgec_rtx.errors import EngineHung
from edgec_rtx.runner import ANSWER, MODULES, OUTPUTS

ENVIRONMENT = "venv"
"""A virtual environment of this name in --dir is used without being named."""
_LOOK_S = 120.0
_EVENT_S = 1.0
_MOST_ANSWERED = 256 << 20
_MOST_PRINTED = 64 << 20
_LONGEST_MS = 1e7
_TYPES = {"FLOAT": "f", "INT32": "i"}
_UNRECORDED = "The GPU's clock, temperature and power were not recorded."


class Runner:
    """See `edgec_device.tool.Tool`."""

    verify_flags: list[str] = []  # noqa: RUF012 - part of the protocol

    def __init__(self, python: Path, output: Output, patience: float, needed: Sequence[Shipped]) -> None:
        self.path, self._output, self._patience = python, output, patience
        self.doubts: list[str] = []
        self._look(needed)

    @classmethod
    def find(cls, session: Session) -> Runner:
        """The one that --python names, else that of the environment in --dir, else this one. Raises `NoTensorRT`."""
        named, own = session.options.tool, session.options.root / ENVIRONMENT / "bin" / "python3"
        python = Path(named).expanduser() if named else own if own.exists() else Path(sys.executable)
        if not os.access(python, os.X_OK):
            raise UsageError("There is no Python to run NVIDIA's packages with.", evidence=[str(python)])
        needed = [variant.engine for variant in session.bundle.variants if variant.engine is not None]
        return cls(python.absolute(), session.output, session.options.patience, needed)

    def _look(self, needed: Sequence[Shipped]) -> None:
        with tempfile.TemporaryDirectory(prefix="edgec-") as folder:
            answer = self._do({"do": "look"}, Path(folder), patience=min(self._patience, _LOOK_S))
        install = [f"the engines are for TensorRT-RTX {needed[0].version}"] if needed else []
        if "missing" in answer:
            raise NoTensorRT(
                "NVIDIA's packages are not installed in the Python that was looked at.",
                evidence=[str(self.path), answer["missing"], *install],
                remedy=install_line(self.path, needed[0].version if needed else ""),
            )
        if "error" in answer:
            raise NoTensorRT(
                "NVIDIA's packages find no GPU that they can use.",
                evidence=[str(self.path), answer["error"]],
                remedy="look whether nvidia-smi shows a GPU, and start containers with --gpus all",
            )
        self._module, self._version = str(answer["module"]), str(answer["version"])
        self._is_rtx = self._module == MODULES[0]
        self.name, self.title = self._module, "TensorRT-RTX" if self._is_rtx else "TensorRT"
        self.version: Version = tuple(map(int, re.findall(r"\d+", self._version)[:4]))
        self.gpu = Gpu(str(answer["gpu"])[:200], str(answer["compute_capability"]))
        self.packages = {self._module: self._version, "cuda-driver": str(answer["driver"])}
        if "stand-in" in f"{answer}":
            self.doubts.append("the GPU, or NVIDIA's packages, are stand-ins")

    def takes(self, limits: Mapping[str, str]) -> bool:
        """TensorRT-RTX has version numbers of its own, and each takes every graph. TensorRT has strongly typed networks, which
        `runner` builds, and the interface that it uses from 10 on."""
        return self._is_rtx or (self.version >= (10,) and within(self.version, limits))

    def flags(self, variant: Variant, release: Path) -> list[str]:
        """Where the engine comes from."""
        here = f"compiled here by {self._module} {self._version}"
        return [f"of edgec build, or {here} if that does not load" if self._fits(variant.engine) else here]

    def bench_flags(self, seconds: float, iterations: int) -> list[str]:
        """How long, and how often."""
        return [f"seconds={seconds:g}", f"iterations={iterations}", "copies=in,out", "cuda-graph", "one-frame-at-a-time"]

    def build(self, variant: Variant, flags: Sequence[str], *, release: Path, work: Path, caches: Path, log: Path) -> float:
        """Take the engine that came with the bundle, if it is for what is installed here, or compile the graph for this GPU."""
        began = time.monotonic()
        if variant.engine is not None and self._fits(variant.engine):
            shutil.copyfile(release / variant.engine.path, work / PLAN)
            problem = self._do({"do": "load", "plan": PLAN}, work, log=log, step=f"build of {variant.name}").get("error")
            if not problem:
                return time.monotonic() - began
            note = f"the engine of edgec build does not load ({shorten(str(problem), 200)}); compiling the graph here"
            self._output.emit("log", "  " + note, step="build", variant=variant.name, line=note)
        job = {"do": "build", "graph": str(release / variant.path), "plan": PLAN, "tf32": variant.precision != "fp32"}
        self._step(job, work, "build", variant.name, log)
        return time.monotonic() - began

    def outputs(
        self,
        variant: str,
        plan: Path,
        batches: Iterator[bytes],
        tensors: Sequence[Tensor],
        frames: Tensor,
        *,
        work: Path,
        log: Path,
    ) -> Iterator[Mapping[str, Array]]:
        """All batches in one process: loading an engine takes longer than running it."""
        path, count = work / "frames.bin", 0
        with path.open("wb") as file:
            for batch in batches:
                file.write(batch)
                count += 1
        job = {"do": "run", "plan": str(plan), "input": frames.name, "frames": path.name, "batches": count}
        answer = self._step(job, work, "verify", variant, log)
        try:
            announced = [(str(each["name"]), _TYPES[each["dtype"]], tuple(map(int, each["shape"]))) for each in answer["outputs"]]
            sizes = [math.prod(shape) * 4 for _, _, shape in announced]
            most = 4 * sum(tensor.size for tensor in tensors) * count
            if sum(sizes) * count != (work / OUTPUTS).stat().st_size or sum(sizes) * count > 2 * most:
                raise ValueError(f"{sizes} bytes a batch were announced, and others written")
            with (work / OUTPUTS).open("rb") as file:
                for _ in range(count):
                    contents = [file.read(size) for size in sizes]
                    yield {
                        name: Array(shape, array(code, content))
                        for (name, code, shape), content in zip(announced, contents, strict=True)
                    }
        except (KeyError, TypeError, ValueError) as error:
            raise _unusable("verify", variant, str(error)) from error

    def measure(
        self,
        variant: str,
        plan: Path,
        batch: bytes,
        frames: Tensor,
        flags: Sequence[str],
        *,
        work: Path,
        log: Path,
        on_tick: Callable[[], None],
    ) -> Measured:
        """By the GPU's clock, from the first byte copied in to the last copied out."""
        (work / "frames.bin").write_bytes(batch)
        asked = dict(flag.split("=") for flag in flags[:2])
        job: dict[str, Any] = {"do": "bench", "plan": str(plan), "input": frames.name, "frames": "frames.bin"}
        job |= {"seconds": float(asked["seconds"]), "iterations": int(asked["iterations"])}
        answer = self._step(job, work, "bench", variant, log, on_tick)
        samples, refused = answer.get("samples_ms"), str(answer.get("no_graph", ""))
        if not isinstance(samples, list) or not samples or not all(_is_time(sample) for sample in samples):
            raise _unusable("bench", variant, "its times make no sense")
        load_ms: Any = answer.get("load_ms")
        warm_up = answer.get("warm_up")
        if not _is_time(load_ms) or type(warm_up) is not int:
            raise _unusable("bench", variant, f"load_ms is {load_ms!r}, warm_up {warm_up!r}")
        no_graph = (
            f"The engine could not be captured as a CUDA graph, its kernels were launched one by one: {shorten(refused, 200)}."
        )
        return Measured(samples, warm_up, float(load_ms), [_UNRECORDED, *([no_graph] if refused else [])])

    def _fits(self, engine: Shipped | None) -> bool:
        """Engines of TensorRT-RTX are for one version of it (NVIDIA's documentation, Engine Compatibility)."""
        if engine is None or not self._is_rtx:
            return False
        return engine.version == self._version and self.gpu.compute_capability in engine.compute_capabilities

    def _step(
        self, job: dict[str, Any], work: Path, step: str, variant: str, log: Path, on_tick: Callable[[], None] = lambda: None
    ) -> dict[str, Any]:
        """A job that must succeed. Raises `EngineFailed` or `EngineHung`."""
        last = [0.0]

        def tick(seconds: float) -> None:
            on_tick()
            if seconds - last[0] >= _EVENT_S:
                last[0] = seconds
                detail = f"{self.title} is at work"
                self._output.emit("progress", step=step, variant=variant, seconds=round(seconds, 1), detail=detail)

        answer = self._do(job, work, log=log, on_tick=tick, step=f"{step} of {variant}")
        problem = answer.get("error") or answer.get("missing")
        if problem:
            raise EngineFailed(
                f"{self.title} failed in {step} of {variant}.",
                evidence=[shorten(str(problem), 300), f"log: {log}"],
                remedy="run the same command again; if it fails there again, report this with the log",
            )
        return answer

    def _do(
        self,
        job: dict[str, Any],
        work: Path,
        *,
        patience: float = 0.0,
        log: Path | None = None,
        on_tick: Callable[[float], None] = lambda seconds: None,
        step: str = "looking for a GPU",
    ) -> dict[str, Any]:
        """The answer to a job; a process that crashed is an `error`. Raises `EngineHung`."""
        (work / "job.json").write_text(json.dumps(job), encoding="utf-8")
        (work / ANSWER).unlink(missing_ok=True)
        lines: list[str] = []
        with tempfile.TemporaryDirectory(prefix="edgec-") as folder:
            command = [str(self.path), str(_program(Path(folder))), "--runner", "job.json"]
            patience = patience or self._patience
            ended = process.run(
                command, cwd=work, patience=patience, on_line=lines.append, on_tick=on_tick, most_bytes=_MOST_PRINTED
            )
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text("\n".join([" ".join(command), json.dumps(job), *lines]) + "\n", encoding="utf-8")
        if ended.silent is not None:
            raise EngineHung(
                f"NVIDIA's code hung in {step} and was ended.",
                evidence=[f"it printed nothing for {elapsed(ended.silent)}"],
                remedy="run the same command again; if it hangs again, reboot, or allow more time with --patience",
            )
        try:
            return parse_json_object(read_bytes(work / ANSWER, _MOST_ANSWERED))
        except (OSError, Refused):
            return {"error": "; ".join([f"the process {describe_exit(ended.code)}", *ended.tail[-2:]])}


def install_line(python: Path, version: str) -> str:
    """What installs NVIDIA's packages for this machine, in an environment that this program finds."""
    flavour = "cu12" if platform.machine() in ("x86_64", "AMD64") else "cu13"
    equal = f"=={version}" if version else ""
    packages = " ".join(f"tensorrt-rtx-{flavour}-{part}{equal}" for part in ("bindings", "libs"))
    return (
        f"{python} -m pip install {packages} cuda-bindings; for a data-centre GPU from Hopper on, tensorrt-cu12 cuda-bindings. "
        f"An environment made with `python3 -m venv ~/.local/share/edgec/{ENVIRONMENT}` is found there"
    )


def _program(folder: Path) -> Path:
    """This program as a file that another process can open: over SSH it is stored nowhere."""
    path = Path(sys.argv[0])
    if path.is_dir():
        return path.absolute()
    copy = folder / "edgec-rtx.pyz"
    copy.write_bytes(path.read_bytes())
    return copy


def _is_time(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < _LONGEST_MS


def _unusable(step: str, variant: str, what: str) -> EngineFailed:
    return EngineFailed(f"What came of {step} of {variant} cannot be used.", evidence=[shorten(what, 300)])
