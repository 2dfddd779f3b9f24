"""Running the graph that an engine holds, with ONNX Runtime, and being wrong about it if told so."""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from standin.engine import Engine
from standin.settings import Settings


@dataclass(frozen=True)
class Output:
    name: str
    shape: tuple[int, ...]
    values: list[float]


class WrongSize(Exception):
    """In trtexec's words."""


def load_input(path: Path, size: int) -> bytes:
    if not path.is_file():
        raise WrongSize(f"Cannot open file {path}!")
    content = path.read_bytes()
    if len(content) != size:
        raise WrongSize(
            f"Unexpected file size for input file: {path}. Note: Input binding size is: {size} bytes but the file size is "
            f"{len(content)} bytes. Double check the size and datatype of the provided data."
        )
    return content


def find_packages() -> None:
    """Make onnxruntime importable for a Python that was started without its packages, because that starts faster."""
    packages = os.environ.get("STANDIN_PACKAGES")
    if packages and packages not in sys.path:
        sys.path.append(packages)


def open_session(engine: Engine) -> Any:
    find_packages()
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    # Every node as it stands, Q/DQ included: fusing them would compute something else than the graph says.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(engine.onnx, options, providers=["CPUExecutionProvider"])


def outputs_of(engine: Engine, frames: Path | None, settings: Settings) -> list[Output]:
    """What the graph gives for the frames in this file, or for random ones."""
    blind = settings.fault("blind", stem=engine.stem) is not None
    content = frames.read_bytes() if frames else b""
    key = hashlib.sha256(engine.onnx + b"|" + (b"blind" if blind else content)).hexdigest()
    kept = settings.memo / f"{key}.json" if settings.memo else None
    if kept and kept.is_file():
        outputs = [Output(name, tuple(shape), values) for name, shape, values in json.loads(kept.read_text())]
    else:
        outputs = _computed(engine, frames, blind)
        if kept:
            beside = kept.with_suffix(f".{random.randrange(1 << 60)}")
            beside.write_text(json.dumps([[each.name, each.shape, each.values] for each in outputs]))
            beside.replace(kept)
    return _spoilt(outputs, settings, engine.stem)


def time_a_run(engine: Engine, settings: Settings) -> Callable[[], float]:
    """A function that takes the milliseconds of one run: really, or as told."""
    told = settings.latency.get(engine.stem)
    if told is not None:
        generator = random.Random(engine.stem)
        return lambda: told * generator.uniform(0.98, 1.1)
    session = open_session(engine)
    import numpy as np

    (binding,) = session.get_inputs()
    frames = np.zeros(binding.shape, np.uint8)

    def timed() -> float:
        began = time.perf_counter()
        session.run(None, {binding.name: frames})
        return (time.perf_counter() - began) * 1000

    return timed


def _computed(engine: Engine, path: Path | None, blind: bool) -> list[Output]:
    session = open_session(engine)
    import numpy as np

    (binding,) = session.get_inputs()
    shape = tuple(binding.shape)
    frames = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    if path is not None:
        frames = np.frombuffer(load_input(path, int(np.prod(shape))), np.uint8).reshape(shape)
    if blind:
        frames = np.full(shape, 100, np.uint8)
    names = [output.name for output in session.get_outputs()]
    arrays = session.run(names, {binding.name: frames})
    return [Output(name, array.shape, array.ravel().tolist()) for name, array in zip(names, arrays, strict=True)]


def _spoilt(outputs: list[Output], settings: Settings, stem: str) -> list[Output]:
    fault = settings.fault("garbage", "constant", "nan", "infinite", "shape", "missing", stem=stem)
    if fault == "missing":
        return outputs[:-1]
    if fault == "shape":
        return [replace(each, shape=(*each.shape[:-1], each.shape[-1] // 2), values=each.values[::2]) for each in outputs]
    found = []
    for each in outputs:
        values = list(each.values)
        if fault == "garbage":
            generator = random.Random(each.name)
            values = [generator.gauss(0, 1) for _ in values]
        elif fault == "constant":
            values = [0.5] * len(values)
        elif fault == "nan":
            values[len(values) // 3] = float("-nan")
        elif fault == "infinite":
            values[0] = float("-inf")
        found.append(Output(each.name, each.shape, values))
    return found
