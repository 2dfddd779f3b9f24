"""What needs Core ML, in a process of its own: `edgec-mac.pyz --runner JOB.json [FOLDER]` writes its answer beside JOB.json. If
Core ML hangs or dies, only one compute unit is lost. FOLDER is one from which packages are imported before all others.

    {"do": "look"}
        → {"versions": {...}, "compiled_part": PATH}: of coremltools, and its file that calls Core ML
    {"do": "compile", "package": PATH, "to": PATH}
        → {"compile_ms"}
    {"do": "run", …}
        → {"outputs": [...], "load_ms"}, and {"placement": {...}} or {"placement_problem"}: outputs of all batches go to a file
    {"do": "bench", …}
        → {"samples_ms": [...], "cpu_ms", "warm_up", and what loading and the first run cost}

Jobs and answers are those of `edgec_device.jobs`; `model` is a compiled one.
"""

from __future__ import annotations

import gc
import importlib
import json
import logging
import os
import resource
import sys
import threading
import time
from importlib import metadata
from pathlib import Path
from typing import Any, Sequence

from edgec_device.jobs import ANSWER, OUTPUTS
from edgec_onboard.statistics import LEAD_IN_MS, warmed_up

from edgec_mac.placement import read_plan

PACKAGES = ("coremltools", "numpy", "pillow")
_PROXY = "coremltools.libcoremlpython"
_FRAMES = "frames"
_SIGN_OF_LIFE_S = 5.0
_WATCH_S = 1.0


def do(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The answer to a job. Raises `ImportError` where a package is missing, and whatever Core ML raises."""
    if job["do"] == "look":
        ct = _coremltools()
        importlib.import_module("numpy")
        importlib.import_module("PIL.Image")
        versions = {PACKAGES[0]: str(getattr(ct, "__version__", "of an unknown version")), **_versions()}
        return {"versions": versions, "compiled_part": getattr(importlib.import_module(_PROXY), "__file__", None) or ""}
    if job["do"] == "compile":
        _coremltools()
        utils = importlib.import_module("coremltools.models.utils")
        began = time.perf_counter()
        utils.compile_model(job["package"], job["to"])
        return {"compile_ms": _since(began)}
    model = _Model(job)
    return _run(model, job, folder) if job["do"] == "run" else _bench(model, job)


class _Model:
    """A compiled model, loaded. `batches` are those of the job's file: images by the names of the package's inputs."""

    def __init__(self, job: dict[str, Any]) -> None:
        began = time.perf_counter()
        self.ct = _coremltools()
        numpy, image = importlib.import_module("numpy"), importlib.import_module("PIL.Image")
        self.import_ms = _since(began)
        began, units = time.perf_counter(), self.ct.ComputeUnit[job["units"]]
        self._model = self.ct.models.CompiledMLModel(job["model"], compute_units=units, function_name=job["function"])
        self.load_ms = _since(began)
        shape = job["shape"]
        frames = numpy.fromfile(job["frames"], numpy.uint8).reshape(job.get("batches", 1), *shape)
        # One input for each frame of a batch, as edgec/lowering/coreml/metadata.py has them.
        names = [_FRAMES] if shape[0] == 1 else [f"{_FRAMES}_{index}" for index in range(shape[0])]
        self.batches = [{name: image.fromarray(frame) for name, frame in zip(names, batch)} for batch in frames]

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        outputs: dict[str, Any] = self._model.predict(batch)
        return outputs


def _run(model: _Model, job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Every batch once, and Core ML's plan of where operations run."""
    numpy = importlib.import_module("numpy")
    facts: list[dict[str, Any]] = []
    with (folder / OUTPUTS).open("wb") as file:
        for batch in model.batches:
            arrays = {name: _as_recorded(numpy.asarray(value)) for name, value in model(batch).items()}
            for value in arrays.values():
                file.write(value.tobytes())
            facts = [
                {"name": name, "dtype": "INT32" if value.dtype.kind == "i" else "FLOAT", "shape": list(value.shape)}
                for name, value in arrays.items()
            ]
            _sign_of_life()
    answer = {"outputs": facts, "load_ms": model.load_ms}
    try:
        return {**answer, "placement": read_plan(model.ct, job["model"], job["units"], job["function"])}
    except Exception as error:
        return {**answer, "placement_problem": f"{type(error).__name__}: {error}"}


def _bench(model: _Model, job: dict[str, Any]) -> dict[str, Any]:
    """Runs for `seconds` and at least `iterations`, after warming up until the runs are stable."""
    (batch,) = model.batches

    def once() -> float:
        began = time.perf_counter()
        model(batch)
        return _since(began)

    warm_up = [once()]
    process_ms = (time.monotonic() - job["began"]) * 1000
    # What import and load allocated lives as long as the process: collections during runs need not visit it.
    gc.collect()
    gc.freeze()
    while not warmed_up(warm_up):
        warm_up.append(once())
    led_in = 0.0
    while led_in < LEAD_IN_MS:
        warm_up.append(once())
        led_in += warm_up[-1]
    samples: list[float] = []
    until, cpu, told = time.monotonic() + job["seconds"], time.process_time(), time.monotonic()
    while time.monotonic() < until or len(samples) < job["iterations"]:
        samples.append(round(once(), 4))
        if time.monotonic() - told > _SIGN_OF_LIFE_S:
            told = time.monotonic()
            _sign_of_life()
    # macOS counts bytes here; Linux, where only tests run, kibibytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "samples_ms": samples,
        "cpu_ms": (time.process_time() - cpu) * 1000,
        "warm_up": len(warm_up),
        "load_ms": model.load_ms,
        "import_ms": model.import_ms,
        "first_inference_ms": warm_up[0],
        "process_ms": process_ms,
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
    }


def main(path: str, folders: Sequence[str]) -> int:
    """Do the job in that file. Returns the exit code; what went wrong is in the answer, too."""
    sys.path[:0] = folders
    job = Path(path)
    asked = json.loads(job.read_text(encoding="utf-8"))
    threading.Thread(target=_end_with_parent, args=(asked["parent"],), daemon=True).start()
    try:
        answer = do(asked, job.resolve().parent)
    except ImportError as error:
        answer = {"missing": str(error)}
    except Exception as error:
        # Core ML's errors are of many kinds.
        answer = {"error": f"{type(error).__name__}: {error}"}
    (job.parent / ANSWER).write_text(json.dumps(answer), encoding="utf-8")
    return 1 if answer.keys() & {"missing", "error"} else 0


def _end_with_parent(parent: int) -> None:
    """End this process when the one that started it is gone: macOS, unlike Linux, does not do that by itself."""
    while os.getppid() == parent:
        time.sleep(_WATCH_S)
    os._exit(1)


def _coremltools() -> Any:
    """Raises `ImportError`, which says why, if the part that calls Core ML is missing: pip then found no wheel for this Python
    and installed the rest, which can be imported all the same."""
    logging.getLogger("coremltools").setLevel(logging.ERROR)
    ct = importlib.import_module("coremltools")
    importlib.import_module("coremltools.models")
    importlib.import_module(_PROXY)
    return ct


def _as_recorded(value: Any) -> Any:
    """As edgec records outputs: labels in int32, all else in float32."""
    return value.astype("<i4" if value.dtype.kind in "iu" else "<f4")


def _versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _sign_of_life() -> None:
    """A process that prints nothing for too long is ended."""
    print(".", flush=True)


def _since(began: float) -> float:
    return (time.perf_counter() - began) * 1000
