"""What trtexec is told in each step, and what it answers: `edgec_device.tool.Tool` with NVIDIA's own program."""

from __future__ import annotations

import re
import shutil
from array import array
from pathlib import Path
from typing import Callable, Iterator, Mapping, Sequence

from edgec_device.bundle import COPY_AGAIN, Variant
from edgec_device.errors import EngineFailed
from edgec_device.npy import Array
from edgec_device.nvidia import PLAN, NvidiaTool
from edgec_device.output import elapsed
from edgec_device.tool import Measured
from edgec_device.versions import dotted, within
from edgec_onboard.documents import Tensor
from edgec_onboard.errors import ArtefactError
from edgec_onboard.files import SCRATCH, publish
from edgec_onboard.text import shorten
from edgec_onboard.untrusted import MOST_VALUES, parse_json, read_bytes

from edgec_jetson import graph
from edgec_jetson.flags import UNDERSTOOD, bench_flags, build_flags, strongly_typed, verify_flags
from edgec_jetson.trtexec import Trtexec

FRAMES = "frames.bin"
_CACHE = "timing.cache"
_OUTPUT = "outputs.json"
_TIMES = "times.json"
_NOT_JSON = re.compile(r"(?<![A-Za-z\"])(-?)(nan|inf)(?:inity)?(?:\(\w*\))?(?![A-Za-z\"])")
_VALUE_BYTES, _ROOM = 32, 1 << 16
"""The most bytes that trtexec writes per value, and besides the values."""
_WARM_UP = re.compile(r"Warmup completed (\d{1,9}) queries")
_SETTING = re.compile(r"\[I\] ({}): (\w+)$".format("|".join(map(re.escape, UNDERSTOOD))))
_NO_GRAPH = re.compile(r"flag has been ignored|not permitted under CUDA graph capture|Graph capture failed", re.IGNORECASE)
_DESERIALISED = re.compile(r"Engine deserialized in (\d{1,6}(?:\.\d{1,12})?) sec")
_TIMES_BYTES = 256 << 20
_MOST_TIMES = 10_000_000
"""A run has eight values and takes some 170 bytes."""
_LONGEST_MS = 1e7


class TrtexecSteps(NvidiaTool):
    """See `edgec_device.tool.Tool`. `trtexec` has been probed."""

    name = "trtexec"
    runtime = "TensorRT"

    def __init__(self, trtexec: Trtexec) -> None:
        self._trtexec = trtexec
        self.path, self.version, self.gpu, self.doubts = trtexec.path, trtexec.version, trtexec.gpu, trtexec.doubts
        self.verify_flags = verify_flags(trtexec.version)

    def takes(self, limits: Mapping[str, str]) -> bool:
        """By its banner's version."""
        return within(self.version, limits)

    def flags(self, variant: Variant, release: Path) -> list[str]:
        """Raises `ArtefactError` for a graph that cannot be read, where its float32 layers must be named."""
        layers = [] if strongly_typed(self.version) or variant.precision == "fp32" else _layers(release / variant.path)
        return build_flags(self.version, variant.precision, layers)

    def bench_flags(self, seconds: float, iterations: int) -> list[str]:
        """As `flags.bench_flags`."""
        return bench_flags(self.version, seconds, iterations)

    def build(self, variant: Variant, flags: Sequence[str], *, release: Path, work: Path, caches: Path, log: Path) -> float:
        """With the timing cache of this GPU and version, which a damaged one is dropped for."""
        saved, cache = self._timing_cache(caches), work / _CACHE
        if saved.is_file():
            shutil.copyfile(str(saved), str(cache))
        paths = [
            f"--onnx={(release / variant.path).resolve()}",
            "--saveEngine=" + PLAN,
            "--timingCacheFile=" + _CACHE,
            "--verbose",
        ]

        def run() -> float:
            return self._trtexec.run([*paths, *flags], cwd=work, step="build", variant=variant.name, log=log).seconds

        try:
            seconds = run()
        except EngineFailed as error:
            # trtexec notices a damaged cache only when it writes it back, after all the work.
            if not saved.is_file() or not _blames_cache(error):
                raise
            note = f"the timing cache seems damaged ({error.what}); building again without it"
            self._trtexec.output.emit("log", "  " + note, step="build", variant=variant.name, line=note)
            saved.unlink()
            cache.unlink()
            seconds = run()
        plan = work / PLAN
        if not plan.is_file() or not plan.stat().st_size:
            raise EngineFailed(
                "trtexec reports success, but wrote no engine.",
                evidence=[f"log: {log}"],
                remedy="run the same command again; if it happens again, report this with the log",
            )
        if cache.is_file():
            _save_cache(cache, saved)
        return seconds

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
        """One run of trtexec for each batch."""
        for batch in batches:
            (work / FRAMES).write_bytes(batch)
            # Relative names: trtexec splits the value of --loadInputs at colons and commas.
            paths = [f"--loadEngine={engine.resolve()}", f"--loadInputs={frames.name}:{FRAMES}", "--exportOutput=" + _OUTPUT]
            finished = self._trtexec.run([*paths, *self.verify_flags], cwd=work, step="verify", variant=variant.name, log=log)
            try:
                values = sum(tensor.size for tensor in tensors)
                content = read_bytes(work / _OUTPUT, _VALUE_BYTES * values + _ROOM)
                yield read_outputs(content.decode("utf-8", "replace"), values + _ROOM)
            except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
                raise EngineFailed(
                    f"trtexec's outputs of {PLAN} cannot be read.",
                    evidence=[shorten(str(error), 300), f"trtexec succeeded after {elapsed(finished.seconds)}"],
                    remedy="run `verify` again; if it happens again, report this",
                ) from error
            (work / _OUTPUT).unlink()

    def measure(
        self, variant: Variant, engine: Path, batch: bytes, frames: Tensor, flags: Sequence[str], *,
        work: Path, log: Path, on_tick: Callable[[], None],
    ) -> Measured:  # fmt: skip
        """Raises `EngineFailed` also if trtexec did not measure as it was told to."""
        (work / FRAMES).write_bytes(batch)
        paths = [f"--loadEngine={engine.resolve()}", f"--loadInputs={frames.name}:{FRAMES}", "--exportTimes=" + _TIMES]
        lines = self._trtexec.run([*paths, *flags], cwd=work, step="bench", variant=variant.name, log=log, on_tick=on_tick).lines
        samples = read_times(work / _TIMES)
        _check_understood(lines)
        caveats = ["The engine could not be captured as a CUDA graph; its kernels were launched one by one."]
        return Measured(
            samples,
            int(_first(_WARM_UP, lines) or 0),
            float(_first(_DESERIALISED, lines) or 0) * 1000,
            caveats=caveats if any(map(_NO_GRAPH.search, lines)) else (),
        )

    def _timing_cache(self, caches: Path) -> Path:
        """One file for each GPU and TensorRT version: timings of another would be wrong, or refused."""
        name = re.sub(r"[^A-Za-z0-9]+", "-", self.gpu.name).strip("-").lower()
        return caches / f"{name}-sm{self.gpu.compute_capability}-trt{dotted(self.version)}.cache"


