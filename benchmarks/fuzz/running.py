"""A campaign: kinds in turn, each input in a process of its own, until a number or a time is reached; what failed is kept."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from benchmarks.fuzz.kinds import Limits

if TYPE_CHECKING:
    from tests.support.forks import Fork, Forks

LIMITS = Limits()
_ZYGOTE = "from benchmarks.fuzz.zygote import main; main()"
FAILURES = ("exit 70", "wrong", "died", "over 4 GB", "over 20 s")
"""What must not happen. `wrong`: accepted, and not what it claims to be, or written to a terminal as it came."""


@dataclass(frozen=True)
class Outcome:
    """What one input led to: `refused`, `accepted`, one of `FAILURES`, or, where the fault is the generator's, `undrawn`.
    `output` is what was printed, `what` what was done to the input; of `place` nothing is left if nothing was wrong."""

    kind: str
    seed: int
    outcome: str
    code: int | None
    seconds: float
    peak_bytes: int
    what: str
    output: str
    place: Path

    @property
    def failed(self) -> bool:
        """Whether it is one of `FAILURES`, or was not drawn."""
        return self.outcome not in ("refused", "accepted")


@dataclass
class Tally:
    """Of one kind."""

    counts: Counter[str] = field(default_factory=Counter)
    slowest: Outcome | None = None
    largest: Outcome | None = None

    def add(self, outcome: Outcome) -> None:
        """Counts it, and remembers it if it is the slowest or the largest so far."""
        self.counts[outcome.outcome] += 1
        if self.slowest is None or outcome.seconds > self.slowest.seconds:
            self.slowest = outcome
        if self.largest is None or outcome.peak_bytes > self.largest.peak_bytes:
            self.largest = outcome

    @property
    def tried(self) -> int:
        """How many inputs there were."""
        return self.counts.total()

    @property
    def failed(self) -> int:
        """How many of them failed."""
        return self.tried - self.counts["refused"] - self.counts["accepted"]


class Zygote:
    """A process that tries inputs, one after another; forked, if there is a server for that. Not for two threads at once."""

    def __init__(self, folder: Path, limits: Limits = LIMITS, forks: Forks | None = None) -> None:
        root = Path(__file__).resolve().parents[2]
        path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
        # A user's own output is strict about what UTF-8 cannot hold.
        env = {**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8:strict", "OMP_NUM_THREADS": "1", "TERM": "dumb"}
        its_input, input_end = os.pipe()
        output_end, its_output = os.pipe()
        arguments = [str(folder), str(limits.seconds), str(limits.peak_bytes)]
        self._process: subprocess.Popen[bytes] | Fork
        if forks is None:
            program = [sys.executable, "-m", "benchmarks.fuzz.zygote", *arguments]
            self._process = subprocess.Popen(program, stdin=its_input, stdout=its_output, env=env)
        else:
            streams = {"stdin": its_input, "stdout": its_output, "stderr": 2}
            self._process = forks.start(*arguments, cwd=root, env=env, code=_ZYGOTE, **streams)
        os.close(its_input)
        os.close(its_output)
        self._stdin, self._stdout = os.fdopen(input_end, "w"), os.fdopen(output_end, "r")
        self._answer()

    def __enter__(self) -> Zygote:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stdin.close()
        self._process.wait()
        self._stdout.close()

    def prepare(self, kind: str) -> None:
        """Make the kind's corpus, if it is not there. Raises `RuntimeError` with what was said."""
        answer = self._ask(kind, None)
        if answer["outcome"] != "prepared":
            raise RuntimeError(f"the corpus of {kind} could not be made:\n{answer['output']}")

    def attempt(self, kind: str, seed: int) -> Outcome:
        """One input; raises `RuntimeError` if the process itself has ended."""
        answer = self._ask(kind, seed)
        return Outcome(**{**answer, "kind": kind, "seed": seed, "place": Path(answer["place"])})

    def _ask(self, kind: str, seed: int | None) -> dict[str, Any]:
        self._stdin.write(json.dumps({"kind": kind, "seed": seed}) + "\n")
        self._stdin.flush()
        answer: dict[str, Any] = json.loads(self._answer())
        return answer

    def _answer(self) -> str:
        line = self._stdout.readline()
        if not line:
            raise RuntimeError(f"the process that tries inputs has ended with {self._process.wait()}")
        return line


def run(
    kinds: Sequence[str],
    folder: Path,
    *,
    first: int = 0,
    count: int | None = None,
    seconds: float | None = None,
    jobs: int = 1,
    limits: Limits = LIMITS,
    listener: Callable[[Outcome], None] = lambda _: None,
    forks: Forks | None = None,
) -> dict[str, Tally]:
    """Try `count` inputs of each kind, or for so many seconds in all, by `jobs` processes; seeds count up from `first`.

    `folder` gets what inputs are made of. Failing inputs are kept in it as KIND-SEED.bin, a tar archive of the input, with
    KIND-SEED.txt, what was said.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tallies = {kind: Tally() for kind in kinds}
    work = _jobs(kinds, first, count, seconds)
    lock, problems = threading.Lock(), queue.Queue[BaseException]()

    def drive(zygote: Zygote) -> None:
        try:
            while True:
                with lock:
                    job = next(work, None) if problems.empty() else None
                if job is None:
                    return
                outcome = zygote.attempt(*job)
                if outcome.failed:
                    _keep(outcome, folder)
                with lock:
                    tallies[outcome.kind].add(outcome)
                    listener(outcome)
        except BaseException as error:
            problems.put(error)

    with ExitStack() as stack:
        workplace = stack.enter_context(tempfile.TemporaryDirectory(prefix="edgec-fuzz-", ignore_cleanup_errors=True))
        zygotes = [stack.enter_context(Zygote(Path(workplace), limits, forks)) for _ in range(jobs)]
        for kind in kinds:
            zygotes[0].prepare(kind)
        threads = [threading.Thread(target=drive, args=(zygote,)) for zygote in zygotes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if not problems.empty():
        raise problems.get()
    return tallies


def _jobs(kinds: Sequence[str], first: int, count: int | None, seconds: float | None) -> Iterator[tuple[str, int]]:
    """Kind by kind in turn, so that time is shared by inputs."""
    began, seed = time.monotonic(), first
    while count is None or seed < first + count:
        for kind in kinds:
            if seconds is not None and time.monotonic() - began > seconds:
                return
            yield kind, seed
        seed += 1


def _keep(outcome: Outcome, folder: Path) -> None:
    name = f"{outcome.kind}-{outcome.seed}"
    figures = f"exit code {outcome.code}, {outcome.seconds:.1f} s, {outcome.peak_bytes / 1e6:.0f} MB"
    summary = f"{outcome.outcome} ({figures})\n{outcome.what}\n"
    again = f"python -m benchmarks fuzz --kind {outcome.kind} --seed {outcome.seed}\n\n"
    (folder / f"{name}.txt").write_text(summary + again + outcome.output, errors="backslashreplace")
    with (folder / f"{name}.bin").open("wb") as file, tarfile.open(fileobj=file, mode="w") as archive:
        for path in sorted(outcome.place.joinpath("input").rglob("*")):
            if path.is_symlink() or (path.is_file() and path.stat().st_size < 1 << 28):
                archive.add(path, path.relative_to(outcome.place), recursive=False)
    shutil.rmtree(outcome.place, ignore_errors=True)
