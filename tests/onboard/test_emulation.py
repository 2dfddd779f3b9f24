"""Emulation is told from the kernel's own word and from the program that it runs; `tests/arm64` sees it under a real emulator."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from edgec.onboard.emulation import emulated_on


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """Without the kernel's word, and without a program: what a system without /proc shows."""
    return tmp_path / "proc"


def run_program(proc: Path, machine: int, *, big: bool = False, task: bool = False) -> None:
    """A program of this `e_machine`, as the process's own."""
    order = "big" if big else "little"
    head = b"\x7fELF\x02" + (b"\x02" if big else b"\x01") + bytes(12) + machine.to_bytes(2, order)
    place = proc / "self" / "task" / str(os.getpid()) if task else proc / "thread-self"
    place.mkdir(parents=True)
    (place / "exe").write_bytes(head)


def say(proc: Path, architecture: str) -> None:
    (proc / "sys" / "kernel").mkdir(parents=True)
    (proc / "sys" / "kernel" / "arch").write_text(f"{architecture}\n")


def test_this_machine_is_what_it_says() -> None:
    assert emulated_on() is None


@pytest.mark.parametrize("stated", ["aarch64", "arm64", "armv7l"])
def test_the_kernels_word_counts(proc: Path, stated: str) -> None:
    say(proc, "x86_64")
    assert emulated_on(stated, proc) == "x86_64"


@pytest.mark.parametrize("task", [False, True])
def test_so_does_the_program(proc: Path, task: bool) -> None:
    run_program(proc, 62, task=task)
    assert emulated_on("aarch64", proc) == "x86_64"
    assert emulated_on("x86_64", proc) is None


def test_x86_imitated_on_arm(proc: Path) -> None:
    run_program(proc, 183)
    assert emulated_on("x86_64", proc) == "aarch64"


@pytest.mark.parametrize(
    ("stated", "kernel", "program"), [("armv8l", "aarch64", 40), ("i686", "x86_64", 3), ("aarch64", "aarch64", 183)]
)
def test_a_smaller_word_length_is_no_emulation(proc: Path, stated: str, kernel: str, program: int) -> None:
    say(proc, kernel)
    run_program(proc, program)
    assert emulated_on(stated, proc) is None


def test_nothing_is_claimed_of_the_unknown(proc: Path) -> None:
    assert emulated_on("aarch64", proc) is None
    run_program(proc, 9999)
    assert emulated_on("aarch64", proc) is None
    assert emulated_on("a machine of tomorrow", proc) is None
    (proc / "thread-self" / "exe").write_bytes(b"\x7fELF")
    assert emulated_on("aarch64", proc) is None


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_the_real_program_is_read(tmp_path: Path) -> None:
    """The interpreter of these tests, under another machine's name."""
    other = {"x86_64": "aarch64", "aarch64": "x86_64"}.get(os.uname().machine)
    if other is None:
        pytest.skip("a machine of another kind")
    (tmp_path / "thread-self").mkdir()
    shutil.copy(sys.executable, tmp_path / "thread-self" / "exe")
    assert emulated_on(other, tmp_path) == os.uname().machine
