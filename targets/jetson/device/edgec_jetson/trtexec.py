"""NVIDIA's trtexec: which one it is, which GPU it uses, and what its failures mean."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, List, Sequence

from edgec_device.errors import EngineFailed, EngineHung, NoRuntime, from_os_error
from edgec_device.nvidia import Gpu
from edgec_device.output import Output, elapsed
from edgec_device.system import System
from edgec_device.versions import Version, dotted, from_banner
from edgec_onboard import process
from edgec_onboard.errors import BoardError, DiskFull
from edgec_onboard.text import shorten
from edgec_onboard.worker import signal_name

TRTEXEC = "/usr/src/tensorrt/bin/trtexec"
"""Where JetPack's libnvinfer-bin puts it."""
PROBE_PATIENCE_S = 120.0

_BANNER = re.compile(r"&&&& RUNNING TensorRT\.trtexec \[TensorRT v(\d{4,6})\](.*?) # ")
_TAG = re.compile(r"(?: \[b\d+\])?")
"""What NVIDIA puts between version and command line: nothing, or the build number (since 10.4)."""
_GPU = re.compile(r"Selected Device: (.{1,200})")
_COMPUTE = re.compile(r"Compute Capability: (\d{1,3}\.\d{1,3})(?!\d)")
_SEVERITY = re.compile(r"^(?:\[[^\]]+\] )?\[([VIWEF])\] ?(.*)$")
_WORK = re.compile(r"Computing costs for |Timing Runner: ")
_MEMORY = re.compile(r"out of memory|OutOfMemory|cudaErrorMemoryAllocation|insufficient memory", re.IGNORECASE)
_OTHER_VERSION = re.compile(
    r"not compatible with this version|version tag does not match|[Ss]erialization (?:assertion|version)"
    r"|incompatible device|Magic tag"
)

_EVENT_S = 1.0
_LINE_S = 10.0
_MOST_LINES = 3000
"""How many of trtexec's lines are kept, from the beginning and from the end each."""
_MOST_LOGGED = 1000
"""How many warnings and errors of one run are printed."""
_FULL_BELOW_BYTES = 4 << 20
_ELF = b"\x7fELF"


@dataclass(frozen=True)
class Finished:
    """A run that succeeded: what it printed, without the details that only --verbose prints."""

    lines: tuple[str, ...]
    seconds: float


