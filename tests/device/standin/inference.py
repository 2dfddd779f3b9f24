"""Running the graph that an engine holds, with ONNX Runtime, and being wrong about it if told so."""

from __future__ import annotations

import marshal
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from standin.engine import Engine
    from standin.settings import Settings


class Output:
    def __init__(self, name: str, shape: tuple[int, ...], values: list[float]) -> None:
        self.name, self.shape, self.values = name, shape, values


class WrongSize(Exception):
    """In trtexec's words."""


def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def load_input(path: str, size: int) -> bytes:
    if not os.path.isfile(path):
        raise WrongSize(f"Cannot open file {path}!")
    content = read(path)
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


def outputs_of(engine: Engine, frames: str | None, settings: Settings) -> list[Output]:
    """What the graph gives for the frames in this file, or for random ones."""
    import hashlib

    blind = settings.fault("blind", stem=engine.stem) is not None
    content = read(frames) if frames else b""
    key = hashlib.sha256(engine.onnx + b"|" + (b"blind" if blind else content)).hexdigest()
    memo = os.path.join(settings.memo, key) if settings.memo else None
    if memo and os.path.isfile(memo):
        outputs = [Output(*fields) for fields in marshal.loads(read(memo))]
    else:
        outputs = _computed(engine, frames, blind)
        if memo:
            beside = f"{memo}.{os.getpid()}"
            with open(beside, "wb") as file:
                file.write(marshal.dumps([(each.name, tuple(each.shape), each.values) for each in outputs]))
            os.replace(beside, memo)
    return _spoilt(outputs, settings, engine.stem)


def time_a_run(engine: Engine, settings: Settings) -> Callable[[], float]:
    """A function that takes the milliseconds of one run: really, or as told."""
    told = settings.latency.get(engine.stem)
    if told is not None:
        import random

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


def _computed(engine: Engine, path: str | None, blind: bool) -> list[Output]:
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
        return [Output(each.name, (*each.shape[:-1], each.shape[-1] // 2), each.values[::2]) for each in outputs]
    found = []
    for each in outputs:
        values = list(each.values)
        if fault == "garbage":
            import random

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
