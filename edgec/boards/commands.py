"""What can be asked of a board: deploy, bench, status, rollback. Each is the device program's own command, run there."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgec.boards.artefact import BoardArtefact
from edgec.boards.results import bring_details, bring_measurements, keep, require_place
from edgec.boards.running import Command, Listener, Outcome, run
from edgec.boards.ssh import Connection
from edgec.errors import ArtefactError, EdgecError, NothingToDo
from edgec.records.report import Report

_CHANGED = "EngineChanged"
"""What the device program calls its refusal of an engine that is not what was verified (edgec_device/errors.py)."""


@dataclass(frozen=True)
class Board:
    """A board that is connected, with who listens to it, and what tells it to stop. `directory` is where things lie on it; by
    default ~/.local/share/edgec."""

    connection: Connection
    listener: Listener
    stop: threading.Event
    directory: str | None = None

    def run(self, artefact: BoardArtefact, command: str, *more: str, files: bool = False) -> Outcome:
        """Without `files` it has to do with what is there."""
        places = [] if self.directory is None else ["--root", self.directory]
        arguments = [command, "--json", "--bundle", "-", *places, *more]
        given = artefact.files if files else {}
        return run(self.connection, Command(artefact.program, arguments, artefact.document, given), self.listener, self.stop)


@dataclass(frozen=True)
class Deployed:
    """`active` is the path on the board that the robot loads. `copied` are the files that were sent."""

    report: Report
    report_path: Path
    details_path: Path
    active: str
    copied: tuple[str, ...]
    copied_bytes: int


def deploy(board: Board, artefact: BoardArtefact, options: Sequence[str] = ()) -> Deployed:
    """Copy what changed, have the board finish the artefact, bring its measurements home, and write the report of them.

    Raises what the board gave up for; its measurements are brought home all the same.
    """
    label = board.connection.address.label
    report_path, details_path = artefact.beside(label, "report.json"), artefact.beside(label, "details.json")
    require_place(report_path)
    require_place(details_path)
    outcome = board.run(artefact, "run-all", *options, files=True)
    path, active = _text(outcome, "measured", "path"), outcome.done.get("activate")
    if outcome.refusal is not None:
        raise _with_details(board, outcome.refusal, path, details_path)
    if path is None or active is None:
        raise ArtefactError("The board says that it is done, and not what became of it.", remedy="report this")
    report, content = bring_measurements(board.connection, path, artefact)
    keep(report_path, report.to_json().encode())
    keep(details_path, content)
    copied = outcome.done.get("copy")
    sent = () if copied is None else tuple(each for each in copied.files if isinstance(each, str))
    size = 0 if copied is None else copied.size_bytes or 0
    return Deployed(report, report_path, details_path, active.path or "", sent, size)


def bench(board: Board, artefact: BoardArtefact, iterations: int | None = None) -> Report:
    """Measure there again what is deployed. Raises `NothingToDo` if nothing is, `ArtefactError` if that has changed since it was
    verified."""
    more = [] if iterations is None else ["--iterations", str(iterations)]
    outcome = board.run(artefact, "bench", *more)
    refusal = outcome.refusal
    changed = outcome.error is not None and outcome.error.kind == _CHANGED
    if isinstance(refusal, (NothingToDo, ArtefactError)) and not changed:
        given, where = board.connection.address.given, "" if board.directory is None else f" --dir {board.directory}"
        raise NothingToDo(
            f"There is nothing to measure on {given}: this artefact is not deployed there.",
            evidence=[refusal.what, *refusal.evidence],
            remedy=f"edgec deploy {artefact.directory} {given}{where}",
        )
    if refusal is not None:
        raise refusal
    path = _text(outcome, "measured", "path")
    if path is None:
        raise ArtefactError("The board says that it has measured, and gives no figures.", remedy="report this")
    return bring_measurements(board.connection, path, artefact)[0]


def ask(board: Board, artefact: BoardArtefact, command: str) -> dict[str, Any]:
    """`status` or `rollback`: the event that answers, as it came."""
    outcome = board.run(artefact, command)
    if outcome.refusal is not None:
        raise outcome.refusal
    answer = outcome.events.get("status" if command == "status" else "done")
    if answer is None:
        raise ArtefactError("The board says that it is done, and not what became of it.", remedy="report this")
    return answer


def _with_details(board: Board, refusal: EdgecError, path: str | None, destination: Path) -> EdgecError:
    if path is not None:
        with suppress(EdgecError):  # what the board gave up for matters more
            bring_details(board.connection, path, destination)
            refusal.evidence = (*refusal.evidence, f"everything that is known of it: {destination}")
    return refusal


def _text(outcome: Outcome, event: str, name: str) -> str | None:
    value = outcome.events.get(event, {}).get(name)
    return value if isinstance(value, str) else None
