"""Engines through NVIDIA's Python packages: `edgec_device.tool.Tool`, each job in a process of its own (`runner`)."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgec_device.bundle import Shipped, Variant
from edgec_device.errors import NoRuntime
from edgec_device.jobs import Jobs, JobTool, limits
from edgec_device.nvidia import PLAN, Gpu, NvidiaTool
from edgec_device.output import Output
from edgec_device.session import Session
from edgec_device.tool import Measured
from edgec_device.versions import Version, within
from edgec_onboard.errors import UsageError
from edgec_onboard.text import shorten

from edgec_rtx.runner import MODULES

ENVIRONMENT = "venv"
"""A virtual environment of this name in --dir is used without being named."""
_LOOK_S = 120.0
_UNRECORDED = "The GPU's clock, temperature and power were not recorded."


class Runner(JobTool, NvidiaTool):
    """See `edgec_device.tool.Tool`."""

    verify_flags: list[str] = []  # noqa: RUF012 - part of the protocol

    def __init__(self, python: Path, output: Output, patience: float, needed: Sequence[Shipped]) -> None:
        self.path, self._output = python, output
        self._jobs = Jobs(python, output, patience, "NVIDIA's code")
        self.doubts: list[str] = []
        self._look(min(patience, _LOOK_S), needed)

    @classmethod
    def find(cls, session: Session) -> Runner:
        """The one that --python names, else that of the environment in --dir, else this one. Raises `NoRuntime`."""
        named, own = session.options.tool, session.options.root / ENVIRONMENT / "bin" / "python3"
        python = Path(named).expanduser() if named else own if own.exists() else Path(sys.executable)
        if not os.access(python, os.X_OK):
            raise UsageError("There is no Python to run NVIDIA's packages with.", evidence=[str(python)])
        needed = [variant.engine for variant in session.bundle.variants if variant.engine is not None]
        return cls(python.absolute(), session.output, session.options.patience, needed)

    def _look(self, patience: float, needed: Sequence[Shipped]) -> None:
        with tempfile.TemporaryDirectory(prefix="edgec-") as folder:
            answer = self._jobs.ask({"do": "look"}, Path(folder), patience=patience, step="looking for a GPU")
        install = [f"the engines are for TensorRT-RTX {needed[0].version}"] if needed else []
        if "missing" in answer:
            raise NoRuntime(
                "NVIDIA's packages are not installed in the Python that was looked at.",
                evidence=[str(self.path), answer["missing"], *install],
                remedy=install_line(self.path, needed[0].version if needed else ""),
            )
        if "error" in answer:
            raise NoRuntime(
                "NVIDIA's packages find no GPU that they can use.",
                evidence=[str(self.path), answer["error"]],
                remedy="look whether nvidia-smi shows a GPU, and start containers with --gpus all",
            )
        self._module, self._version = str(answer["module"]), str(answer["version"])
        self._is_rtx = self._module == MODULES[0]
        self.name, self.runtime = self._module, "TensorRT-RTX" if self._is_rtx else "TensorRT"
        self._jobs.runtime = self.runtime
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
        """How long, how often, and what is within a sample, by the GPU's clock."""
        return [*limits(seconds, iterations), "copies=in,out", "cuda-graph", "one-frame-at-a-time"]

    def build(self, variant: Variant, flags: Sequence[str], *, release: Path, work: Path, caches: Path, log: Path) -> float:
        """Take the engine that came with the bundle, if it is for what is installed here, or compile the graph for this GPU."""
        began = time.monotonic()
        if variant.engine is not None and self._fits(variant.engine):
            shutil.copyfile(release / variant.engine.path, work / PLAN)
            job = {"do": "load", "plan": PLAN}
            problem = self._jobs.ask(job, work, log=log, step=f"build of {variant.name}").get("error")
            if not problem:
                return time.monotonic() - began
            note = f"the engine of edgec build does not load ({shorten(str(problem), 200)}); compiling the graph here"
            self._output.emit("log", "  " + note, step="build", variant=variant.name, line=note)
        graph = {"do": "build", "graph": str(release / variant.path), "plan": PLAN, "tf32": variant.precision != "fp32"}
        self._jobs.step(graph, work, "build", variant, log)
        return time.monotonic() - began

    def _job(self, variant: Variant, engine: Path) -> dict[str, Any]:
        return {"plan": str(engine)}

    def _completed(self, measured: Measured, answer: Mapping[str, Any], variant: Variant) -> Measured:
        refused = str(answer.get("no_graph", ""))
        no_graph = (
            f"The engine could not be captured as a CUDA graph, its kernels were launched one by one: {shorten(refused, 200)}."
        )
        return replace(measured, caveats=[_UNRECORDED, *([no_graph] if refused else [])])

    def _fits(self, engine: Shipped | None) -> bool:
        """Engines of TensorRT-RTX are for one version of it (NVIDIA's documentation, Engine Compatibility)."""
        if engine is None or not self._is_rtx:
            return False
        return engine.version == self._version and self.gpu.compute_capability in engine.compute_capabilities


def install_line(python: Path, version: str) -> str:
    """What installs NVIDIA's packages for this machine, in an environment that this program finds."""
    flavour = "cu12" if platform.machine() in ("x86_64", "AMD64") else "cu13"
    equal = f"=={version}" if version else ""
    packages = " ".join(f"tensorrt-rtx-{flavour}-{part}{equal}" for part in ("bindings", "libs"))
    return (
        f"{python} -m pip install {packages} cuda-bindings; for a data-centre GPU from Hopper on, tensorrt-cu12 cuda-bindings. "
        f"An environment made with `python3 -m venv ~/.local/share/edgec/{ENVIRONMENT}` is found there"
    )
