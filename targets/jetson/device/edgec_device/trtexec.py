"""NVIDIA's trtexec: what it is, what it says of the GPU, and what its failures mean."""

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

from edgec_onboard import process
from edgec_onboard.errors import BoardError, DiskFull
from edgec_onboard.text import shorten

from edgec_device.errors import NoTensorRT, TrtexecFailed, TrtexecHung, from_os_error
from edgec_device.output import Output, elapsed
from edgec_device.system import System
from edgec_device.versions import Version, dotted, from_banner

PLACE = "/usr/src/tensorrt/bin/trtexec"
"""Where JetPack's libnvinfer-bin puts it."""
PROBE_PATIENCE_S = 120.0

_BANNER = re.compile(r"&&&& RUNNING TensorRT\.trtexec \[TensorRT v(\d{4,6})\](.*?) # ")
_TAG = re.compile(r"(?: \[b\d+\])?")
"""What NVIDIA puts between version and command line: nothing, or the build number (since 10.4)."""
SUBSTITUTE = " [edgec, not NVIDIA]"
"""There, edgec's own program says that it is none of NVIDIA's (edgec/lowering/tensorrt/engine)."""
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
"""From the beginning, and from the end, that are kept of what trtexec says."""
_MOST_LOGGED = 1000
"""Warnings and errors of one run that are passed on."""
_FULL_BELOW_BYTES = 4 << 20
_ELF = b"\x7fELF"


@dataclass(frozen=True)
class Gpu:
    name: str
    compute_capability: str


@dataclass(frozen=True)
class Finished:
    """A run that succeeded: what it printed, but for what only --verbose prints."""

    lines: tuple[str, ...]
    seconds: float


