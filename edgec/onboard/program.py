"""How a program on a board begins and ends: signals, exit codes, the folders that it is given."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from .errors import BoardError, Interrupted, UsageError
from .text import shorten

BUG = 70


def guarded(work: Callable[[], None], refuse: Callable[[BoardError], None], refusal: Callable[[OSError], BoardError]) -> int:
    """Does the work; its exit code. `refuse` is told of errors; `refusal` makes one of an error of the operating system."""
    try:
        for signum in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(signum) is not signal.SIG_IGN:  # as nohup does with SIGHUP
                signal.signal(signum, _interrupt)
        work()
    except BoardError as error:
        refuse(error)
        return error.exit_code
    except BrokenPipeError:
        # Whoever listened is gone.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        found = refusal(error)
        refuse(found)
        return found.exit_code
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Interrupted as interruption:
        return interruption.exit_code
    except Exception:
        traceback.print_exc()
        print("This is a bug in edgec: please report it, with the lines above.", file=sys.stderr, flush=True)
        return BUG
    return 0


def folder(given: str, option: str) -> Path:
    """Raises `UsageError` for what is no path here: nobody of that name, a NUL, a name that is too long."""
    try:
        path = Path(given).expanduser().absolute()
        path.exists()
    except PermissionError:
        return path
    except (RuntimeError, ValueError, OSError) as error:
        raise UsageError(
            f"There can be no folder {shorten(given, 60)!r} here.",
            evidence=[shorten(str(error), 200)],
            remedy=f"give another one with {option}",
        ) from error
    return path


def own_artefact() -> str:
    """The one that this program lies in: its archive is ARTEFACT/device/NAME.pyz."""
    return str(Path(sys.argv[0]).resolve().parent.parent)


def _interrupt(signum: int, frame: object) -> None:
    raise Interrupted(signum)
