"""What runs on a fleet: a row a board and artefact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgec.boards.commands import Board
from edgec.errors import EdgecError, NothingToDo
from edgec.fleet.file import Place
from edgec.fleet.looking import Active, Overview, look, roll_back
from edgec.fleet.working import each
from edgec.records.reading import printable
from edgec.report.cells import ABSENT, number
from edgec.report.sheets import Sheet, numbers, sheet, texts

_WIDEST = 60
_CHANGED = "CHANGED since it was verified"


@dataclass(frozen=True)
class Seen:
    """A board's answer, or the error that it ended with."""

    place: Place
    answer: Overview | EdgecError


def look_at(places: Sequence[Place], *, at_once: int) -> list[Seen]:
    """All boards, in their order."""
    return each(places, lambda place, board: look(board), lambda ended: Seen(ended.place, ended.result), at_once=at_once)


def roll_back_all(places: Sequence[Place], name: str | None, *, at_once: int) -> list[tuple[Place, str | EdgecError]]:
    """Each board goes back to what was active before, and says so; `name` chooses among several artefacts on a board."""

    def one(place: Place, board: Board) -> str:
        overview = look(board)
        active = [there for there in overview.active if there.engine is not None and name in (None, there.name)]
        if len(active) != 1:
            listed = ", ".join(there.name for there in overview.active) or "nothing"
            raise NothingToDo(
                "Several artefacts are active there." if active else "Nothing is active there.",
                evidence=f"there is {printable(listed)[:300]}",
                remedy="choose one with --name" if active else "deploy one first",
            )
        return roll_back(board, overview.root, active[0])

    return each(places, one, lambda ended: (ended.place, ended.result), at_once=at_once)


def status_json(seen: Sequence[Seen]) -> list[dict[str, Any]]:
    """An object a board: what it answered, or its error."""
    rows = []
    for board in seen:
        row: dict[str, Any] = {"board": board.place.name, "address": board.place.address.text, "tags": list(board.place.tags)}
        if isinstance(board.answer, EdgecError):
            error = board.answer
            row |= {"exit_code": error.exit_code, "error": {"what": error.what, "evidence": list(error.evidence)}}
        else:
            row |= {"exit_code": 0, **board.answer.model_dump(mode="json")}
        rows.append(row)
    return rows


def status_sheet(seen: Sequence[Seen]) -> Sheet:
    """A row a board, or several where several artefacts are on it. Columns that no board has something for are left out."""
    headings = texts("board", "runs", "variant", "since", "verified") + numbers("p50 ms", "drift") + numbers("free GB")
    headings += texts("remark")
    rows = [row for board in seen for row in _rows(board)]
    used = [index for index in range(len(headings)) if index < 2 or any(row[index] != ABSENT for row in rows)]
    return sheet([headings[index] for index in used], [[row[index] for index in used] for row in rows])


def _rows(seen: Seen) -> list[tuple[str, ...]]:
    name, answer = seen.place.name, seen.answer
    if isinstance(answer, EdgecError):
        return [(name, "no answer", *[ABSENT] * 6, answer.what)]
    free = number(answer.disk_free_bytes / 1e9, ".1f")
    remark = "an update is under way" if answer.update_open else ABSENT
    active = [there for there in answer.active if there.engine is not None]
    if not active:
        return [(name, "nothing", *[ABSENT] * 5, free, remark)]
    return [(name, *_cells(there), free, _remark(there, remark)) for there in active]


def _cells(active: Active) -> tuple[str, ...]:
    drift = ABSENT if active.drift is None else f"{active.drift:.2f}"
    return (
        active.says[:_WIDEST],
        (active.variant or ABSENT)[:_WIDEST],
        (active.time or ABSENT)[:_WIDEST],
        _verified(active)[:_WIDEST],
        number(active.p50_ms),
        drift,
    )


def _verified(active: Active) -> str:
    """How it was, and whether it still is what was."""
    if active.state == "changed":
        return _CHANGED
    if active.state != "verified" or not active.passed:
        return "unknown"
    frames = "" if active.frames is None else f"{active.frames} frames, "
    return frames + (active.verified or "")


def _remark(active: Active, other: str) -> str:
    slowed = "throttled while it was measured" if active.throttled else ""
    evidence = f"latency {active.measured}" if active.measured and active.measured != active.verified else ""
    words = [*active.evidence[:1], slowed, evidence, "" if other == ABSENT else other]
    return "; ".join(filter(None, words)) or ABSENT
