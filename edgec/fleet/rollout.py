"""A release to many boards, in waves: to one, then to some, then to all; halted when boards refuse it or do worse with it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgec.artefact.statements import check_report
from edgec.boards import commands
from edgec.boards.artefact import BoardArtefact
from edgec.boards.commands import Board, Deployed
from edgec.boards.running import Listener
from edgec.durable import sha256_of
from edgec.errors import BoardError, Busy, EdgecError, Regression, RolloutHalted, of_exit_code
from edgec.fleet.file import Place
from edgec.fleet.judging import SLOWER_THAN, Judgement, judge
from edgec.fleet.looking import look
from edgec.fleet.state import BoardRecord, BundleFacts, Ledger, Rollout, State, begun
from edgec.fleet.taking_back import Tell, take_back
from edgec.fleet.waves import Waves
from edgec.fleet.working import Ended, each
from edgec.onboard.container import RELEASE
from edgec.onboard.trust import read_release
from edgec.records.manifest import MANIFEST
from edgec.records.reading import printable
from edgec.untrusted import parse_json_object

_TO_DO: tuple[State, ...] = ("started", "refused", "regressed", "unreachable", "waiting")
"""What is not done, in the order in which it is tried again: first what was begun, or went wrong, before."""
_BAD: tuple[State, ...] = ("refused", "regressed")
_HAVE: tuple[State, ...] = ("done", "regressed")
_WIDTH, _SHOWN = 2000, 8
_REMEDIES = {
    "halted": "mend the boards and run the same command again; or take it back: edgec fleet rollback --rollout {id}; or leave "
    "boards as they are: edgec fleet close {id}",
    "taking back": "go on with that when the boards can be reached: edgec fleet rollback --rollout {id}",
    "taken back": "mend the release, and roll that out",
}
"""By the status of a rollout that was halted."""


@dataclass(frozen=True)
class Plan:
    """What is asked for. `options` are of the board's program; `fleet` is the path of a FLEET.toml, if there is one."""

    path: Path
    artefact: BoardArtefact
    places: tuple[Place, ...]
    waves: Waves
    halt_at: int
    at_once: int
    options: tuple[str, ...] = ()
    wheels: Path | None = None
    slower_than: float = SLOWER_THAN
    take_back: bool = False
    fleet: str = ""


def roll_out(plan: Plan, tell: Tell) -> Rollout:
    """Begin a rollout, or go on with the one that was interrupted; returns how it stands at the end. `tell` is called with events
    for people and programs: each has `event`, and `text` or none.

    A board that is done is not touched again. Raises `Busy` if one of the boards is in an unfinished rollout of another bundle;
    what goes wrong on boards is in the result, and `error_of` makes an error of it.
    """
    facts = facts_of(plan.path, plan.artefact)
    with begun(facts, plan.places, plan.fleet, plan.waves.text, plan.halt_at) as (ledger, goes_on):
        rollout = ledger.rollout
        goes = "goes on" if goes_on else "begins"
        text = f"rollout {rollout.id} of {facts.says} to {len(plan.places)} boards {goes}: {ledger.path}"
        tell({"event": "rollout", "id": rollout.id, "continued": goes_on, "state": str(ledger.path), "text": text})
        if rollout.status == "taking back":
            take_back(ledger, tell, at_once=plan.at_once)
            return ledger.rollout
        _Run(plan, ledger, tell).run()
        if ledger.rollout.status == "halted" and plan.take_back:
            take_back(ledger, tell, at_once=plan.at_once)
        return ledger.rollout


def error_of(rollout: Rollout) -> EdgecError | None:
    """The error that a command ends with, None if nothing went wrong: `RolloutHalted` for a rollout that was halted, whether it
    was taken back or not; `BoardError` if boards could not be reached; else the first board's own, or `Regression`."""
    boards, says = rollout.boards.values(), rollout.bundle.says
    bad = [board for board in boards if board.regressions or (board.exit_code and board.state != "unreachable")]
    if rollout.status in ("halted", "taking back", "taken back"):
        return RolloutHalted(
            f"The rollout of {says} is {rollout.status}.",
            evidence=[f"{board.name}: {board.what}" for board in bad][:_SHOWN],
            remedy=_REMEDIES[rollout.status].format(id=rollout.id),
        )
    unreached = [board for board in boards if board.state == "unreachable"]
    if unreached:
        return BoardError(
            f"{len(unreached)} of {len(rollout.boards)} boards could not be reached, or were busy, and do not have {says}.",
            evidence=[f"{board.name}: {board.what}" for board in unreached[:_SHOWN]],
            remedy=f"run the same command again when they can be; or leave them: edgec fleet close {rollout.id}",
        )
    if not bad:
        return None
    kind = Regression if bad[0].regressions else of_exit_code(bad[0].exit_code)
    return kind(f"{bad[0].name}: {bad[0].what}", evidence=bad[0].evidence, remedy=bad[0].remedy)


def facts_of(path: Path, artefact: BoardArtefact) -> BundleFacts:
    """What a rollout says about its bundle."""
    manifest, says = artefact.opened.manifest, f"{artefact.name} {artefact.opened.manifest.build_key[:8]}"
    if artefact.delivery is not None:
        release = read_release(parse_json_object((artefact.directory / RELEASE).read_bytes()))
        says = f"{release.name} {release.version}"
    return BundleFacts(
        path=str(path),
        manifest_sha256=sha256_of(artefact.directory / MANIFEST),
        name=artefact.name,
        build_key=manifest.build_key,
        says=printable(says),
    )