class Trtexec:
    """One trtexec. Call `probe` first."""

    version: Version
    gpu: Gpu

    def __init__(self, path: Path, output: Output, patience: float) -> None:
        self.path = path
        self.output = output
        self.patience = patience
        self.doubts: list[str] = []
        """Why it may not be NVIDIA's, a sentence each."""

    @classmethod
    def find(cls, named: str | None, system: System, output: Output, patience: float) -> Trtexec:
        """The trtexec at the path `named`, else JetPack's, else one on the PATH. Raises `NoRuntime`."""
        on_path = shutil.which("trtexec") if system.real else None
        candidates = [named] if named else [str(system.path(TRTEXEC)), *([on_path] if on_path else [])]
        for candidate in candidates:
            if Path(candidate).is_file() and os.access(candidate, os.X_OK):
                return cls(Path(candidate).resolve(), output, patience)
        raise NoRuntime(
            "There is no trtexec to build engines with.",
            evidence=["looked for " + candidate for candidate in candidates],
            remedy="sudo apt-get install nvidia-tensorrt (or libnvinfer-bin), or give its path with --trtexec",
        )

    def probe(self, cwd: Path) -> None:
        """Find out version and GPU. trtexec is told to load an engine that does not exist: it then prints both, and stops.

        Raises `NoRuntime` if it does not print them.
        """
        lines = _Lines()
        command = [str(self.path), "--device=0", "--loadEngine=" + str(cwd / "no-such-engine")]
        ended = self._process(command, cwd, lines.append, lambda seconds: None, min(self.patience, PROBE_PATIENCE_S))
        banner = next((match for match in map(_BANNER.search, lines) if match), None)
        if banner is None or ended.silent is not None:
            raise NoRuntime(
                "This trtexec does not work.",
                evidence=[str(self.path), *(shorten(line) for line in ended.tail[-5:])],
                remedy="install NVIDIA's again (sudo apt-get install --reinstall libnvinfer-bin), or give another with --trtexec",
            )
        self.version = from_banner(banner.group(1))
        device, compute = (next((m for m in map(pattern.search, lines) if m), None) for pattern in (_GPU, _COMPUTE))
        if device is None or compute is None:
            raise NoRuntime(
                f"trtexec {dotted(self.version)} found no GPU that it can use.",
                evidence=[shorten(line) for line in ended.tail[-5:]],
                remedy="reboot the board; in a container, run it with --runtime nvidia",
            )
        self.gpu = Gpu(device.group(1).strip(), compute.group(1))
        if not _TAG.fullmatch(banner.group(2)) or any("stand-in" in line for line in lines):
            self.doubts.append("trtexec does not identify itself as NVIDIA's does")
        with self.path.open("rb") as file:
            if file.read(len(_ELF)) != _ELF:
                self.doubts.append(f"{self.path} is not a compiled program")

    def run(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path,
        step: str,
        variant: str,
        log: Path | None = None,
        on_tick: Callable[[], None] | None = None,
    ) -> Finished:
        """Run it; the run must succeed. Raises `EngineFailed`, `EngineHung`, `DiskFull` or `NoRuntime`.

        `log`: where to write what it prints, without the details that only --verbose prints.
        """
        progress = _Progress(self.output, step, variant)
        lines = _Lines()

        def on_line(line: str) -> None:
            if progress.on_line(line):
                lines.append(line)

        def tick(seconds: float) -> None:
            progress.tick(seconds)
            if on_tick:
                on_tick()

        command = [str(self.path), *arguments]
        ended = self._process(command, cwd, on_line, tick, self.patience)
        if log is not None:
            _write_log(log, [" ".join(command), *lines.for_log()])
        if ended.silent is not None:
            how = (
                f"it printed nothing for {elapsed(ended.silent)}"
                if ended.silent >= self.patience
                else f"it had not ended after {elapsed(ended.seconds)}"
            )
            raise EngineHung(
                f"trtexec hung in {step} of {variant} and was ended.",
                evidence=[how, *_evidence(ended, lines, log)],
                remedy="run the same command again; if it hangs again, reboot the board, or allow more time with --patience",
            )
        if ended.code != 0 or not any(line.startswith("&&&& PASSED") for line in lines):
            raise _failure(ended, lines, step, variant, cwd, log)
        return Finished(tuple(lines), ended.seconds)

    def _process(
        self,
        command: Sequence[str],
        cwd: Path,
        on_line: Callable[[str], None],
        on_tick: Callable[[float], None],
        patience: float,
    ) -> process.Ended:
        try:
            return process.run(command, cwd=cwd, patience=patience, on_line=on_line, on_tick=on_tick)
        except OSError as error:
            if error.filename != command[0]:
                raise
            raise NoRuntime(
                "trtexec cannot be started.",
                evidence=[f"{self.path}: {error.strerror}"],
                remedy="install NVIDIA's for this board's architecture, or give its path with --trtexec",
            ) from error


