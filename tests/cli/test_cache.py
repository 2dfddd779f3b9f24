"""`edgec cache`: what it lists, and what it removes and leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgec.cache import LAYOUT, Cache

Said = Callable[..., tuple[int, str, str]]
MAKER = """
import sys
from pathlib import Path
from edgec.cache import Cache

cache = Cache(Path(sys.argv[1]))
for stage, key in (each.split("/") for each in sys.argv[2].split(",")):
    cache.stage(stage, key, lambda folder: (folder / "data").write_bytes(bytes(100_000)))
print("made", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of three results, 10, 5 and 0 days old, made by another process: this one would count as using them."""
    root = tmp_path / "cache"
    monkeypatch.setenv("EDGEC_CACHE_DIR", str(root))
    names = ["export/old", "lower/middle", "export/new"]
    subprocess.run(
        [sys.executable, "-c", MAKER, root, ",".join(names)], stdin=subprocess.DEVNULL, check=True, capture_output=True
    )
    for name, days in zip(names, (10, 5, 0), strict=True):
        os.utime(root / LAYOUT / name, times=(time.time() - 86_400 * days,) * 2)
    return root


def left(root: Path) -> set[str]:
    return {path.name for path in (root / LAYOUT).glob("*/*")}


def test_what_is_there(say: Said, root: Path) -> None:
    code, out, err = say("cache")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[1].split()[:4] == ["export", "2", "0.2", "MB"]
    assert lines[2].split()[:4] == ["lower", "1", "0.1", "MB"]
    assert f"{root}: 0.3 MB of at most 10.00 GB" in out
    code, out, _ = say("cache", "list", "--entries")
    assert [line.split()[1] for line in out.splitlines()[1:4]] == ["old", "middle", "new"]
    told = json.loads(say("cache", "list", "--json")[1])
    assert [entry["key"] for entry in told["entries"]] == ["old", "middle", "new"]
    assert told["limit_bytes"] == 10**10


def test_what_was_used_longest_ago_goes_first(say: Said, root: Path) -> None:
    assert say("cache", "prune")[:2] == (0, f"removed: 0 results, 0.0 MB\nin the cache: 0.3 MB, at {root}\n")
    code, out, _ = say("cache", "prune", "--to", "0.00025", "--dry-run")
    assert (code, left(root)) == (0, {"old", "middle", "new"})
    assert "would be removed: 1 result, 0.1 MB" in out
    assert say("cache", "prune", "--to", "0.00025")[0] == 0
    assert left(root) == {"middle", "new"}
    assert say("cache", "prune", "--unused-for", "3")[0] == 0
    assert left(root) == {"new"}
    told = json.loads(say("cache", "prune", "--to", "0", "--json")[1])
    assert ([entry["key"] for entry in told["removed"]], told["in_use"], told["bytes"]) == (["new"], [], 0)
    assert say("cache", "list")[0] == 0


def test_the_limit_of_the_environment(say: Said, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEC_CACHE_LIMIT_GB", "0.00015")
    assert say("cache", "prune")[0] == 0
    assert left(root) == {"new"}


def test_what_a_running_build_uses_stays(say: Said, root: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", MAKER, root, "export/old"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "made\n"
    code, out, _ = say("cache", "prune", "--to", "0")
    assert (code, left(root)) == (0, {"old"})
    assert "in use and kept: 1 result" in out
    process.communicate("")
    assert say("cache", "prune", "--to", "0")[0] == 0
    assert left(root) == set()


def test_what_this_process_uses_stays(root: Path) -> None:
    cache = Cache(root)
    content = cache.stage("export", "mine", lambda folder: (folder / "data").write_text("x"))
    removed, busy = cache.prune(0)
    assert {entry.path.name for entry in removed} == {"old", "middle", "new"}
    assert [entry.path for entry in busy] == [content.parent]
