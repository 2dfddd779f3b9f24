"""Jobs in a process of their own, in a Python that has the runtime: `--runner JOB.json` writes its answer beside JOB.json.

The program's own part of each job, the runner, is a family's. What is asked of it is the same for all: to look which runtimes
there are, to run batches of frames through an engine, and to measure one.
"""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
from array import array
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Sequence

from edgec_onboard import process
from edgec_onboard.documents import Tensor
from edgec_onboard.text import shorten
from edgec_onboard.untrusted import Refused, parse_json_object, read_bytes
from edgec_onboard.worker import describe_exit

from edgec_device.bundle import Variant
from edgec_device.errors import EngineFailed, EngineHung
from edgec_device.npy import Array
from edgec_device.output import Output, elapsed
from edgec_device.tool import Measured

RUNNER = "--runner"
ANSWER = "answer.json"
OUTPUTS = "outputs.bin"
_FRAMES = "frames.bin"
_JOB = "job.json"
_EVENT_S = 1.0
_MOST_ANSWERED = 256 << 20
_MOST_PRINTED = 64 << 20
_LONGEST_MS = 1e7
_CODES = {"FLOAT": "f", "INT32": "i"}


class Jobs:
    """`python` runs the jobs, with `more` after the program's own arguments; `runtime` is what messages call the code in them."""

    def __init__(self, python: Path, output: Output, patience: float, runtime: str, more: Sequence[str] = ()) -> None:
        self.python, self.runtime, self._output, self._patience, self._more = python, runtime, output, patience, tuple(more)

    def ask(
        self,
        job: Mapping[str, Any],
        work: Path,
        *,
        patience: float = 0.0,
        log: Path | None = None,
        on_tick: Callable[[float], None] = lambda seconds: None,
        step: str = "looking what is installed",
    ) -> dict[str, Any]:
        """The answer to a job; a process that crashed is an `error`. Raises `EngineHung`."""
        # A runner looks at `parent` where the kernel does not end it with this process.
        (work / _JOB).write_text(json.dumps({**job, "parent": os.getpid()}), encoding="utf-8")
        answer = work / ANSWER
        if answer.exists():
            answer.unlink()
        lines: list[str] = []
        with tempfile.TemporaryDirectory(prefix="edgec-") as folder:
            command = [str(self.python), str(_program(Path(folder))), RUNNER, _JOB, *self._more]
            patience = patience or self._patience
            ended = process.run(
                command, cwd=work, patience=patience, on_line=lines.append, on_tick=on_tick, most_bytes=_MOST_PRINTED
            )
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text("\n".join([" ".join(command), json.dumps(job), *lines]) + "\n", encoding="utf-8")
        if ended.silent is not None:
            raise EngineHung(
                f"{self.runtime} hung in {step} and was ended.",
                evidence=[f"it printed nothing for {elapsed(ended.silent)}"],
                remedy="run the same command again; if it hangs again, reboot, or allow more time with --patience",
            )
        try:
            return parse_json_object(read_bytes(answer, _MOST_ANSWERED))
        except (OSError, Refused):
            return {"error": "; ".join([f"the process {describe_exit(ended.code)}", *ended.tail[-2:]])}

    def step(
        self,
        job: Mapping[str, Any],
        work: Path,
        step: str,
        variant: Variant,
        log: Path,
        on_tick: Callable[[], None] = lambda: None,
    ) -> dict[str, Any]:
        """The answer to a job that must succeed. Raises `EngineFailed` or `EngineHung`."""
        last = [0.0]

        def tick(seconds: float) -> None:
            on_tick()
            if seconds - last[0] >= _EVENT_S:
                last[0] = seconds
                detail = f"{self.runtime} is at work"
                self._output.emit("progress", step=step, variant=variant.name, seconds=round(seconds, 1), detail=detail)

        answer = self.ask(job, work, log=log, on_tick=tick, step=f"{step} of {variant.name}")
        problem = answer.get("error") or answer.get("missing")
        if problem:
            raise EngineFailed(
                f"{self.runtime} failed in {step} of {variant.name}.",
                evidence=[shorten(str(problem), 300), f"log: {log}"],
                remedy="run the same command again; if it fails there again, report this with the log",
            )
        return answer

    def outputs(
        self,
        job: Mapping[str, Any],
        variant: Variant,
        batches: Iterator[bytes],
        tensors: Sequence[Tensor],
        frames: Tensor,
        *,
        work: Path,
        log: Path,
        on_answer: Callable[[Mapping[str, Any], Variant], None] = lambda answer, variant: None,
    ) -> Iterator[Mapping[str, Array]]:
        """As `edgec_device.tool.Tool.outputs`, all batches in one process. `job` names the engine; `on_answer` gets the whole
        answer."""
        path, count = work / _FRAMES, 0
        with path.open("wb") as file:
            for batch in batches:
                file.write(batch)
                count += 1
        facts = {"do": "run", "input": frames.name, "shape": list(frames.shape), "frames": _FRAMES, "batches": count}
        answer = self.step({**job, **facts}, work, "verify", variant, log)
        on_answer(answer, variant)
        try:
            announced = [(str(each["name"]), _CODES[each["dtype"]], tuple(map(int, each["shape"]))) for each in answer["outputs"]]
            sizes = [math.prod(shape) * 4 for _, _, shape in announced]
            most = 4 * sum(tensor.size for tensor in tensors) * count
            if sum(sizes) * count != (work / OUTPUTS).stat().st_size or sum(sizes) * count > 2 * most:
                raise ValueError(f"{sizes} bytes a batch were announced, and others written")
            with (work / OUTPUTS).open("rb") as file:
                for _ in range(count):
                    contents = [file.read(size) for size in sizes]
                    yield {name: Array(shape, array(code, content)) for (name, code, shape), content in zip(announced, contents)}
        except (KeyError, TypeError, ValueError) as error:
            raise _unusable("verify", variant, str(error)) from error

    def measure(
        self,
        job: Mapping[str, Any],
        variant: Variant,
        batch: bytes,
        frames: Tensor,
        flags: Sequence[str],
        *,
        work: Path,
        log: Path,
        on_tick: Callable[[], None],
    ) -> tuple[Measured, dict[str, Any]]:
        """A round of measuring, and the whole answer. `job` names the engine, `flags` begin as `limits` gives them. Raises
        `EngineFailed` for times that make no sense."""
        (work / _FRAMES).write_bytes(batch)
        facts = {"do": "bench", "input": frames.name, "shape": list(frames.shape), "frames": _FRAMES}
        seconds, iterations = (flag.partition("=")[2] for flag in flags[:2])
        asked = {"seconds": float(seconds), "iterations": int(iterations)}
        answer = self.step({**job, **facts, **asked}, work, "bench", variant, log, on_tick)
        samples, load_ms, warm_up = answer.get("samples_ms"), answer.get("load_ms"), answer.get("warm_up")
        if not isinstance(samples, list) or not samples or not all(map(is_time, samples)):
            raise _unusable("bench", variant, "its times make no sense")
        if not is_time(load_ms) or type(warm_up) is not int:
            raise _unusable("bench", variant, f"load_ms is {load_ms!r}, warm_up {warm_up!r}")
        threads = answer.get("threads", 1)
        if type(threads) is not int or not 0 < threads < 1 << 16:
            raise _unusable("bench", variant, f"threads is {threads!r}")
        return Measured(samples, warm_up, float(load_ms), threads), answer  # type: ignore[arg-type]