def read_outputs(text: str, most_values: int = MOST_VALUES) -> dict[str, Array]:
    """The outputs, by name, in what --exportOutput wrote (NVIDIA/TensorRT, samples/common/sampleReporting.cpp, exportJSONOutput):
    JSON, except for NaN and infinities, which are as C++ prints them. Raises `ValueError`, `KeyError` or `TypeError` for anything
    else."""
    words = {"nan": "NaN", "inf": "Infinity"}
    text = _NOT_JSON.sub(lambda match: words[match.group(2)] if match.group(2) == "nan" else match.group(1) + "Infinity", text)
    outputs = {}
    for entry in parse_json(text, most_values=most_values, finite=False):
        extents = entry["dimensions"]
        shape = tuple(int(extent) for extent in extents.split("x")) if extents else ()
        outputs[entry["name"]] = Array(shape, array("d", entry["values"]))
    return outputs


def read_times(path: Path) -> list[float]:
    """Latencies in ms of each run, in order: copying in, computing and copying out. (They are `latencyMs`, which trtexec computes
    before it prints. The points in time in the file have only six digits: after ten seconds, a tenth of a millisecond.)

    Raises `EngineFailed` for a file that holds no latencies.
    """
    try:
        samples = [float(entry["latencyMs"]) for entry in parse_json(read_bytes(path, _TIMES_BYTES), most_values=_MOST_TIMES)]
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise EngineFailed(
            "trtexec's times cannot be read.",
            evidence=[shorten(str(error), 300)],
            remedy="run `bench` again; if it happens again, report this",
        ) from error
    if not samples or not all(0 < sample < _LONGEST_MS for sample in samples):
        raise EngineFailed(
            "trtexec's times make no sense.",
            evidence=[f"{len(samples)} of them, from {min(samples, default=0)} to {max(samples, default=0)} ms"],
            remedy="run `bench` again; if it happens again, reboot the board",
        )
    return samples


def _check_understood(lines: Sequence[str]) -> None:
    """Raises `EngineFailed` unless trtexec printed that it used every setting in `UNDERSTOOD`."""
    actual = {match.group(1): match.group(2) for match in map(_SETTING.search, lines) if match}
    wrong = [
        "{}: {}, not {}".format(name, actual.get(name, "not printed"), expected)
        for name, expected in UNDERSTOOD.items()
        if actual.get(name) != expected
    ]
    if wrong:
        raise EngineFailed(
            "trtexec did not measure as it was told to; its figures could not be compared with others.",
            evidence=wrong,
            remedy="report this with the log: edgec does not know this version of trtexec well enough",
        )


def _layers(path: Path) -> list[str]:
    try:
        return graph.float32_layers(path)
    except (OSError, ValueError) as error:
        raise ArtefactError(f"The graph {path.name} cannot be read.", evidence=[str(error)], remedy=COPY_AGAIN) from error


def _save_cache(cache: Path, destination: Path) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    work = destination.with_name(SCRATCH + destination.name)
    shutil.copyfile(str(cache), str(work))
    cache.unlink()
    publish(work, destination)


def _blames_cache(error: EngineFailed) -> bool:
    words = [fact.lower() for fact in error.evidence if not fact.startswith("log:")]
    return any("timingcache" in fact.replace(" ", "") for fact in words)


def _first(pattern: re.Pattern[str], lines: Sequence[str]) -> str | None:
    return next((match.group(1) for match in map(pattern.search, lines) if match), None)
