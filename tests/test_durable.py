"""Files that appear whole or not at all. Directories: `tests/artefact/test_write.py`, `tests/test_cache.py`."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from edgec.durable import publish, scratch, write_whole


def test_a_file_replaces_an_older_one_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a report.json"
    for content in (b"first", b"", b"\0 third"):
        write_whole(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_the_content_is_on_the_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, order = tmp_path / "file", []
    flush, rename = os.fsync, Path.replace

    def flushed(descriptor: int) -> None:
        order.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        flush(descriptor)

    def renamed(made: Path, target: Path) -> Path:
        order.append(target)
        return rename(made, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(Path, "replace", renamed)
    write_whole(path, b"x")
    assert [each.name for each in order] == ["file", "file", tmp_path.name]
    assert order[0].parent != tmp_path


def test_a_failed_write_leaves_the_older_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_in_the_way_stays(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_whole(tmp_path / "folder", b"x")
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


def test_a_file_from_elsewhere_is_published_in_the_same_way(tmp_path: Path) -> None:
    with scratch(tmp_path) as work:
        (work / "picture").write_bytes(b"pixels")
        publish(work / "picture", tmp_path / "picture.png")
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("picture.png", b"pixels")]