class _Lines(List[str]):
    """The lines that it prints. If there are too many the middle is dropped: settings come first, results last."""

    def __init__(self) -> None:
        super().__init__()
        self._dropped = 0

    def append(self, line: str) -> None:
        super().append(line)
        if len(self) > 2 * _MOST_LINES:
            del self[_MOST_LINES : _MOST_LINES + _MOST_LINES // 2]
            self._dropped += _MOST_LINES // 2

    def for_log(self) -> list[str]:
        """All lines, with a note where some were dropped."""
        note = [f"({self._dropped} lines were dropped here)"] if self._dropped else []
        return [*self[:_MOST_LINES], *note, *self[_MOST_LINES:]]


class _Progress:
    """Turns trtexec's lines into progress: at most one event per second, and a line for people every ten seconds."""

    def __init__(self, output: Output, step: str, variant: str) -> None:
        self._output, self._step, self._variant = output, step, variant
        self._done = self._logged = 0
        self._detail = ""
        self._event = 0.0
        self._line = time.monotonic()

    def on_line(self, line: str) -> bool:
        """Note a line. Returns whether to keep it: not if only --verbose prints it."""
        match = _SEVERITY.match(line)
        severity, text = match.groups() if match else ("I", line)
        if _WORK.search(text):
            self._done += 1
            self._detail = _WORK.sub("", text).replace("[TRT]", "").strip(" =-")
        elif severity in "WEF" and self._logged < _MOST_LOGGED:
            self._logged += 1
            self._output.emit("log", step=self._step, variant=self._variant, line=shorten(text, 400))
        return severity != "V"

    def tick(self, seconds: float) -> None:
        now = time.monotonic()
        if now - self._event < (_EVENT_S if self._output.as_json else _LINE_S):
            return
        self._event = now
        detail = f"{self._done} tactics timed, {self._detail}" if self._done else "trtexec is running"
        text = ""
        if now - self._line >= _LINE_S:
            self._line = now
            text = shorten(f"  {self._step} {self._variant}: {elapsed(seconds)}, {detail}")
        self._output.emit("progress", text, step=self._step, variant=self._variant, seconds=round(seconds, 1), detail=detail)


def _write_log(log: Path, lines: Sequence[str]) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        log.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        # A failure of the run itself matters more than one of its log.
        print(from_os_error(error), file=sys.stderr)


def _failure(ended: process.Ended, lines: Sequence[str], step: str, variant: str, cwd: Path, log: Path | None) -> BoardError:
    text = "\n".join(lines)
    evidence = _evidence(ended, lines, log)
    if shutil.disk_usage(str(cwd)).free < _FULL_BELOW_BYTES or "No space left" in text or ended.code == -signal.SIGXFSZ:
        return DiskFull(
            f"There was no room left on the disk for trtexec, in {step} of {variant}. No existing file was lost.",
            evidence=evidence,
            remedy="free some space (`status` lists unused engines), then run the same command again",
        )
    if "Unknown option" in text:
        return NoRuntime(
            "This trtexec does not know a flag that its version should know.",
            evidence=evidence,
            remedy="report this with the log: edgec does not know this version well enough",
        )
    if _OTHER_VERSION.search(text):
        return NoRuntime(
            "The engine does not fit this TensorRT or GPU.",
            evidence=evidence,
            remedy="run `build` again: it builds one that fits",
        )
    killed = ended.code == -signal.SIGKILL
    if killed or _MEMORY.search(text):
        remedy = "free memory (stop the desktop and other GPU programs, add swap), then run the same command again"
        evidence = [*(["it was killed, most likely by the kernel because memory ran out"] if killed else []), *evidence]
        return EngineFailed(f"trtexec ran out of memory in {step} of {variant}.", evidence=evidence, remedy=remedy)
    return EngineFailed(
        f"trtexec failed in {step} of {variant}.",
        evidence=evidence,
        remedy="run the same command again; if it fails there again, report this with the log",
    )


def _evidence(ended: process.Ended, lines: Sequence[str], log: Path | None) -> list[str]:
    """How it ended, its errors (or its last lines), and where the log is."""
    if ended.code >= 0:
        how = f"exit code {ended.code} after {elapsed(ended.seconds)}"
    else:
        how = f"ended by {signal_name(-ended.code)} after {elapsed(ended.seconds)}"
    errors = [line for line in lines if (_SEVERITY.match(line) or ["", ""])[1] in ("E", "F")]
    words = [shorten(line, 200) for line in (errors or ended.tail)[-3:] if line.strip()]
    return [how, *words, *([f"log: {log}"] if log else [])]