class _Run:
    """One command's part of a rollout."""

    def __init__(self, plan: Plan, ledger: Ledger, tell: Tell) -> None:
        self._plan, self._ledger, self._tell = plan, ledger, tell
        self._shipped = check_report(plan.artefact.opened.manifest, plan.artefact.directory)
        self._halted, self._counting = threading.Event(), threading.Lock()
        self._bad = 0
        self._done = sum(ledger.rollout.boards[place.key].state == "done" for place in plan.places)

    def run(self) -> None:
        """Until all waves are done, no board is left that could be tried, or too many went wrong."""
        self._ledger.set(status="open")
        places = {place.key: place for place in self._plan.places}
        states = {key: self._ledger.rollout.boards[key].state for key in places}
        order = sorted((key for key in places if states[key] in _TO_DO), key=lambda key: _TO_DO.index(states[key]))
        waiting = [places[key] for key in order]
        targets = self._plan.waves.targets(len(places))
        for number, target in enumerate(targets, 1):
            while waiting and self._done < target and not self._halted.is_set():
                taken, waiting = waiting[: target - self._done], waiting[target - self._done :]
                self._wave(number, len(targets), taken)
        if self._halted.is_set():
            self._ledger.set(status="halted")
            text = f"halted: {self._bad} boards refused or regressed, and --halt-at is {self._plan.halt_at}"
            self._tell({"event": "halted", "boards": self._bad, "halt_at": self._plan.halt_at, "text": text})
        elif all(self._ledger.rollout.boards[key].state in _HAVE for key in places):
            self._ledger.set(status="finished")

    def _wave(self, number: int, waves: int, places: list[Place]) -> None:
        text = f"wave {number} of {waves}: {len(places)} boards, {self._done} have it"
        self._tell({"event": "wave", "wave": number, "waves": waves, "boards": [place.name for place in places], "text": text})
        each(
            places,
            self._deploy,
            self._end,
            at_once=self._plan.at_once,
            listener=self._listener,
            may_start=lambda: not self._halted.is_set(),
        )

    def _deploy(self, place: Place, board: Board) -> tuple[Deployed, Judgement]:
        record = self._ledger.rollout.boards[place.key]
        if not record.asked:
            active = look(board).named(self._plan.artefact.name)
            self._ledger.change(place.key, state="started", asked=True, before=None if active is None else active.engine)
        else:
            self._ledger.change(place.key, state="started")
        deployed = commands.deploy(board, self._plan.artefact, self._plan.options, self._plan.wheels)
        return deployed, judge(self._shipped, deployed.report, self._plan.slower_than)

    def _end(self, ended: Ended[tuple[Deployed, Judgement]]) -> None:
        board = self._write_down(ended)
        with self._counting:
            self._done += board.state != "unreachable"
            self._bad += board.state in _BAD
            if self._bad >= self._plan.halt_at:
                self._halted.set()
        self._tell(_said(board))

    def _write_down(self, ended: Ended[tuple[Deployed, Judgement]]) -> BoardRecord:
        result, key = ended.result, ended.place.key
        if isinstance(result, EdgecError):
            # One that never answered, or is busy, has refused nothing. One that was lost meanwhile may have been lost by it.
            state: State = "refused" if ended.reached and not isinstance(result, Busy) else "unreachable"
            return self._ledger.change(
                key,
                state=state,
                exit_code=result.exit_code,
                what=printable(result.what)[:_WIDTH],
                evidence=tuple(printable(fact)[:_WIDTH] for fact in result.evidence[:20]),
                remedy=printable(result.remedy)[:_WIDTH],
                regressions=(),
            )
        deployed, judgement = result
        latency = next((each.latency for each in deployed.report.candidates if each.chosen), None)
        return self._ledger.change(
            key,
            state="regressed" if judgement.regressions else "done",
            exit_code=0,
            what="; ".join(judgement.regressions),
            evidence=(),
            remedy="",
            chosen=printable(deployed.report.chosen),
            p50_ms=None if latency is None else latency.p50_ms,
            report=str(deployed.report_path),
            copied_bytes=deployed.copied_bytes,
            removed_bytes=deployed.removed_bytes,
            regressions=judgement.regressions,
            compared=judgement.compared,
            left_out=judgement.left_out,
        )

    def _listener(self, place: Place) -> Listener:
        def on_event(event: Any) -> None:
            if event.event in ("step", "problem") and event.text:
                step, text = printable(event.step[:60]), printable(event.text[:200])
                self._tell({"event": event.event, "board": place.name, "step": step, "text": f"  {place.name}: {text}"})

        return on_event


def _said(board: BoardRecord) -> dict[str, Any]:
    """A board's event, whose text is one line."""
    left = ("state", "exit_code", "what", "chosen", "p50_ms", "copied_bytes", "removed_bytes", "regressions", "compared")
    facts = {name: getattr(board, name) for name in (*left, "left_out", "before", "report")}
    figures = "" if board.p50_ms is None else f": {board.chosen}, p50 {board.p50_ms:.2f} ms"
    why = f": {board.what}" if board.what else ""
    return {"event": "board", "board": board.name, **facts, "text": f"{board.name} {board.state}{figures}{why}"}
