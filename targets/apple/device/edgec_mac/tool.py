"""Packages in Core ML, through coremltools: `edgec_device.tool.Tool`, each job in a process of its own (`runner`).

A variant is the package with one setting of compute units. Its engine holds the package, as an app takes it, and the model that
Core ML compiled of it, which is what is run: `NAME.mlpackage` and `NAME.mlmodelc`, files of which are hashed one by one.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Iterator, Mapping, Sequence

from edgec_device import environment
from edgec_device.bundle import BoardProfile, Variant
from edgec_device.errors import EngineFailed, NoRuntime
from edgec_device.files import remove
from edgec_device.jobs import Jobs, JobTool, is_time
from edgec_device.npy import Array
from edgec_device.session import Session
from edgec_device.tool import Measured
from edgec_onboard.documents import Tensor
from edgec_onboard.files import link_or_copy
from edgec_onboard.text import shorten
from edgec_onboard.untrusted import printable

from edgec_mac.placement import INTENDED

RUNTIME = "coreml"
UNITS = {
    "cpuOnly": ("CPU_ONLY", "cpu"),
    "cpuAndGPU": ("CPU_AND_GPU", "gpu"),
    "cpuAndNeuralEngine": ("CPU_AND_NE", "neural-engine"),
    "all": ("ALL", "cpu"),
}
"""By their names in Swift (MLComputeUnits): how coremltools spells them, and which of a profile's compute units they need."""
_COMPILED = ".mlmodelc"
_HOMEBREW = Path("/opt/homebrew/bin/python3")
_LOOK_S = 120.0
_COLD = ("load_ms", "first_inference_ms", "import_ms", "process_ms")
_MOST_BYTES = 1 << 50


