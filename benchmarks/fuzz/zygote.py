"""A process that has everything imported, and forks once for each input: a try costs milliseconds, and what it breaks is its own.

    python -m benchmarks.fuzz.zygote FOLDER SECONDS BYTES

reads a JSON line a job, `{"kind", "seed"}`, and answers with one: an `Outcome`'s fields. A job without a seed prepares the
kind's corpus. FOLDER gets `corpus/KIND/` and `tries/`; the others are what an input may take.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.fuzz.kinds import Limits, Try, kind

DOCUMENTED = frozenset((*range(18), 130))
_PREPARING_S = 300.0
_DRAWING_S = 60.0
"""To make an input; it does not count as edgec's time."""
_TICK_S = 0.02
_MOST_SAID = 1 << 16
_DIES_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of linux/prctl.h: a campaign that is killed leaves nobody waiting."""
_PRELOADED = (
    "edgec.cli.inspect", "edgec.cli.check", "edgec.cli.compare", "edgec.cli.report", "edgec.cli.verify", "edgec.cli.explain",
    "edgec.cli.targets", "edgec.cli.calibration", "edgec.checkpoint.reader", "edgec.checkpoint.containers.files",
    "edgec.checkpoint.weights.vit", "edgec.checkpoint.weights.convnext", "edgec.heads.onnx_heads.preparing", "edgec.heads.attach",
    "edgec.heads.reference", "edgec.boards.commands",
    "edgec.boards.results", "edgec.verifying", "edgec.artefact.reading", "edgec.report.html.page", "edgec.records.consistency",
    "edgec.report.explaining", "edgec.report.compare.verdicts", "edgec.report.compare.rendering", "edgec.sweep.matrix",
    "edgec.sweep.schema", "edgec.frames.lint", "edgec.lowering.tensorrt.check", "edgec.lowering.onnxruntime", "edgec.cache",
    "torch._export.converter", "torch.onnx._internal.exporter._core", "onnxscript.optimizer", "edgec.heads.exporting",
    "safetensors.torch", "rich.table", "rich.text", "altair",
)  # fmt: skip


def main() -> None:
    """Answers jobs until standard input ends."""
    folder, limits = Path(sys.argv[1]).absolute(), Limits(float(sys.argv[2]), int(sys.argv[3]))
    import importlib

    for name in _PRELOADED:
        with suppress(ImportError):  # a runtime that is not installed, or a module that has moved: only slower
            importlib.import_module(name)
    from tests.support.ready import ready_to_build

    ready_to_build()  # heads are exported
    gc.collect()
    gc.freeze()  # else a collection in a child touches, and so copies, all that is shared
    print("ready", flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        print(json.dumps(_prepare(folder, job["kind"]) if job["seed"] is None else _try(folder, limits, **job)), flush=True)


def _prepare(folder: Path, name: str) -> dict[str, Any]:
    corpus = folder / "corpus" / name
    if not corpus.is_dir():
        making = folder / "corpus" / f".{name}"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        child = os.fork()
        if child == 0:
            _silenced(folder / f"{name}.log")
            _last(lambda: kind(name).prepare(making))
        if _awaited(child, time.monotonic() + _PREPARING_S) != 0:
            output = (folder / f"{name}.log").read_text(errors="replace")
            return {"outcome": "unprepared", "output": output[-_MOST_SAID:]}
        making.rename(corpus)
    return {"outcome": "prepared"}


def _try(folder: Path, limits: Limits, kind: str, seed: int) -> dict[str, Any]:
    """Forks, watches, and cleans up. The child answers through a pipe with one JSON line when the input is made, and one at its
    end; what it does not say has killed it."""
    (folder / "tries").mkdir(exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix=f"{kind}-{seed}-", dir=folder / "tries"))
    (place / "input").mkdir()
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        os.setsid()
        ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGKILL)
        _silenced(place / "said")
        _last(lambda: _child(kind, seed, folder / "corpus" / kind, place / "input", write_end))
    os.close(write_end)
    try:
        answer = _watch(child, read_end, limits)
    finally:
        os.close(read_end)
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
    with (place / "said").open("rb") as file:
        answer["output"] = file.read(_MOST_SAID).decode("utf-8", "replace")
    answer["place"] = str(place)
    if answer["outcome"] in ("refused", "accepted"):
        shutil.rmtree(place, ignore_errors=True)
    return answer


def _child(name: str, seed: int, corpus: Path, place: Path, write_end: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.chdir(place)
    os.environ.update(
        HOME=str(place.parent), EDGEC_CACHE_DIR=str(place.parent / "cache"), COLUMNS="120", TMPDIR=str(place.parent)
    )
    tempfile.tempdir = str(place.parent)
    drawn = kind(name).draw(Random(f"{name}:{seed}"), corpus, place)
    _send(write_end, what=drawn.what)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    began = _clock(os.getpid())
    code, outcome = _attempt(drawn)
    seconds = _clock(os.getpid()) - began
    _send(write_end, outcome=outcome, code=code, seconds=seconds, peak_bytes=max(_peak(os.getpid()), _of_children()))


def _attempt(drawn: Try) -> tuple[int, str]:
    from edgec.errors import EdgecError

    try:
        code = drawn.attempt()
    except EdgecError as error:
        print(error, file=sys.stderr)
        code = error.exit_code
    except Exception:
        traceback.print_exc()
        code = 70
    sys.stdout.flush()
    sys.stderr.flush()
    if code not in DOCUMENTED:
        return code, "exit 70"
    if code in drawn.accepting:
        wrong = _checked(drawn)
        if wrong:
            print(f"\naccepted, but {wrong}", file=sys.stderr)
            return code, "wrong"
    output = Path("/proc/self/fd/1").read_bytes()
    if steers := _steering(output):
        print(f"\nto a terminal went {steers!r}", file=sys.stderr)
        return code, "wrong"
    return code, "accepted" if code == 0 else "refused"


def _checked(drawn: Try) -> str:
    from edgec.errors import EdgecError

    try:
        return drawn.check()
    except EdgecError as error:
        return f"refused when it was looked at: {error.what}"
    except Exception as error:
        traceback.print_exc()
        return f"breaks: {type(error).__name__}"


def _steering(output: bytes) -> str:
    """What of the output could steer a terminal or turn its text round."""
    text = output.decode("utf-8", "replace")
    bad = {character for character in set(text) if not character.isprintable() and character not in "\n\t\ufeff"}
    return "".join(sorted(bad))


def _watch(child: int, read_end: int, limits: Limits) -> dict[str, Any]:
    answer: dict[str, Any] = {"what": "", "outcome": "", "code": None, "seconds": 0.0, "peak_bytes": 0}
    unread, began, drawn, allowed = b"", _clock(child), False, _DRAWING_S
    while True:
        ready = select.select([read_end], [], [], _TICK_S)[0]
        block = os.read(read_end, 1 << 16) if ready else None
        unread += block or b""
        *lines, unread = unread.split(b"\n")
        for line in lines:
            answer.update(json.loads(line))
            if not drawn:
                drawn, began, allowed = True, _clock(child), limits.seconds
        answer["peak_bytes"] = max(answer["peak_bytes"], _peak(child) if drawn else 0)
        late, large = _clock(child) - began > allowed, answer["peak_bytes"] > limits.peak_bytes
        if answer["outcome"] or late or large or block == b"":
            break
    answer["seconds"] = answer["seconds"] or _clock(child) - began
    if late or large:
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        answer["outcome"] = "over 4 GB" if large else "over 20 s" if drawn else "undrawn"
    code = _awaited(child, time.monotonic() + limits.seconds)
    if not answer["outcome"]:
        answer.update(outcome="died" if drawn else "undrawn", code=code)
    return answer


def _awaited(child: int, deadline: float) -> int:
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)


def _last(call: Any) -> None:
    """All that a forked child does. Nothing of its parent's is flushed or run at exit."""
    code = 1
    try:
        call()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _silenced(log: Path) -> None:
    """What is said goes to a file, and nobody is there to be asked."""
    file = os.open(log, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (file, 1), (file, 2)):
        os.dup2(source, target)


def _send(write_end: int, **fields: Any) -> None:
    os.write(write_end, (json.dumps(fields) + "\n").encode())


def _peak(process: int) -> int:
    """The most bytes of memory that it has held at once since that was last reset."""
    try:
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return 0


def _clock(process: int) -> float:
    """Seconds, without those that the process was ready to run and others had the cores: another's work is no fault of an
    input's."""
    try:
        waited = int(Path(f"/proc/{process}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        waited = 0.0
    return time.monotonic() - waited


def _of_children() -> int:
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


if __name__ == "__main__":
    main()
