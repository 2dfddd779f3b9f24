"""Ctrl-C that Python drops by itself: in a destructor, where it only complains."""

from __future__ import annotations

import ctypes
import signal
import sys
from collections.abc import Iterator

import pytest

from edgec.cli.interrupts import Interrupts
from edgec.cli.progress import BuildDisplay


class _Stack(ctypes.Structure):
    _fields_ = (("place", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@pytest.fixture(autouse=True)
def _usual_signal_stack() -> None:
    """OpenVINO 2026.4 gives the thread a signal stack with each compiled model, and puts the one before back when a model goes.
    Of models that do not go in the reverse order that leaves one that is freed, as in the tests of lowerings before these: the
    next signal that Python handles would be the process's last."""
    if sys.platform == "linux":
        disable = _Stack(None, 2, 0)
        assert ctypes.CDLL(None).sigaltstack(ctypes.byref(disable), None) == 0


@pytest.fixture(autouse=True)
def _heard() -> Iterator[None]:
    """Shells start their background jobs with the interrupt ignored, CI's among them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Finaliser:
    """Is interrupted while it goes away."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def lose_an_interrupt() -> None:
    thing = Finaliser()
    del thing


def test_python_drops_an_interrupt_in_a_destructor(monkeypatch: pytest.MonkeyPatch) -> None:
    complaints: list[type] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda lost: complaints.append(lost.exc_type))
    lose_an_interrupt()
    assert complaints == [KeyboardInterrupt]


def test_a_dropped_interrupt_is_raised_at_the_next_check_and_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    with Interrupts() as interrupts:
        interrupts.check()
        lose_an_interrupt()
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
    assert capfd.readouterr() == ("", "")


def test_other_complaints_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def __del__(self) -> None:
            raise ZeroDivisionError

    complaints: list[type] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda lost: complaints.append(lost.exc_type))
    with Interrupts() as interrupts:
        thing = Broken()
        del thing
        interrupts.check()
    assert complaints == [ZeroDivisionError]


def test_an_interrupt_that_is_not_dropped_is_raised_at_once() -> None:
    with Interrupts(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_hooks_and_handlers_are_restored() -> None:
    before = signal.getsignal(signal.SIGINT), sys.unraisablehook
    with Interrupts():
        assert signal.getsignal(signal.SIGINT) is not before[0]
    assert (signal.getsignal(signal.SIGINT), sys.unraisablehook) == before


def test_interrupts_that_a_shell_ignores_stay_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for `nohup edgec build … &`."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            signal.raise_signal(signal.SIGINT)
            interrupts.check()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_progress_raises_an_interrupt_at_the_next_step() -> None:
    done = 0

    def work() -> None:
        nonlocal done
        with BuildDisplay() as progress, progress.stage("calibrate", 3) as step:
            step()
            lose_an_interrupt()
            done += 1
            step()
            done += 1

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == 1


def test_progress_raises_an_interrupt_at_the_end_of_a_stage() -> None:
    def work() -> None:
        with BuildDisplay() as progress:
            with progress.stage("export the hub graph"):
                lose_an_interrupt()
            pytest.fail("went on")

    with pytest.raises(KeyboardInterrupt):
        work()


def test_an_interrupt_that_a_library_turned_into_an_error_is_an_interrupt() -> None:
    def work() -> None:
        with BuildDisplay() as progress, progress.stage("export the hub graph"):
            lose_an_interrupt()
            raise RuntimeError("the library was interrupted")

    with pytest.raises(KeyboardInterrupt):
        work()
