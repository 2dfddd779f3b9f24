"""What a build costs: time on the clock, and memory at its peak."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table


def measure_builds(checkpoint: str, calibration: str, size: str) -> None:
    """Builds twice with a cache of its own and prints both."""
    table = Table("build", "seconds", "peak RSS MB, largest process", "peak RSS MB, all together", box=None)
    with tempfile.TemporaryDirectory() as folder:
        for title in ("cold", "cached, same place", "cached, another place"):
            output = Path(folder) / ("second.edgec" if "another" in title else "first.edgec")
            seconds, largest, together = build_once(checkpoint, calibration, size, output, Path(folder) / "cache")
            table.add_row(title, f"{seconds:.1f}", f"{largest / 1e6:.0f}", f"{together / 1e6:.0f}")
    Console().print(table)


def build_once(checkpoint: str, calibration: str, size: str, output: Path, cache: Path, *options: str) -> tuple[float, int, int]:
    """`edgec build` in a process of its own: seconds, and peak RSS in bytes of the largest process and of all together."""
    command = [sys.executable, "-m", "edgec", "build", checkpoint, "--target", "cpu", "--calibration", calibration]
    command += ["--input-size", size, "-o", str(output), *options]
    begun = time.monotonic()
    with subprocess.Popen(command, env={**os.environ, "EDGEC_CACHE_DIR": str(cache)}, stdout=subprocess.DEVNULL) as process:
        root = psutil.Process(process.pid)
        largest = together = 0
        while process.poll() is None:
            sizes = [_resident(each) for each in (root, *_children(root))]
            largest, together = max(largest, *sizes), max(together, sum(sizes))
            time.sleep(0.02)
        seconds = time.monotonic() - begun
    if process.returncode:
        raise SystemExit(f"the build failed with exit code {process.returncode}")
    return seconds, largest, together


def _children(root: psutil.Process) -> list[psutil.Process]:
    try:
        return list(root.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
