from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import pytest

from benchmarks.flips import flip
from edgec.cache import LAYOUT, Cache, cache_root, cache_size, key
from edgec.durable import sha256_of
from edgec.errors import EdgecError, RequestError

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


def test_a_hit_runs_nothing_and_survives_the_process(root: Path) -> None:
    first = Cache(root).stage("export", "abc", fill("hello"))
    second = Cache(root).stage("export", "abc", never)
    assert first == second
    assert (second / "result.txt").read_text() == "hello"


def test_stages_and_keys_do_not_meet(root: Path) -> None:
    cache = Cache(root)
    paths = [cache.stage(name, key, fill(f"{name} {key}")) for name in ("export", "lower") for key in ("a", "b")]
    texts = [(path / "result.txt").read_text() for path in paths]
    assert texts == ["export a", "export b", "lower a", "lower b"]


def test_a_stage_may_use_another(root: Path) -> None:
    cache = Cache(root)

    def outer(folder: Path) -> None:
        inner = cache.stage("inner", "k", fill("inside"))
        (folder / "copy").write_text((inner / "result.txt").read_text())

    assert (cache.stage("outer", "k", outer) / "copy").read_text() == "inside"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("no"), PermissionError(errno.EACCES, "no", "/elsewhere")])
def test_a_stage_that_fails_leaves_nothing_and_its_error_passes_through(root: Path, error: BaseException) -> None:
    def produce(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise error

    with pytest.raises(type(error)) as caught:
        Cache(root).stage("export", "abc", produce)
    assert caught.value is error
    assert entries(root) == []
    assert list((root / "work").iterdir()) == []


def damage_remove(file: Path) -> None:
    file.unlink()


def damage_truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def damage_flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[0] ^= 1
    file.write_bytes(data)


def damage_index(file: Path) -> None:
    (file.parent.parent / "index.json").write_text('{"result.txt": [')


def damage_no_index(file: Path) -> None:
    (file.parent.parent / "index.json").unlink()


def damage_no_content(file: Path) -> None:
    shutil.rmtree(file.parent)


def damage_to_a_file(file: Path) -> None:
    entry = file.parent.parent
    shutil.rmtree(entry)
    entry.write_text("a file where an entry should be")


@pytest.mark.parametrize(
    "damage",
    [damage_remove, damage_truncate, damage_flip, damage_index, damage_no_index, damage_no_content, damage_to_a_file],
)
def test_a_damaged_entry_is_built_again(root: Path, damage: Callable[[Path], None]) -> None:
    damage(Cache(root).stage("export", "abc", fill("hello")) / "result.txt")
    again = Cache(root).stage("export", "abc", fill("again"))
    assert (again / "result.txt").read_text() == "again"
    assert Cache(root).stage("export", "abc", never) == again
    assert list((root / "work").iterdir()) == []


@pytest.mark.parametrize("position", [0, 1_234_567, 2_999_999])
def test_one_flipped_bit_in_a_large_file_is_noticed(root: Path, position: int) -> None:
    def produce(folder: Path) -> None:
        (folder / "weights.bin").write_bytes(bytes(3_000_000))

    weights = Cache(root).stage("export", "abc", produce) / "weights.bin"
    status = weights.stat()
    flip(weights, position, 3)
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
    said: list[str] = []
    again = Cache(root, note=said.append).stage("export", "abc", produce) / "weights.bin"
    assert not any(again.read_bytes())
    assert said == [f"A cached result was damaged and is made again: export, in {root}."]
    assert Cache(root, note=said.append).stage("export", "abc", never) == again.parent
    assert len(said) == 1


def test_a_file_more_is_damage(root: Path) -> None:
    content = Cache(root).stage("export", "abc", fill("hello"))
    (content / "more.txt").write_text("who knows")
    again = Cache(root).stage("export", "abc", fill("again"))
    assert [path.name for path in again.iterdir()] == ["result.txt"]


def test_any_flipped_bit_of_an_index_is_noticed(root: Path) -> None:
    index = Cache(root).stage("export", "abc", fill("hello")).parent / "index.json"
    for position in range(index.stat().st_size):
        flip(index, position, position % 8)
        said: list[str] = []
        Cache(root, note=said.append).stage("export", "abc", fill("hello"))
        assert len(said) == 1, f"byte {position}"


def test_a_file_is_hashed_once_a_process_while_it_stays_as_it_is(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = Cache(root).stage("export", "abc", fill("hello"))
    hashed: list[Path] = []

    def counted(path: Path) -> str:
        hashed.append(path)
        return sha256_of(path)

    monkeypatch.setattr("edgec.cache.sha256_of", counted)
    for _ in range(3):
        Cache(root).stage("export", "abc", never)
    assert hashed == [content / "result.txt"]
    assert Cache(root).stage("export", "abc", never) == content


def test_it_says_what_its_stages_wrote(root: Path) -> None:
    cache = Cache(root)
    content = cache.stage("export", "abc", fill("hello"))
    expected = {"result.txt": sha256_of(content / "result.txt")}
    assert cache.digests(content) == expected
    other = Cache(root)
    assert other.digests(other.stage("export", "abc", never)) == expected


def test_only_the_user_can_look_in(root: Path) -> None:
    content = Cache(root).stage("export", "abc", fill("hello"))
    for folder in (content.parent, content.parent.parent, root / LAYOUT, root / "work", root):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder


def test_what_is_copied_out_is_as_open_as_the_umask_says(root: Path, tmp_path: Path) -> None:
    previous = os.umask(0o022)
    try:
        shutil.copytree(Cache(root).stage("export", "abc", fill("hello")), tmp_path / "copy")
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o755


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


def test_what_a_living_process_makes_is_not_swept(root: Path) -> None:
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
def test_entries_of_a_clock_that_was_ahead_go_as_others_do(root: Path, stamp: int) -> None:
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
def test_whatever_the_clock_said_a_whole_entry_is_used(root: Path, stamp: int) -> None:
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


def test_a_full_disk_is_said_and_leaves_nothing(root: Path) -> None:
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


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EdgecError, match="cannot be written") as caught:
        Cache(tmp_path / "file" / "cache").stage("export", "abc", fill("hello"))
    assert "EDGEC_CACHE_DIR" in caught.value.remedy


def test_the_folder_and_its_size(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEC_CACHE_DIR", str(root))
    assert cache_root() == root
    assert cache_size() == 0
    Cache().stage("export", "abc", fill("x" * 12345))
    assert 12345 < cache_size() < 13000
    monkeypatch.delenv("EDGEC_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(root / "xdg"))
    assert cache_root().name == "edgec"


def test_the_limit_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Cache().limit_bytes == 10_000_000_000
    monkeypatch.setenv("EDGEC_CACHE_LIMIT_GB", "0.5")
    assert Cache().limit_bytes == 500_000_000
    for nonsense in ("ten", "-1", "nan", "inf"):
        monkeypatch.setenv("EDGEC_CACHE_LIMIT_GB", nonsense)
        with pytest.raises(RequestError, match="no size"):
            Cache()


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True)
class Square:
    side: int
    read: Callable[[], int] = field(default=lambda: 0, compare=False)


@dataclass(frozen=True)
class Circle:
    side: int


def test_a_key_says_what_it_is_over() -> None:
    parts = ("a", 1, 1.5, None, True, {"b": [1], "a": Path("x/y")}, Colour.RED, Square(2))
    assert key(*parts) == key("a", 1, 1.5, None, True, {"a": Path("x/y"), "b": (1,)}, Colour.RED, Square(2, lambda: 1))
    others = [
        ("a",),
        ("a", "b"),
        (["a", "b"],),
        ("ab",),
        (1,),
        (1.0,),
        ("1",),
        (True,),
        (Square(1),),
        (Circle(1),),
        (Colour.RED,),
    ]
    assert len({key(*other) for other in others}) == len(others)
    assert key("\udc80") != key("\udc81")


@pytest.mark.parametrize("part", [{1, 2}, {1: 2}, object(), b"bytes", float("nan")])
def test_what_has_no_canonical_form_is_no_key(part: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        key(part)


def test_a_key_stays_the_same_in_another_process() -> None:
    script = "from edgec.cache import key; print(key('a', {'b': 1.5}))"
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    assert printed == key("a", {"b": 1.5})