class JobTool:
    """The part of `edgec_device.tool.Tool` that is the same for every tool whose engines run in `Jobs`."""

    _jobs: Jobs

    def _job(self, variant: Variant, engine: Path) -> dict[str, Any]:
        """What names the engine in a job."""
        raise NotImplementedError

    def _observe(self, answer: Mapping[str, Any], variant: Variant) -> None:
        """Called with the answer of a run that verifies."""

    def _completed(self, measured: Measured, answer: Mapping[str, Any], variant: Variant) -> Measured:
        """A round of measuring with what else the answer says of it. Raises `EngineFailed` for what makes no sense."""
        return measured

    def bench_flags(self, seconds: float, iterations: int) -> list[str]:
        """How long, and how often."""
        return limits(seconds, iterations)

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
        """All batches in one process: loading an engine takes longer than running it."""
        job, places = self._job(variant, engine), {"work": work, "log": log}
        return self._jobs.outputs(job, variant, batches, tensors, frames, on_answer=self._observe, **places)

    def measure(
        self,
        variant: Variant,
        engine: Path,
        batch: bytes,
        frames: Tensor,
        flags: Sequence[str],
        *,
        work: Path,
        log: Path,
        on_tick: Callable[[], None],
    ) -> Measured:
        """By the runner's clock, from frames in memory to features in memory."""
        job = self._job(variant, engine)
        measured, answer = self._jobs.measure(job, variant, batch, frames, flags, work=work, log=log, on_tick=on_tick)
        return self._completed(measured, answer, variant)


def limits(seconds: float, iterations: int) -> list[str]:
    """The flags that say how long at least, and how often at least, an engine is measured."""
    return [f"seconds={seconds:g}", f"iterations={iterations}"]


def is_time(value: Any) -> bool:
    """Whether it is a number of milliseconds that something can take."""
    return type(value) in (int, float) and 0 < value < _LONGEST_MS


def _program(folder: Path) -> Path:
    """This program as a file that another process can open: over SSH it is stored nowhere."""
    path = Path(sys.argv[0])
    if path.is_dir():
        return path.absolute()
    copy = folder / "program.pyz"
    copy.write_bytes(path.read_bytes())
    return copy


def _unusable(step: str, variant: Variant, what: str) -> EngineFailed:
    return EngineFailed(f"What came of {step} of {variant.name} cannot be used.", evidence=[shorten(what, 300)])
