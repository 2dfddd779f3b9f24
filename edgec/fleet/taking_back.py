"""Taking back what a rollout did: each board that has the release goes back to what was active before it got it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgec.boards.commands import Board
from edgec.errors import EdgecError, NothingToDo
from edgec.fleet.file import Place
from edgec.fleet.looking import look, roll_back
from edgec.fleet.state import BoardRecord, Ledger, State
from edgec.fleet.working import Ended, each
from edgec.records.reading import printable

Tell = Callable[[dict[str, Any]], None]
"""Called with events: JSON objects with `event`, and `text` for people."""


def take_back(ledger: Ledger, tell: Tell, *, at_once: int) -> None:
    """Take the rollout back, or go on with that. Boards that cannot be reached stay to be done, and the rollout stays `taking
    back` until they are. Boards that others have changed since are left alone."""
    ledger.set(status="taking back")
    boards = ledger.rollout.boards
    to_do = {key: board.place for key, board in boards.items() if board.asked and not board.handled}
    text = f"taking back {ledger.rollout.bundle.says} from {len(to_do)} boards"
    tell({"event": "taking back", "boards": [place.name for place in to_do.values()], "text": text})

    def one(place: Place, board: Board) -> tuple[State, str]:
        return _restore(board, ledger, ledger.rollout.boards[place.key])

    keys = {id(place): key for key, place in to_do.items()}

    def end(ended: Ended[tuple[State, str]]) -> None:
        key, result = keys[id(ended.place)], ended.result
        if isinstance(result, NothingToDo):
            board = ledger.change(key, state="stays", what=_words(result), handled=True)
        elif isinstance(result, EdgecError):
            board = ledger.change(key, what=_words(result), exit_code=result.exit_code)
        else:
            board = ledger.change(key, state=result[0], what=result[1], exit_code=0, handled=True)
        why = f": {board.what}" if board.what else ""
        state = board.state if board.handled else "not taken back"
        tell({"event": "board", "board": board.name, "state": state, "what": board.what, "text": f"{board.name} {state}{why}"})

    each(list(to_do.values()), one, end, at_once=at_once)
    if all(board.handled for board in ledger.rollout.boards.values() if board.asked):
        ledger.set(status="taken back")


def _restore(board: Board, ledger: Ledger, record: BoardRecord) -> tuple[State, str]:
    """The board's state afterwards, and why, for people. Raises `NothingToDo` for a board that keeps what it has."""
    bundle, overview = ledger.rollout.bundle, look(board)
    active = overview.named(bundle.name)
    if active is None or active.engine == record.before:
        untouched: State = record.state if record.state in ("refused", "unreachable") else "taken back"
        return untouched, record.what if untouched != "taken back" else "what was active before is active"
    if active.build_key != bundle.build_key:
        raise NothingToDo(f"something else was deployed there since, {active.says}: it is left alone")
    if record.before is None:
        raise NothingToDo("nothing was active before: it keeps what it has")
    if active.previous is None or active.previous.engine != record.before:
        raise NothingToDo(f"it would go back to something else than {record.before}: it is left alone")
    return "taken back", printable(roll_back(board, overview.root, active))[:300]


def _words(error: EdgecError) -> str:
    return printable(" ".join((error.what, *error.evidence[:3])))[:1000]
