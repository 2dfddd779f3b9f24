"""Swapping two paths in one step, with Linux' call and with macOS'."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgec.onboard import files

SWAP = 2
"""RENAME_SWAP of macOS' <sys/stdio.h>."""


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    return tmp_path / "one", tmp_path / "other"


def swapped(two: tuple[Path, Path]) -> bool:
    one, other = two
    return (one / "other").exists() and (other / "one").exists()


def test_this_system_swaps(two: tuple[Path, Path]) -> None:
    assert files.exchange(*two) == swapped(two)


def test_macos_call_is_used_where_linux_has_none(two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def renamex_np(one: bytes, other: bytes, flags: int) -> int:
        assert flags == SWAP
        between = one + b".between"
        for source, destination in ((one, between), (other, one), (between, other)):
            Path(os.fsdecode(source)).rename(os.fsdecode(destination))
        return 0

    _pretend(monkeypatch, renamex_np=renamex_np)
    assert files.exchange(*two)
    assert swapped(two)


def test_a_system_with_neither_says_so(two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend(monkeypatch)
    assert not files.exchange(*two)
    assert not swapped(two)


def _pretend(monkeypatch: pytest.MonkeyPatch, **calls: Callable[..., int]) -> None:
    """The C library has these calls only."""
    monkeypatch.setattr(ctypes, "CDLL", lambda name, use_errno: SimpleNamespace(**calls))
