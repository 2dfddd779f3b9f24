"""One job in a process of its own: `edgec-cpu.pyz --runner JOB.json [FOLDER]` writes its answer beside JOB.json. FOLDER is one
from which packages are imported before all others."""

from __future__ import annotations

import gc
import importlib
import json
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgec_device.jobs import ANSWER, OUTPUTS
from edgec_onboard.runtimes import open_model
from edgec_onboard.statistics import LEAD_IN_MS, warmed_up

_TYPES = {"f": ("FLOAT", "<f4"), "i": ("INT32", "<i4"), "u": ("INT32", "<i4"), "b": ("INT32", "<i4")}


def do(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The answer to a job. Raises `ImportError` where a package is missing, and whatever the runtime raises."""
    numpy = importlib.import_module("numpy")
    module = importlib.import_module(job["runtime"])
    if job["do"] == "look":
        return {"version": str(module.__version__), "numpy": str(numpy.__version__)}
    began = time.perf_counter()
    model = open_model(job["runtime"], module, Path(job["model"]), job["settings"], job["threads"])
    load_ms = (time.perf_counter() - began) * 1000
    shape = tuple(job["shape"])
    if model.shape != shape:
        raise ValueError(f"the model takes frames of shape {model.shape}, not {shape}")
    return _run(numpy, model, job, folder) if job["do"] == "run" else _bench(numpy, model, job, load_ms)


def _run(numpy: Any, model: Any, job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Every batch of the file `frames` once; outputs go to a file, batch after batch, in the order of the answer."""
    frames = numpy.fromfile(job["frames"], numpy.uint8).reshape(job["batches"], *job["shape"])
    facts: list[dict[str, Any]] = []
    with (folder / OUTPUTS).open("wb") as file:
        for batch in frames:
            values = [numpy.asarray(value) for value in model(batch)]
            for value in values:
                file.write(value.astype(_TYPES[value.dtype.kind][1]).tobytes())
            facts = [
                {"name": name, "dtype": _TYPES[value.dtype.kind][0], "shape": list(value.shape)}
                for name, value in zip(model.outputs, values)
            ]
    return {"outputs": facts, "execution_precision": model.execution_precision}


def _bench(numpy: Any, model: Any, job: dict[str, Any], load_ms: float) -> dict[str, Any]:
    """Runs for `seconds` and at least `iterations`, after warming up until the runs are stable."""
    batch = numpy.fromfile(job["frames"], numpy.uint8).reshape(job["shape"])

    def once() -> float:
        began = time.perf_counter()
        model(batch)
        return (time.perf_counter() - began) * 1000

    warm_up = [once()]
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
    until, cpu = time.monotonic() + job["seconds"], time.process_time()
    while time.monotonic() < until or len(samples) < job["iterations"]:
        samples.append(once())
    return {
        "samples_ms": samples,
        "cpu_ms": (time.process_time() - cpu) * 1000,
        "warm_up": len(warm_up),
        "load_ms": load_ms,
        "threads": model.threads,
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def main(path: str, folders: Sequence[str]) -> int:
    """Do the job in that file. Returns the exit code; what went wrong is in the answer, too."""
    sys.path[:0] = folders
    job = Path(path)
    try:
        answer = do(json.loads(job.read_text(encoding="utf-8")), job.resolve().parent)
    except ImportError as error:
        answer = {"missing": str(error)}
    except Exception as error:
        # Runtimes raise errors of many kinds.
        answer = {"error": f"{type(error).__name__}: {error}"}
    (job.parent / ANSWER).write_text(json.dumps(answer), encoding="utf-8")
    return 1 if answer.keys() & {"missing", "error"} else 0
