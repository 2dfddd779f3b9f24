"""The command line in a process of its own, as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

SECONDS = 600


def environment(cache: Path | None = None, **more: str) -> dict[str, str]:
    """This process's own, without what would make output depend on the terminal that runs the tests."""
    kept = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "COLUMNS", "NO_COLOR", "TERM")}
    return kept | {"COLUMNS": "120"} | ({} if cache is None else {"EDGEC_CACHE_DIR": str(cache)}) | more


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "edgec", *map(str, arguments)]


def edgec(
    *arguments: str | Path, cwd: Path, cache: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        cwd=cwd,
        env=environment(cache) | dict(env or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def python(
    code: str, *arguments: str | Path, cwd: Path, cache: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Code in a fresh interpreter, warnings as errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        cwd=cwd,
        env=environment(cache) | dict(env or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def run_in(place: Path, program: str, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A program of the virtual environment at `place`, which knows nothing of this checkout."""
    env = environment(cwd / "cache", HOME=str(cwd))
    env.pop("PYTHONPATH", None)
    return subprocess.run(
        [place / "bin" / program, *arguments],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
