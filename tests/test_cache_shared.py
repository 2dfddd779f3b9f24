"""The cache between processes, on full disks, and at its limit: what is swept, evicted and said."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgec.cache import LAYOUT, Cache
from edgec.errors import EdgecError

BUILDER = """
import sys, time
from pathlib import Path
from edgec.cache import Cache

root, name, count, pause = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
cache = Cache(root)
print("ready", flush=True)
for index in range(count):
    def produce(folder):
        for part in range(20):
            (folder / f"part{part}").write_bytes(bytes([index % 256]) * 5000)
            time.sleep(pause)
    print(cache.stage(name, f"{index:04d}", produce), flush=True)
"""


def fill(text: str) -> Callable[[Path], None]:
    def produce(folder: Path) -> None:
        (folder / "result.txt").write_text(text)

    return produce


def never(folder: Path) -> None:
    raise AssertionError("the stage ran again")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def builder(root: Path, *, name: str = "stage", count: int, pause: float) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", BUILDER, str(root), name, str(count), str(pause)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def finish(process: subprocess.Popen[str]) -> list[str]:
    """The paths that it printed."""
    assert process.stdout is not None
    lines = process.stdout.read().splitlines()  # `communicate` loses what `readline` has buffered
    process.stdout.close()
    assert process.wait() == 0
    return lines


def entries(root: Path) -> list[Path]:
    return sorted((root / LAYOUT).glob("*/*"))


def assert_whole(entry: Path) -> None:
    index = json.loads((entry / "index.json").read_text())["files"]
    assert len(index) == 20
    assert {path.name: path.stat().st_size for path in (entry / "content").iterdir()} == dict.fromkeys(index, 5000)


def test_killed_at_any_moment_no_half_entry_is_seen_and_the_rest_is_swept(root: Path) -> None:
    interrupted = 0
    for attempt in range(12):
        process = builder(root, name=f"s{attempt}", count=1000, pause=0.0005)
        assert process.stdout is not None
        for _ in range(attempt % 3):
            process.stdout.readline()
        time.sleep(0.002 * attempt)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        interrupted += bool(list((root / "work").glob("*.tmp")))
        for entry in entries(root):
            assert_whole(entry)
        Cache(root).stage("after", str(attempt), fill("hello"))
        assert list((root / "work").iterdir()) == []
        shutil.rmtree(root / LAYOUT / "after")
    assert interrupted >= 3, "the kills did not hit builds at work"


def test_work_of_a_living_process_is_not_swept(root: Path) -> None:
    process = builder(root, count=1, pause=0.05)
    while not list((root / "work").glob("*.tmp")):
        time.sleep(0.005)
    Cache(root).stage("other", "k", fill("hello"))
    (path,) = finish(process)
    assert_whole(Path(path).parent)


def test_two_processes_make_the_same_entries_at_once(root: Path) -> None:
    processes = [builder(root, count=30, pause=0.0002) for _ in range(2)]
    printed = [finish(process) for process in processes]
    assert printed[0] == printed[1]
    assert len(printed[0]) == 30
    for entry in entries(root):
        assert_whole(entry)
    assert list((root / "work").iterdir()) == []


def test_the_least_recently_used_go_first(root: Path) -> None:
    def produce(folder: Path) -> None:
        (folder / "data").write_bytes(bytes(100_000))

    finish(builder(root, name="old", count=4, pause=0))
    for age, index in enumerate((2, 0, 3, 1)):
        os.utime(root / LAYOUT / "old" / f"{index:04d}", (age + 1, age + 1))
    Cache(root, limit_bytes=320_000).stage("new", "a", produce)
    assert {entry.name for entry in entries(root)} == {"a", "0001", "0003"}


@pytest.mark.parametrize("stamp", [2**33, 2**34 - 1])
def test_entries_from_a_clock_that_was_ahead_are_evicted_like_others(root: Path, stamp: int) -> None:
    """Else they would stay for years, and everything new would go before them."""

    def produce(folder: Path) -> None:
        (folder / "data").write_bytes(bytes(100_000))

    finish(builder(root, name="old", count=3, pause=0))
    ahead = [root / LAYOUT / "old" / f"{index:04d}" for index in range(3)]
    for entry in ahead:
        os.utime(entry, (stamp, stamp))
    Cache(root, limit_bytes=10**9).stage("first", "a", produce)
    assert all(entry.stat().st_mtime <= time.time() for entry in ahead)
    finish(builder(root, name="new", count=1, pause=0))
    Cache(root, limit_bytes=320_000).stage("last", "b", produce)
    names = {entry.name for entry in entries(root)}
    assert {"a", "b"} < names  # what this process uses
    assert len(names) == 3


@pytest.mark.parametrize("stamp", [-(2**31), -1, 0, 2**31, 2**34 - 1])
def test_a_whole_entry_is_used_whatever_its_time(root: Path, stamp: int) -> None:
    finish(builder(root, name="old", count=1, pause=0))
    entry = root / LAYOUT / "old" / "0000"
    for path in (entry, *entry.rglob("*")):
        os.utime(path, (stamp, stamp))
    assert Cache(root).stage("old", "0000", never) == entry / "content"


def test_a_hit_makes_an_entry_recent(root: Path) -> None:
    finish(builder(root, name="old", count=2, pause=0))
    first = root / LAYOUT / "old" / "0000"
    os.utime(first, (1, 1))
    assert Cache(root).stage("old", "0000", never) == first / "content"
    assert first.stat().st_mtime > 1


def test_entries_in_use_are_never_evicted(root: Path) -> None:
    cache = Cache(root, limit_bytes=1)
    paths = [cache.stage("mine", str(index), fill("x" * 1000)) for index in range(3)]
    del cache
    Cache(root, limit_bytes=1).stage("mine", "last", fill("x"))
    assert all((path / "result.txt").is_file() for path in paths)


def test_entries_in_use_by_another_process_are_not_evicted(root: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", BUILDER + "\nsys.stdin.read()", str(root), "held", "1", "0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "ready\n"
    held = Path(holder.stdout.readline().strip())
    Cache(root, limit_bytes=1).stage("mine", "a", fill("x"))
    assert held.is_dir()
    holder.communicate("")
    Cache(root, limit_bytes=1).stage("mine", "b", fill("x"))
    assert not held.exists()


def test_a_full_disk_is_reported_and_leaves_nothing(root: Path) -> None:
    def produce(folder: Path) -> None:
        (folder / "half").write_text("half")
        with Path("/dev/full").open("wb", buffering=0) as file:
            file.write(b"x")

    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(EdgecError, match="disk is full") as caught:
        Cache(root).stage("export", "abc", produce)
    assert "EDGEC_CACHE_DIR" in caught.value.remedy
    assert entries(root) == []
    assert list((root / "work").iterdir()) == []


def test_a_really_full_filesystem(tmp_path: Path) -> None:
    """In a mount namespace of its own, with a file system of 1 MB."""
    script = f"""
