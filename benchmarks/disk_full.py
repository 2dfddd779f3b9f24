"""Builds whose disk is too small, by a little or by much: the cache's, the output's, that of temporary files, or all three's."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random

from benchmarks.disturbed import DOCUMENTED, FAMILIES, Figures, Forked, Workplace, remains

_OWN_MOUNTS = "EDGEC_BENCHMARKS_OWN_MOUNTS"
_NEW_MOUNTS = 0x20000
"""CLONE_NEWNS of linux/sched.h."""
_PLACES = ("cache", "out", "tmp")
_ENOUGH = "size=256m"


def in_own_mounts() -> int | None:
    """Run this command again where its mounts are its own and end with it; the exit code. None where that is so already, or has
    become so for this process, as root may ask for.

    Raises `RuntimeError` if this user may not mount anything.
    """
    if os.environ.get(_OWN_MOUNTS) or (os.geteuid() == 0 and _left_others_mounts()):
        return None
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        raise RuntimeError("small disks cannot be mounted here: that takes root, or user namespaces")
    command = [*unshare, sys.executable, "-m", "benchmarks", *sys.argv[1:]]
    return subprocess.run(command, env={**os.environ, _OWN_MOUNTS: "1"}, check=False).returncode


def _left_others_mounts() -> bool:
    try:
        alone = ctypes.CDLL(None).unshare(_NEW_MOUNTS) == 0
    except (OSError, AttributeError):  # no Linux
        return False
    return alone and subprocess.run(["mount", "--make-rprivate", "/"], capture_output=True, check=False).returncode == 0


def run(count: int, seed: int, listener: Callable[[int, str], None] = lambda turn, problem: None) -> Figures:
    """Each ends with a documented code and keeps nothing half; with more room the same command succeeds, as if undisturbed."""
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="edgec-full-", ignore_cleanup_errors=True) as name:
        workplace = Workplace(Path(name))
        for turn in range(count):
            place = Path(name, "turn")
            place.mkdir()
            mounted: list[Path] = []
            try:
                problem = _turn(workplace, place, Random(f"{seed}:{turn}"), figures, mounted)
            finally:
                for each in mounted:
                    subprocess.run(["umount", "--lazy", each], check=True)
                shutil.rmtree(place, ignore_errors=True)
            figures.tried += 1
            if problem:
                figures.problems.append(f"turn {turn}: {problem}")
            listener(turn, problem)
    return figures


def _turn(workplace: Workplace, place: Path, random: Random, figures: Figures, mounted: list[Path]) -> str:
    family = random.choice(FAMILIES)
    reference = workplace.reference(family)
    places = {name: place / name for name in _PLACES}
    needed = {"cache": reference.cache_bytes, "out": reference.output_bytes, "tmp": reference.cache_bytes}
    small = random.choice([(name,) for name in _PLACES] + [("cache", "out")])
    sizes = {name: int(needed[name] * random.uniform(0.0, 1.3)) // 4096 * 4 + 8 for name in small}
    for name, folder in places.items():
        folder.mkdir()
        if name in sizes:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={sizes[name]}k", "edgec-benchmarks", folder], check=True)
            mounted.append(folder)
    output, cache = places["out"] / "made.edgec", places["cache"]
    what = f"{family}, " + ", ".join(f"{name} of {kilobytes} kB" for name, kilobytes in sizes.items())
    running = Forked(workplace.arguments(family, output), cache, places["tmp"])
    code = running.finish()
    figures.count("enough room" if code == 0 else f"exit code {code}")
    if code not in DOCUMENTED or "Traceback" in running.output:
        return f"{what}: it ended with {code}: {running.output[-1500:]}"
    if code == 0:
        return _finished(workplace, what, family, output, cache)
    if output.exists():
        return f"{what}: it ended with {code}, and something is at the output"
    if left := remains(places["out"], cache):
        return f"{what}: left behind: {left}"
    for folder in mounted:
        subprocess.run(["mount", "-o", f"remount,{_ENOUGH}", folder], check=True)
    again = Forked(workplace.arguments(family, output), cache, places["tmp"])
    if again.finish():
        return f"{what}: with more room it ended with {again.code}: {again.output[-1500:]}"
    return _finished(workplace, what, family, output, cache)


def _finished(workplace: Workplace, what: str, family: str, output: Path, cache: Path) -> str:
    if problem := workplace.differs(output, family):
        return f"{what}: built: {problem}"
    left = remains(output.parent, cache)
    return f"{what}: not swept up: {left}" if left else ""
