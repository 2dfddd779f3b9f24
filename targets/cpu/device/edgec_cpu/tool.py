"""Models in OpenVINO and ONNX Runtime: `edgec_device.tool.Tool`, each job in a process of its own (`runner`)."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgec_device import environment
from edgec_device.bundle import BoardProfile, Variant
from edgec_device.errors import EngineHung, NoRuntime
from edgec_device.jobs import Jobs, JobTool, limits
from edgec_device.session import Session
from edgec_onboard.cgroup import available_cores
from edgec_onboard.cpuinfo import Cpu
from edgec_onboard.files import link_or_copy
from edgec_onboard.text import shorten

TITLES = {"openvino": "OpenVINO", "onnxruntime": "ONNX Runtime"}
_LOOK_S = 120.0


class Runtimes(JobTool):
    """See `edgec_device.tool.Tool`. `python` runs the jobs, with packages from `folders` first."""

    name = "edgec-cpu"
    observed: Mapping[str, Any] = {}

    def __init__(self, session: Session, cpu: Cpu, python: Path, folders: Sequence[Path]) -> None:
        self.path, self._cpu, self._variants = python, cpu, session.bundle.variants
        self.threads = available_cores()
        more, options = [str(folder) for folder in folders], session.options
        self._jobs = Jobs(python, session.output, options.patience, "the runtime", more)
        self.doubts: list[str] = []
        self.installed: dict[str, str] = {}
        """Versions by runtime."""
        self.problems: dict[str, str] = {}
        """Why a runtime cannot be used."""
        for runtime in dict.fromkeys(variant.runtime for variant in self._variants):
            self._look(runtime, min(options.patience, _LOOK_S))

    @classmethod
    def find(cls, session: Session, cpu: Cpu) -> Runtimes:
        """In the Python that --python names; else in an environment under --dir; else in this Python. The first that has every
        runtime of the bundle, else the first that has one. Raises `NoRuntime` if none has."""
        tried = []
        for python, folders in environment.places(session):
            tried.append(cls(session, cpu, python, folders))
            if not tried[-1].problems:
                return tried[-1]
        some = next((each for each in tried if each.installed), None)
        if some is not None:
            return some
        versions, root = {variant.runtime: variant.version for variant in session.bundle.variants}, session.options.root
        raise NoRuntime(
            "No runtime for this bundle is installed here.",
            evidence=[
                *(f"{folder} has changed since it was unpacked, and is not used" for folder in environment.changed(root)),
                *(f"{tried[-1].path}: {TITLES.get(name, name)}: {why}" for name, why in tried[-1].problems.items()),
            ],
            remedy=f"`edgec deploy` brings it along; or {tried[-1].path} -m pip install "
            + " ".join(f"{name}=={version}" for name, version in versions.items()),
        )

    def _look(self, runtime: str, patience: float) -> None:
        job = {"do": "look", "runtime": runtime}
        with tempfile.TemporaryDirectory(prefix="edgec-") as folder:
            try:
                answer = self._jobs.ask(job, Path(folder), patience=patience, step=f"looking for {runtime}")
            except EngineHung as error:  # it must not keep the other from being used
                answer = {"error": f"it hung: {'; '.join(error.evidence)}"}
        if "version" in answer:
            self.installed[runtime] = str(answer["version"]).split("-")[0][:40]  # OpenVINO appends its build's number
        else:
            self.problems[runtime] = shorten(str(answer.get("missing") or answer.get("error") or "no answer"), 200)

    @property
    def title(self) -> str:
        """All that are installed."""
        return ", ".join(self._titled(name) for name in self.installed)

    @property
    def processor(self) -> str:
        """The CPU."""
        return self._cpu.name

    @property
    def facts(self) -> Mapping[str, str]:
        """The Python, the CPU, and the runtimes."""
        return {"cpu": self._cpu.name, "threads": str(self.threads), "python": str(self.path), **self.installed}

    @property
    def versions(self) -> Mapping[str, str]:
        """Of the runtimes."""
        return self.installed

    @property
    def verify_flags(self) -> list[str]:
        """How many threads."""
        return [f"threads={self.threads}"]

    def refuses(self, variant: Variant, profile: BoardProfile) -> str:
        """If its runtime is not there. Whether it computes the right features, in whatever version, is for `verify` to find
        out."""
        if variant.runtime in self.installed:
            return ""
        return f"{TITLES.get(variant.runtime, variant.runtime)} ({self.problems.get(variant.runtime, 'not known')})"

    def identity(self, variant: Variant) -> Mapping[str, str]:
        """The runtime with its version, and the CPU."""
        return {"runtime": f"{variant.runtime} {self.installed.get(variant.runtime, '')}".strip(), "cpu": self._cpu.name}

    def describe(self, variant: Variant, flags: Sequence[str]) -> tuple[str, str]:
        """The runtime, and the precision that the model was made for."""
        return variant.runtime, f"{variant.precision} in {self._titled(variant.runtime)}"

    def files(self, variant: Variant, folder: Path) -> Sequence[str]:
        """The model's, under their own names."""
        return [Path(path).name for path in (variant.path, *variant.others)]

    def engine_doubts(self, engine: Path) -> list[str]:
        """None: a model is what it is."""
        return []

    def flags(self, variant: Variant, release: Path) -> list[str]:
        """The properties that the runtime is given."""
        return [f"{name}={value}" for name, value in sorted(variant.settings.items())]

    def bench_flags(self, seconds: float, iterations: int) -> list[str]:
        """How long, how often, on how many cores."""
        return [*limits(seconds, iterations), f"threads={self.threads}"]

    def build(self, variant: Variant, flags: Sequence[str], *, release: Path, work: Path, caches: Path, log: Path) -> float:
        """The model's files, linked where that is possible: a release never changes."""
        began = time.monotonic()
        for path in (variant.path, *variant.others):
            link_or_copy(release / path, work / Path(path).name)
        return time.monotonic() - began

    def _job(self, variant: Variant, engine: Path) -> dict[str, Any]:
        settings = dict(variant.settings)
        return {"runtime": variant.runtime, "model": str(engine.resolve()), "settings": settings, "threads": self.threads}

    def _titled(self, runtime: str) -> str:
        return f"{TITLES.get(runtime, runtime)} {self.installed.get(runtime, '')}".strip()