class CoreMl(JobTool):
    """See `edgec_device.tool.Tool`. `python` runs the jobs, with packages from `folders` first."""

    name = "edgec-mac"

    def __init__(self, session: Session, chip: str, system: str, python: Path, folders: Sequence[Path]) -> None:
        self.path, self._chip, self._system = python, chip, system
        self._function, self._patience = session.bundle.function, session.options.patience
        self._jobs = Jobs(python, session.output, session.options.patience, "Core ML", [str(folder) for folder in folders])
        self._compiled: dict[str, Path] = {}
        self.observed: dict[str, Any] = {}
        self.doubts: list[str] = []
        self._packages: dict[str, str] = {}
        self.problem = self._look()
        """Why it cannot be used; empty if it can."""

    @classmethod
    def find(cls, session: Session, chip: str, system: str) -> CoreMl:
        """The first Python that has coremltools, of those that `environment.places` lists. Raises `NoRuntime` if none has."""
        others = (session.options.root / "venv" / "bin" / "python3", _HOMEBREW)
        tried = []
        for python, folders in environment.places(session, *others):
            tried.append(cls(session, chip, system, python, folders))
            if not tried[-1].problem:
                return tried[-1]
        first = tried[0]
        raise NoRuntime(
            "coremltools cannot use Core ML here.",
            evidence=[f"{each.path}: {each.problem}" for each in tried],
            remedy=f"`edgec deploy` brings it along; or {first.path} -m pip install coremltools numpy pillow, with a Python that "
            "coremltools has a wheel for (9.0: up to 3.13)",
        )

    def _look(self) -> str:
        with tempfile.TemporaryDirectory(prefix="edgec-") as folder:
            patience = min(self._patience, _LOOK_S)
            answer = self._jobs.ask({"do": "look"}, Path(folder), patience=patience, step="looking for coremltools")
        versions = answer.get("versions")
        if not isinstance(versions, dict) or "coremltools" not in versions:
            return shorten(str(answer.get("missing") or answer.get("error") or "no answer"), 300)
        self._packages = {str(name)[:40]: printable(str(version))[:40] for name, version in versions.items()}
        if Path(str(answer.get("compiled_part"))).suffix != ".so":
            self.doubts.append("coremltools has no compiled part here: it is a stand-in, and Core ML did not run")
        return ""

    @property
    def title(self) -> str:
        """macOS' version is Core ML's."""
        return f"Core ML of {self._system}, coremltools {self._packages['coremltools']}"

    @property
    def processor(self) -> str:
        """The chip."""
        return self._chip

    @property
    def facts(self) -> Mapping[str, str]:
        """The Python, the chip and the packages."""
        return {"chip": self._chip, "macos": self._system, "python": str(self.path), **self._packages}

    @property
    def versions(self) -> Mapping[str, str]:
        """Core ML's is that of macOS."""
        return {RUNTIME: self._system, **self._packages}

    @property
    def verify_flags(self) -> list[str]:
        """None."""
        return []

    def refuses(self, variant: Variant, profile: BoardProfile) -> str:
        """If the chip lacks the compute unit, or this program does not know it."""
        units = variant.settings.get("units", "")
        if variant.runtime != RUNTIME or units not in UNITS:
            return f"compute units {units or 'of no name'}, which this program does not know"
        needs = UNITS[units][1]
        return "" if not profile.compute_units or needs in profile.compute_units else f"the {needs}"

    def identity(self, variant: Variant) -> Mapping[str, str]:
        """The compute units, which a robot's program must ask for, and what compiled and ran it."""
        function = {"function": self._function} if self._function else {}
        units = {"units": variant.settings["units"], **function}
        return {
            "runtime": RUNTIME,
            **units,
            "macos": self._system,
            "chip": self._chip,
            "coremltools": self._packages["coremltools"],
        }

    def describe(self, variant: Variant, flags: Sequence[str]) -> tuple[str, str]:
        """The precision that the package was made for, and the compute units."""
        return RUNTIME, f"{variant.precision}; {variant.settings['units']}"

    def files(self, variant: Variant, folder: Path) -> Sequence[str]:
        """The package's, then those of the compiled model."""
        paths = [_in_folder(variant, path) for path in (variant.path, *variant.others)]
        compiled = folder / _compiled(Path(paths[0]).parts[0])
        return [*paths, *sorted(path.relative_to(folder).as_posix() for path in compiled.rglob("*") if path.is_file())]

    def engine_doubts(self, engine: Path) -> list[str]:
        """None: a package is what it is."""
        return []

    def flags(self, variant: Variant, release: Path) -> list[str]:
        """The compute units."""
        return [f"units={variant.settings['units']}"]

    def build(self, variant: Variant, flags: Sequence[str], *, release: Path, work: Path, caches: Path, log: Path) -> float:
        """Link the package's files, and compile it. Compute units of one package share what was compiled in this run."""
        began = time.monotonic()
        for path in (variant.path, *variant.others):
            _link(release / path, work / _in_folder(variant, path))
        package = PurePosixPath(_in_folder(variant, variant.path)).parts[0]
        kept = caches / f"{variant.sha256[:16]}{_COMPILED}"
        if self._compiled.get(variant.sha256) != kept or not kept.is_dir():
            if caches.is_dir():
                for old in caches.glob(f"*{_COMPILED}"):
                    remove(old)
            caches.mkdir(parents=True, exist_ok=True)
            job = {"do": "compile", "package": str(work / package), "to": str(kept)}
            self._jobs.step(job, work, "build", variant, log)
            self._compiled[variant.sha256] = kept
        for compiled in kept.rglob("*"):
            if compiled.is_file():
                _link(compiled, work / _compiled(package) / compiled.relative_to(kept))
        return time.monotonic() - began

    def outputs(
        self,
        variant: Variant,
        engine: Path,
        batches: Iterator[bytes],
        tensors: Sequence[Tensor],
        frames: Tensor,
        *,
        work: Path,
        log: Path,
    ) -> Iterator[Mapping[str, Array]]:
        """All batches in one process, which loads the compiled model for the first time: Core ML then prepares it for the
        chip."""
        self.observed = {}
        return super().outputs(variant, engine, batches, tensors, frames, work=work, log=log)

    def _observe(self, answer: Mapping[str, Any], variant: Variant) -> None:
        """Where operations run, and how long the first load took."""
        remarks = []
        if is_time(answer.get("load_ms")):
            remarks.append("the first load, which prepares the package for the chip, took {:.0f} ms.".format(answer["load_ms"]))
        plan, units = answer.get("placement"), variant.settings["units"]
        if not isinstance(plan, dict) or not _is_plan(plan):
            problem = shorten(printable(str(answer.get("placement_problem") or "the answer makes no sense")), 300)
            self.observed = {"remarks": [*remarks, f"where operations run is not known: {problem}."]}
            return
        source = f"MLComputePlan, coremltools {self._packages['coremltools']}"
        intended, counts = INTENDED[UNITS[units][0]], plan["by_device"]
        self.observed = {
            "placement": {"source": source, "asked": units, "by_device": counts, "fallen": plan["fallen"]},
            "words": f"{counts.get(intended, 0)} of {sum(counts.values())} operations on the {intended}",
            "remarks": remarks,
        }

    def _completed(self, measured: Measured, answer: Mapping[str, Any], variant: Variant) -> Measured:
        cold, peak = {name: answer.get(name) for name in _COLD}, answer.get("peak_rss_bytes")
        if not all(map(is_time, cold.values())) or type(peak) is not int or not 0 < peak < _MOST_BYTES:
            raise EngineFailed(
                f"What came of bench of {variant.name} cannot be used.", evidence=[shorten(f"{cold}, {peak}", 300)]
            )
        cpu_ms = answer.get("cpu_ms")
        start = {name: round(float(value), 3) for name, value in cold.items()}  # type: ignore[arg-type]
        known = type(cpu_ms) in (int, float) and 0 <= float(cpu_ms) < 1e12  # type: ignore[arg-type]
        return replace(measured, cpu_ms=cpu_ms if known else None, cold_start={**start, "peak_rss_bytes": peak})

    def _job(self, variant: Variant, engine: Path) -> dict[str, Any]:
        compiled = engine.parent.resolve() / _compiled(engine.name)
        units = UNITS[variant.settings["units"]][0]
        return {"model": str(compiled), "units": units, "function": self._function or None, "began": time.monotonic()}


def _in_folder(variant: Variant, path: str) -> str:
    """A file of the package, relative to the folder that the package is in."""
    return PurePosixPath(path).relative_to(PurePosixPath(variant.path).parent.parent).as_posix()


def _compiled(package: str) -> str:
    return Path(package).stem + _COMPILED


def _link(source: Path, destination: Path) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    link_or_copy(source, destination)


def _is_plan(plan: dict[str, Any]) -> bool:
    """Whether it is what `placement.read_plan` returns: Core ML's code ran where it comes from."""
    if not isinstance(plan.get("by_device"), dict) or not isinstance(plan.get("fallen"), list):
        return False
    counts = plan["by_device"].values()
    texts = [value for each in plan["fallen"] if isinstance(each, dict) for value in each.values()]
    sound = all(type(count) is int and count >= 0 for count in counts) and sum(counts) > 0
    named = all(isinstance(each, dict) and set(each) == {"operation", "kind", "device"} for each in plan["fallen"])
    return sound and named and all(isinstance(value, str) for value in texts)
