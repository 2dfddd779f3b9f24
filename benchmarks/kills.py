"""Builds that are killed, ended and interrupted at moments drawn over their whole course, and the same builds again."""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from benchmarks.disturbed import DOCUMENTED, FAMILIES, Figures, Forked, Workplace, remains

_SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def run(count: int, seed: int, listener: Callable[[int, str], None] = lambda turn, problem: None) -> Figures:
    """After each: the destination is whole, or as it was; the same build then succeeds, is byte for byte the undisturbed one but
    for timings, and has swept up."""
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="edgec-kills-", ignore_cleanup_errors=True) as name:
        workplace = Workplace(Path(name))
        for turn in range(count):
            folder = Path(name, "turn")
            shutil.rmtree(folder, ignore_errors=True)
            (folder / "out").mkdir(parents=True)
            problem = _turn(workplace, folder, Random(f"{seed}:{turn}"), figures)
            figures.tried += 1
            if problem:
                figures.problems.append(f"turn {turn}: {problem}")
            listener(turn, problem)
    return figures


def _turn(workplace: Workplace, folder: Path, random: Random, figures: Figures) -> str:
    family, number, group = random.choice(FAMILIES), random.choice(_SIGNALS), random.random() < 0.5
    output, cache, temporary = folder / "out" / "made.edgec", folder / "cache", folder / "tmp"
    timeline = workplace.reference(family).timeline
    replaces = random.random() < 0.3
    if replaces:
        # What is replaced was built with other settings, and all but the last stages come from the cache.
        first = Forked(workplace.arguments(family, output, "--min-fidelity", "0.4"), cache, temporary)
        if first.finish():
            return f"{family}: the build before ended with {first.code}: {first.output[-500:]}"
        before = (output / "manifest.json").read_bytes()
    more = ("--force",) if replaces else ()
    running = Forked(workplace.arguments(family, output, *more), cache, temporary)
    after = random.randrange(len(timeline) + 1)
    begun = timeline[after - 1][1] if after else 0.0
    ends = timeline[after][1] if after < len(timeline) else begun + 0.3
    name = signal.Signals(number).name
    stage = timeline[after][0] if after < len(timeline) else "the end"
    moment = f"{family}, {name}{' to all' if group else ''} in {stage}"
    if after == 0 or running.until(timeline[after - 1][0]):
        time.sleep(random.uniform(0, 1.1 * (ends - begun)))
    running.send(number, group=group)
    figures.count(f"{name}, {'after its end' if running.code == 0 else 'hit'}")
    if problem := _ended(running, number):
        return f"{moment}: {problem}"
    if output.exists() and not (replaces and (output / "manifest.json").read_bytes() == before):
        if problem := workplace.differs(output, family):
            return f"{moment}: what is there is not whole: {problem}"
    elif running.code == 0:
        return f"{moment}: it ended with 0 and nothing is there"
    again = Forked(workplace.arguments(family, output, "--force"), cache, temporary)
    if again.finish():
        return f"{moment}: the same build again ended with {again.code}: {again.output[-1500:]}"
    if problem := workplace.differs(output, family):
        return f"{moment}: built again: {problem}"
    if left := remains(folder / "out", cache):
        return f"{moment}: not swept up: {left}"
    return ""


def _ended(running: Forked, number: int) -> str:
    """As its kind of ending should be: nobody lives on, an interrupted build says so and leaves no temporary files."""
    if running.alive:
        return f"{len(running.alive)} of its processes lived on"
    if running.code not in DOCUMENTED and running.code != -number:
        return f"it ended with {running.code}: {running.output[-500:]}"
    if number == signal.SIGINT and running.code not in (0, 130, -number):
        return f"interrupted, it ended with {running.code}: {running.output[-500:]}"
    return "it showed a traceback" if "Traceback" in running.output and number != signal.SIGKILL else ""
