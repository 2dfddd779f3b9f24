from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import pytest

from benchmarks.flips import flip
from edgec.cache import LAYOUT, Cache, cache_root, cache_size, key
from edgec.durable import sha256_of
from edgec.errors import RequestError


def fill(text: str) -> Callable[[Path], None]:
    def produce(folder: Path) -> None:
        (folder / "result.txt").write_text(text)

    return produce


def never(folder: Path) -> None:
    raise AssertionError("the stage ran again")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def entries(root: Path) -> list[Path]:
    return sorted((root / LAYOUT).glob("*/*"))


def test_a_hit_runs_nothing_and_survives_the_process(root: Path) -> None:
    first = Cache(root).stage("export", "abc", fill("hello"))
    second = Cache(root).stage("export", "abc", never)
    assert first == second
    assert (second / "result.txt").read_text() == "hello"


def test_stages_and_keys_do_not_collide(root: Path) -> None:
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


def test_an_additional_file_is_damage(root: Path) -> None:
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


def test_digests_are_those_of_the_files_that_were_written(root: Path) -> None:
    cache = Cache(root)
    content = cache.stage("export", "abc", fill("hello"))
    expected = {"result.txt": sha256_of(content / "result.txt")}
    assert cache.digests(content) == expected
    other = Cache(root)
    assert other.digests(other.stage("export", "abc", never)) == expected


def test_only_the_user_can_read_it(root: Path) -> None:
    content = Cache(root).stage("export", "abc", fill("hello"))
    for folder in (content.parent, content.parent.parent, root / LAYOUT, root / "work", root):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder


def test_copies_have_the_umask_s_permissions(root: Path, tmp_path: Path) -> None:
    previous = os.umask(0o022)
    try:
        shutil.copytree(Cache(root).stage("export", "abc", fill("hello")), tmp_path / "copy")
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o755


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
        with pytest.raises(RequestError, match="not a size"):
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


def test_a_key_depends_on_every_part() -> None:
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
def test_values_without_a_canonical_form_are_refused(part: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        key(part)


def test_a_key_stays_the_same_in_another_process() -> None:
    script = "from edgec.cache import key; print(key('a', {'b': 1.5}))"
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    assert printed == key("a", {"b": 1.5})
