"""Standard output as shells and programs hand it over."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.commands import environment

SWAPPED = """
import os, sys
print("first", flush=True)
read, write = os.pipe()
os.dup2(write, 1)
from edgec.cli import run
code = run(["--version"])
sys.stdout.flush()
sys.stderr.write(os.read(read, 1000).decode())
sys.exit(code)
"""


def test_a_file_that_has_become_a_pipe(tmp_path: Path) -> None:
    """A program that forks and redirects, as build servers do."""
    with (tmp_path / "log").open("wb") as log:
        done = subprocess.run(
            [sys.executable, "-c", SWAPPED], stdout=log, stderr=subprocess.PIPE, env=environment(), timeout=600, check=False
        )
    assert done.returncode == 0, done.stderr
    assert b"edgec" in done.stderr
    assert (tmp_path / "log").stat().st_size == len("first\n")