import sys
from pathlib import Path
from edgec.cache import Cache
from edgec.errors import EdgecError
root = Path({str(tmp_path)!r}) / "cache"
def large(folder):
    for part in range(100):
        (folder / str(part)).write_bytes(bytes(20_000))
def small(folder):
    (folder / "a").write_bytes(bytes(20_000))
try:
    Cache(root).stage("export", "large", large)
except EdgecError as error:
    print(error)
print((Cache(root).stage("export", "small", small) / "a").stat().st_size)
print([path.name for path in (root / "stages-1" / "export").iterdir()], list((root / "work").iterdir()))
"""
    command = f'mount -t tmpfs -o size=1m tmpfs {tmp_path} && exec {sys.executable} -c "$SCRIPT"'
    unshare = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    try:
        subprocess.run([*unshare, f"mount -t tmpfs tmpfs {tmp_path}"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("user namespaces are not to be had here")
    done = subprocess.run([*unshare, command], env={**os.environ, "SCRIPT": script}, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("The disk is full")
    assert done.stdout.splitlines()[-2:] == ["20000", "['small'] []"]


def test_a_cache_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EdgecError, match="cannot be written") as caught:
        Cache(tmp_path / "file" / "cache").stage("export", "abc", fill("hello"))
    assert "EDGEC_CACHE_DIR" in caught.value.remedy
