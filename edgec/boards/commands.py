"""The commands for a board: deploy, bench, status, rollback. Each runs a command of the device program there."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgec.boards import packages
from edgec.boards.artefact import BoardArtefact
from edgec.boards.events import Event
from edgec.boards.results import fetch_details, fetch_measurements, require_valid_name, save
from edgec.boards.running import Command, CommandResult, Listener, run
from edgec.boards.ssh import Connection
from edgec.boards.ssh_errors import misbehaves
from edgec.errors import ArtefactError, EdgecError, NothingToDo
from edgec.records.report import Report

_CHANGED = "EngineChanged"
"""The device program's error for an engine that is not what was verified (edgec_device/errors.py)."""


@dataclass(frozen=True)
class Board:
    """A connected board. `listener` is called with its events, `stop` ends what runs on it. `directory` is the folder that the
    device program uses there, by default ~/.local/share/edgec."""

    connection: Connection
    listener: Listener
    stop: threading.Event
    directory: str | None = None

    def say(self, text: str) -> None:
        """A line for people, among those that come from the board."""
        self.listener(Event(event="log", step="packages", text=text))

    def run(self, artefact: BoardArtefact, command: str, *more: str, files: bool = False) -> CommandResult:
        """Run a command of the device program to its end; `more` are further options. Without `files` nothing is sent, and it can
        only use what the board has already. Raises as `edgec.boards.running.run`."""
        root = [] if self.directory is None else ["--root", self.directory]
        arguments = [command, "--json", "--bundle", "-", *root, *more]
        work = Command(artefact.program, arguments, artefact.document)
        if files:
            delivery = None if artefact.delivery is None else artefact.delivery.as_document()
            work = replace(work, files=artefact.files, delivery=delivery)
        return run(self.connection, work, self.listener, self.stop)


@dataclass(frozen=True)
class Deployed:
    """A deployment that succeeded. `active` is the path on the board that the robot loads. `copied` are the files that were
    sent."""

    report: Report
    report_path: Path
    details_path: Path
    active: str
    copied: tuple[str, ...]
    copied_bytes: int


def deploy(board: Board, artefact: BoardArtefact, options: Sequence[str] = (), wheels: Path | None = None) -> Deployed:
    """Copy what changed, let the board build, verify, measure and activate, fetch its measurements, and write the report. Where
    the board lacks a runtime, packages go along: from the folder `wheels`, or from where pip looks.

    Raises the error that the board ended with; its measurements are fetched all the same.
    """
    label = board.connection.address.label
    report_path, details_path = artefact.path_for(label, "report.json"), artefact.path_for(label, "details.json")
    require_valid_name(report_path)
    require_valid_name(details_path)
    artefact = _with_packages(board, artefact, wheels)
    result = board.run(artefact, "run-all", *options, files=True)
    path, active = _text(result, "measured", "path"), result.done.get("activate")
    if result.refusal is not None:
        raise _with_details(board, result.refusal, path, details_path)
    if path is None or active is None:
        raise _no_answer()
    report, content = fetch_measurements(board.connection, path, artefact)
    save(report_path, report.to_json().encode())
    save(details_path, content)
    copied = result.done.get("copy")
    sent = () if copied is None else tuple(name for name in copied.files if isinstance(name, str))
    size = 0 if copied is None else copied.size_bytes or 0
    return Deployed(report, report_path, details_path, active.path or "", sent, size)


def bench(board: Board, artefact: BoardArtefact, iterations: int | None = None) -> Report:
    """Measure again what is deployed there. Raises `NothingToDo` if this artefact is not, `ArtefactError` if what is deployed has
    changed since it was verified."""
    more = [] if iterations is None else ["--iterations", str(iterations)]
    result = board.run(artefact, "bench", *more)
    refusal = result.refusal
    changed = result.error is not None and result.error.kind == _CHANGED
    if isinstance(refusal, (NothingToDo, ArtefactError)) and not changed:
        address, option = board.connection.address.text, "" if board.directory is None else f" --dir {board.directory}"
        raise NothingToDo(
            f"There is nothing to measure on {address}: this artefact is not deployed there.",
            evidence=[refusal.what, *refusal.evidence],
            remedy=f"edgec deploy {artefact.path} {address}{option}",
        )
    if refusal is not None:
        raise refusal
    path = _text(result, "measured", "path")
    if path is None:
        raise _no_answer()
    return fetch_measurements(board.connection, path, artefact)[0]


def ask(board: Board, artefact: BoardArtefact, command: str) -> dict[str, Any]:
    """Run `status` or `rollback`; returns the event that answers, as it came. Raises the error that the board ended with."""
    result = board.run(artefact, command)
    if result.refusal is not None:
        raise result.refusal
    answer = result.events.get("status" if command == "status" else "done")
    if answer is None:
        raise _no_answer()
    return answer


def _with_packages(board: Board, artefact: BoardArtefact, wheels: Path | None) -> BoardArtefact:
    """The artefact with what the board lacks to run it. What will be installed, and where, is said first."""
    runtimes = packages.requirements(artefact)
    if not runtimes:
        return artefact
    result = board.run(artefact, "look")
    if result.refusal is not None:
        raise result.refusal
    try:
        machine = packages.Machine.parse(result.events["machine"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise misbehaves(board.connection.address, [f"it does not say what machine it is: {error}"]) from error
    if not machine.missing:
        return artefact
    collected = packages.collect(machine, runtimes, wheels)
    place = f"{board.directory or '~/.local/share/edgec'}/environments"
    board.say(f"  {', '.join(machine.missing)} missing there: installs in {place}: {packages.described(collected)}")
    for name, problem in collected.refused.items():
        board.say(f"  {name} stays missing: {problem}")
    return packages.bring(artefact, collected)


def _no_answer() -> ArtefactError:
    return ArtefactError("The board's program ended without reporting a result.", remedy="report this")


def _with_details(board: Board, refusal: EdgecError, path: str | None, destination: Path) -> EdgecError:
    if path is not None:
        with suppress(EdgecError):  # the board's own error matters more
            fetch_details(board.connection, path, destination)
            refusal.evidence = (*refusal.evidence, f"everything that was measured: {destination}")
    return refusal


def _text(result: CommandResult, event: str, name: str) -> str | None:
    value = result.events.get(event, {}).get(name)
    return value if isinstance(value, str) else None
