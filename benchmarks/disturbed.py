"""Builds that are disturbed, and what must hold afterwards. They are forked from a process that has everything imported, so that
nearly all of a build's time is its stages."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks import small
from edgec.artefact.contents import is_report
from edgec.errors import EdgecError
from edgec.verifying import verify

FAMILIES = ("cpu-onnxruntime", "jetson", "apple")
"""`cpu` in float32 alone: what is chosen by latency is not the same each time."""
DOCUMENTED = frozenset((*range(18), 130))
_ENDS_WITHIN_S = 30.0
_LONGEST_BUILD_S = 300.0


@dataclass
class Reference:
    """What an undisturbed build makes: files by their hashes, and of the manifest what two builds agreed on."""

    files: Mapping[str, str]
    manifest: Mapping[str, Any]
    timeline: tuple[tuple[str, float], ...]
    """Each stage, and how many seconds after the start it ended."""
    cache_bytes: int
    output_bytes: int


@dataclass
class Figures:
    """`problems` say what did not hold, with the turn's number, which with the seed is the turn."""

    tried: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def count(self, name: str) -> None:
        """One more of these."""
        self.counts[name] = self.counts.get(name, 0) + 1


class Forked:
    """One build in a process group of its own, with what it says."""

    def __init__(self, arguments: list[str], cache: Path, temporary: Path) -> None:
        temporary.mkdir(exist_ok=True)
        read_end, write_end = os.pipe()
        self.began = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(read_end)
            _build(arguments, cache, temporary, write_end)
        os.close(write_end)
        self.output, self._reader, self.code = "", os.fdopen(read_end, "r", errors="replace"), None

    def until(self, stage: str) -> bool:
        """Whether that stage was seen to end before the process did."""
        return any(ended == stage for ended in self.stages())

    def stages(self) -> Iterator[str]:
        """The stages, as they end."""
        for line in self._reader:
            self.output += line
            _, separator, stage = line.rstrip().partition(" s  ")
            if separator:
                yield stage

    def send(self, number: int, *, group: bool) -> None:
        """The signal, to the process or to its whole group, then waits until it and its children are gone."""
        family = self._family()
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number) if group else os.kill(self.pid, number)
        self._wait(family, _ENDS_WITHIN_S)

    def finish(self) -> int:
        """Waits for the build's end; returns its exit code."""
        self._wait([], _LONGEST_BUILD_S)
        assert self.code is not None
        return self.code

    def _wait(self, family: list[psutil.Process], seconds: float) -> None:
        """Until it and its children are gone; what it says meanwhile is small enough for the pipe."""
        deadline = time.monotonic() + seconds
        while self.code is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self.code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > deadline:
                os.killpg(self.pid, signal.SIGKILL)
            time.sleep(0.005)
        _, self.alive = psutil.wait_procs(family, timeout=_ENDS_WITHIN_S)
        for process in self.alive:
            process.kill()
        self.output += self._reader.read()
        self._reader.close()

    def _family(self) -> list[psutil.Process]:
        try:
            return list(psutil.Process(self.pid).children(recursive=True))
        except psutil.NoSuchProcess:
            return []


def _build(arguments: list[str], cache: Path, temporary: Path, write_end: int) -> None:
    code = 70
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        nothing = os.open(os.devnull, os.O_RDWR)
        for source, target in ((nothing, 0), (nothing, 1), (write_end, 2)):
            os.dup2(source, target)
        os.environ.update(EDGEC_CACHE_DIR=str(cache), TMPDIR=str(temporary), COLUMNS="120")
        import tempfile

        tempfile.tempdir = str(temporary)
        from edgec import cli

        code = cli.run(arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


class Workplace:
    """The small checkpoint and its frames, and what undisturbed builds make of them."""

    def __init__(self, folder: Path) -> None:
        from tests.support.ready import ready_to_build

        ready_to_build()
        self.folder, self.inputs = folder, folder / "inputs"
        self.inputs.mkdir(parents=True)
        child = os.fork()  # transformers writes the checkpoint; this process stays without its threads
        if child == 0:
            code = 1
            try:
                small.prepare(self.inputs)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            raise RuntimeError("the small checkpoint could not be made")
        self._references: dict[str, Reference] = {}

    def arguments(self, family: str, output: Path, *more: str) -> list[str]:
        """Of `edgec build` for that family."""
        precision = ("--precision", "fp32") if family.startswith("cpu") else ()
        return small.build_arguments(self.inputs, family, output, *precision, *more)

    def reference(self, family: str) -> Reference:
        """Built twice, undisturbed, when it is first asked for."""
        if family not in self._references:
            self._references[family] = self._undisturbed(family)
        return self._references[family]

    def _undisturbed(self, family: str) -> Reference:
        built, timelines, cache = [], [], self.folder / "cache"
        for turn in range(2):
            output = self.folder / f"{family}-{turn}" / "made.edgec"
            output.parent.mkdir()
            shutil.rmtree(cache, ignore_errors=True)
            running = Forked(self.arguments(family, output), cache, self.folder / "tmp")
            timelines.append(tuple((stage, time.monotonic() - running.began) for stage in running.stages()))
            if running.finish():
                raise RuntimeError(f"an undisturbed build for {family} ended with {running.code}:\n{running.output}")
            built.append(output)
        one, other = (_flat(json.loads((output / "manifest.json").read_text())) for output in built)
        steady = {path: value for path, value in one.items() if path in other and other[path] == value}
        return Reference(_hashes(built[0]), steady, timelines[1], size(cache), size(built[0]))

    def differs(self, artefact: Path, family: str) -> str:
        """What of a finished artefact is not as an undisturbed build makes it, or does not verify; "" if all is well."""
        reference = self.reference(family)
        try:
            verify(artefact)
        except EdgecError as error:
            return f"it does not verify: {error}"
        if (hashes := _hashes(artefact)) != reference.files:
            return f"other files: {sorted(dict(hashes.items() ^ reference.files.items()))}"
        manifest = _flat(json.loads((artefact / "manifest.json").read_text()))
        other = [path for path, value in reference.manifest.items() if manifest.get(path, object) != value]
        return f"another manifest: {other[:5]}" if other else ""


def remains(output: Path, cache: Path) -> list[str]:
    """What lies beside artefacts, and what is in the making in the cache, when nobody is at work."""
    others = [path.name for path in output.iterdir() if path.name != "made.edgec"] if output.exists() else []
    work = cache / "work"
    return [*others, *(f"cache/work/{path.name}" for path in (work.iterdir() if work.exists() else ()))]


def size(folder: Path) -> int:
    """Bytes of all files in the folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _hashes(artefact: Path) -> dict[str, str]:
    """Of everything but the manifest, and the report with its timings."""
    paths = {path.relative_to(artefact).as_posix(): path for path in sorted(artefact.rglob("*")) if path.is_file()}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in paths.items()
        if name != "manifest.json" and not is_report(name)
    }


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {path: each for key, inner in value.items() for path, each in _flat(inner, f"{prefix}.{key}").items()}
    if isinstance(value, list):
        return {path: each for key, inner in enumerate(value) for path, each in _flat(inner, f"{prefix}.{key}").items()}
    return {prefix: value}