class Trtexec:
    """One trtexec. `probe` must come first."""

    version: Version
    gpu: Gpu

    def __init__(self, path: Path, output: Output, patience: float) -> None:
        self.path = path
        self.output = output
        self.patience = patience
        self.doubts: list[str] = []
        """Why it may not be NVIDIA's."""
        self.substitute = False
        """Whether it says that it is edgec's, which drives TensorRT through its Python package."""

    @classmethod
    def find(cls, given: str | None, system: System, output: Output, patience: float) -> Trtexec:
        """The one that was given, JetPack's, or one on the PATH. Raises `NoTensorRT`."""
        on_path = shutil.which("trtexec") if system.real else None
        places = [given] if given else [str(system.path(PLACE)), *([on_path] if on_path else [])]
        for place in places:
            if Path(place).is_file() and os.access(place, os.X_OK):
                return cls(Path(place).resolve(), output, patience)
        raise NoTensorRT(
            "There is no trtexec to build engines with.",
            evidence=["looked for " + place for place in places],
            remedy="sudo apt-get install nvidia-tensorrt (or libnvinfer-bin), or name it with --trtexec",
        )

    def probe(self, cwd: Path) -> None:
        """Find out version and GPU. Asks for an engine that does not exist: then trtexec says both, and stops.

        Raises `NoTensorRT` if it does not say them.
        """
        lines = _Lines()
        command = [str(self.path), "--device=0", "--loadEngine=" + str(cwd / "no-such-engine")]
        ended = self._process(command, cwd, lines.append, lambda seconds: None, min(self.patience, PROBE_PATIENCE_S))
        banner = next((match for match in map(_BANNER.search, lines) if match), None)
        if banner is None or ended.silent is not None:
            raise NoTensorRT(
                "This is no trtexec that works.",
                evidence=[str(self.path), *(shorten(line) for line in ended.tail[-5:])],
                remedy="install NVIDIA's again (sudo apt-get install --reinstall libnvinfer-bin), or name it with --trtexec",
            )
        self.version = from_banner(banner.group(1))
        device, compute = (next((m for m in map(pattern.search, lines) if m), None) for pattern in (_GPU, _COMPUTE))
        if device is None or compute is None:
            raise NoTensorRT(
                f"trtexec {dotted(self.version)} found no GPU that it can use.",
                evidence=[shorten(line) for line in ended.tail[-5:]],
                remedy="reboot the board; in a container, run it with --runtime nvidia",
            )
        self.gpu = Gpu(device.group(1).strip(), compute.group(1))
        self.substitute = banner.group(2) == SUBSTITUTE
        known = self.substitute or _TAG.fullmatch(banner.group(2))
        if not known or any("stand-in" in line for line in lines):
            self.doubts.append("trtexec calls itself something else than NVIDIA's does")
        with self.path.open("rb") as file:
            if file.read(len(_ELF)) != _ELF and not self.substitute:
                self.doubts.append(f"{self.path} is no compiled program")

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
        """One run that must succeed. Raises `TrtexecFailed`, `TrtexecHung`, `DiskFull`, `NoTensorRT`.

        `log`: where to keep what it says, except the details that only --verbose prints.
        """
        progress = _Progress(self.output, step, variant)
        lines = _Lines()

        def hear(line: str) -> None:
            if progress.hear(line):
                lines.append(line)

        def tick(seconds: float) -> None:
            progress.tick(seconds)
            if on_tick:
                on_tick()

        command = [str(self.path), *arguments]
        ended = self._process(command, cwd, hear, tick, self.patience)
        if log is not None:
            _keep(log, [" ".join(command), *lines.left_out()])
        if ended.silent is not None:
            how = (
                f"it said nothing for {elapsed(ended.silent)}"
                if ended.silent >= self.patience
                else f"no end after {elapsed(ended.seconds)}"
            )
            raise TrtexecHung(
                f"trtexec hung in {step} of {variant} and was ended.",
                evidence=[how, *_evidence(ended, lines, log)],
                remedy="run the same command again; if it hangs there again, reboot the board, or give it longer with --patience",
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
            raise NoTensorRT(
                "trtexec cannot be started.",
                evidence=[f"{self.path}: {error.strerror}"],
                remedy="install NVIDIA's for this board's architecture, or name it with --trtexec",
            ) from error


class _Lines(List[str]):
    """What it says, but for the middle of what is too much: its settings come first, how it went comes last."""

    def __init__(self) -> None:
        super().__init__()
        self._dropped = 0

    def append(self, line: str) -> None:
        super().append(line)
        if len(self) > 2 * _MOST_LINES:
            del self[_MOST_LINES : _MOST_LINES + _MOST_LINES // 2]
            self._dropped += _MOST_LINES // 2

    def left_out(self) -> list[str]:
        """With a line that says so in the place of what was dropped."""
        note = [f"({self._dropped} lines are left out here)"] if self._dropped else []
        return [*self[:_MOST_LINES], *note, *self[_MOST_LINES:]]


class _Progress:
    """Turns trtexec's lines into signs of life: an event a second at most, a line for people every ten."""

    def __init__(self, output: Output, step: str, variant: str) -> None:
        self._output, self._step, self._variant = output, step, variant
        self._done = self._logged = 0
        self._detail = ""
        self._event = 0.0
        self._line = time.monotonic()

    def hear(self, line: str) -> bool:
        """Whether the line is worth keeping: not one of the details that only --verbose prints."""
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
        detail = f"{self._done} tactics timed, {self._detail}" if self._done else "trtexec is at work"
        text = ""
        if now - self._line >= _LINE_S:
            self._line = now
            text = shorten(f"  {self._step} {self._variant}: {elapsed(seconds)}, {detail}")
        self._output.emit("progress", text, step=self._step, variant=self._variant, seconds=round(seconds, 1), detail=detail)


def _keep(log: Path, lines: Sequence[str]) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        log.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        # The run's own failure matters more than that its log found no room.
        print(from_os_error(error), file=sys.stderr)


def _failure(ended: process.Ended, lines: Sequence[str], step: str, variant: str, cwd: Path, log: Path | None) -> BoardError:
    text = "\n".join(lines)
    evidence = _evidence(ended, lines, log)
    if shutil.disk_usage(str(cwd)).free < _FULL_BELOW_BYTES or "No space left" in text or ended.code == -signal.SIGXFSZ:
        return DiskFull(
            f"There was no room left on the disk for trtexec, in {step} of {variant}. Nothing that was there before is lost.",
            evidence=evidence,
            remedy="free some space (`status` lists engines that nothing needs), then run the same command again",
        )
    if "Unknown option" in text:
        return NoTensorRT(
            "This trtexec does not know a flag that its version should know.",
            evidence=evidence,
            remedy="report this with the log; edgec must learn about this version",
        )
    if _OTHER_VERSION.search(text):
        return NoTensorRT(
            "The engine does not fit this TensorRT or GPU.", evidence=evidence, remedy="run `build` again: it makes one that fits"
        )
    killed = ended.code == -signal.SIGKILL
    if killed or _MEMORY.search(text):
        remedy = "free memory (stop the desktop and other GPU programs, add swap), then run the same command again"
        evidence = [*(["it was killed, most likely by the kernel for want of memory"] if killed else []), *evidence]
        return TrtexecFailed(f"trtexec ran out of memory in {step} of {variant}.", evidence=evidence, remedy=remedy)
    return TrtexecFailed(
        f"trtexec failed in {step} of {variant}.",
        evidence=evidence,
        remedy="run the same command again; if it fails there again, report this with the log",
    )


def _evidence(ended: process.Ended, lines: Sequence[str], log: Path | None) -> list[str]:
    """How it ended, its own errors (or its last words), and where the rest is."""
    if ended.code >= 0:
        how = f"exit code {ended.code} after {elapsed(ended.seconds)}"
    else:
        how = f"ended by {_signal_name(-ended.code)} after {elapsed(ended.seconds)}"
    errors = [line for line in lines if (_SEVERITY.match(line) or ["", ""])[1] in ("E", "F")]
    words = [shorten(line, 200) for line in (errors or ended.tail)[-3:] if line.strip()]
    return [how, *words, *([f"log: {log}"] if log else [])]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
