"""What the command lines of all programs on boards have in common: signals, exit codes, folders, numbers."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from .errors import BoardError, Interrupted, UsageError
from .text import shorten

BUG = 70


def run_guarded(
    work: Callable[[], None], print_error: Callable[[BoardError], None], from_os_error: Callable[[OSError], BoardError]
) -> int:
    """Do the work and return the exit code. `print_error` is called with an error; `from_os_error` translates those of the
    operating system."""
    try:
        for signum in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(signum) is not signal.SIG_IGN:  # as nohup does with SIGHUP
                signal.signal(signum, _interrupt)
        work()
    except BoardError as error:
        print_error(error)
        return error.exit_code
    except BrokenPipeError:
        # The reader of the output is gone.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        translated = from_os_error(error)
        print_error(translated)
        return translated.exit_code
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Interrupted as interruption:
        return interruption.exit_code
    except Exception:
        traceback.print_exc()
        print("This is a bug in edgec: please report it, with the lines above.", file=sys.stderr, flush=True)
        return BUG
    return 0


def folder(text: str, option: str) -> Path:
    """The path that `option` names. Raises `UsageError` for one that no file can have here: an unknown user, a NUL, a name that
    is too long."""
    try:
        path = Path(text).expanduser().absolute()
        path.exists()
    except PermissionError:
        return path
    except (RuntimeError, ValueError, OSError) as error:
        raise UsageError(
            f"{shorten(text, 60)!r} cannot be a folder here.",
            evidence=[shorten(str(error), 200)],
            remedy=f"give another one with {option}",
        ) from error
    return path


def enclosing_artefact() -> str:
    """The artefact that this program is part of: its archive is ARTEFACT/device/NAME.pyz."""
    return str(Path(sys.argv[0]).resolve().parent.parent)


def whole_number_up_to(most: int) -> Callable[[str], int]:
    """For argparse: a whole number from 1 to `most`."""

    def parse(text: str) -> int:
        # `int` also takes other alphabets' digits, and refuses thousands of digits in words of its own.
        value = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(most)) else 0
        if not 0 < value <= most:
            raise argparse.ArgumentTypeError(f"{shorten(text, 40)} is not a whole number from 1 to {most:,}")
        return value

    return parse


def seconds_up_to(most: float) -> Callable[[str], float]:
    """For argparse: a positive number of at most `most`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not 0 < value <= most:
            raise argparse.ArgumentTypeError(f"{shorten(text, 40)} is not a positive number of at most {most:,.0f}")
        return value

    return parse


def _interrupt(signum: int, frame: object) -> None:
    raise Interrupted(signum)
