"""What `edgec deploy` does with waves, or with a FLEET.toml: a rollout, its events and its table."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from edgec.cli import options
from edgec.cli.console import document, err, plain, wide

if TYPE_CHECKING:
    from edgec.boards.artefact import BoardArtefact
    from edgec.fleet.file import OpenFleet, Place
    from edgec.fleet.state import Rollout

_WIDEST = 1000
_FEW = 4
"""Up to so many boards, each step of each is a line for people."""


@dataclass(frozen=True)
class Asked:
    """The options of `rollout_options`; None is what the FLEET.toml says, or the default."""

    wave: str | None
    halt_at: int | None
    take_back: bool
    slower_than: float | None
    at_once: int | None
    tags: tuple[str, ...]

    def require_sense(self, fleet: OpenFleet | None, in_waves: bool, command: str | None) -> None:
        """Raises `RequestError` for options of rollouts where there is none, for --status and --rollback where there is one, and
        for --tag without a FLEET.toml."""
        from edgec.errors import RequestError

        given = {"--halt-at": self.halt_at, "--take-back": self.take_back, "--slower-than": self.slower_than}
        ignored = [name for name, value in {**given, "--at-once": self.at_once}.items() if value]
        if ignored and not in_waves:
            raise RequestError(
                f"{', '.join(ignored)}: for a rollout alone.", remedy="add --wave 1,10%,100%, or give a FLEET.toml as the board"
            )
        if command is not None and in_waves:
            raise RequestError(
                f"--{command} goes with neither waves nor a FLEET.toml.", remedy=f"use edgec fleet {command} FLEET.toml"
            )
        if self.tags and fleet is None:
            raise RequestError("--tag chooses boards of a FLEET.toml.", remedy="give one as the board")


def rollout_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`wave`, `halt_at`, `take_back`, `slower_than`, `at_once` and `tags`."""
    for option in reversed((
        click.option(
            "--wave", metavar="N,N%,…", help="To so many boards first, then to so many.  [default with FLEET.toml: 1,10%,100%]"
        ),
        click.option(
            "--halt-at", type=click.IntRange(1, 10_000), metavar="N",
            help="Halt when N boards refuse it, or do worse than the bundle says.  [default: 1]",
        ),
        click.option("--take-back", is_flag=True, help="If it is halted, bring back what was active on each board."),
        click.option(
            "--slower-than", type=options.RealRange(0, 1000), metavar="PERCENT",
            help="A latency that is higher by more than noise, and by so much, is worse.  [default: 10]",
        ),
        click.option("--at-once", type=click.IntRange(1, 256), metavar="N", help="Boards at the same time.  [default: 16]"),
        click.option("--tag", "tags", multiple=True, metavar="TAG", help="Only boards of FLEET.toml with this tag."),
    )):  # fmt: skip
        command = option(command)
    return command


def fleet_in(boards: Sequence[str]) -> OpenFleet | None:
    """The fleet, if a FLEET.toml is given instead of boards. Raises `RequestError` if boards stand beside it."""
    from edgec.errors import RequestError
    from edgec.fleet.file import is_fleet, read_fleet

    files = [board for board in boards if is_fleet(board)]
    if not files:
        return None
    if len(boards) > 1:
        raise RequestError(
            f"{files[0]} is a fleet, and stands alone.",
            evidence=f"given: {', '.join(boards[:8])}",
            remedy="list the boards in it",
        )
    return read_fleet(Path(files[0]))


def require_reached_by_file(fleet: OpenFleet, *given: object) -> None:
    """Raises `RequestError` for options of a connection beside a FLEET.toml, which has them."""
    from edgec.errors import RequestError

    if any(given):
        raise RequestError(
            "How the boards of a fleet are reached is in its file.",
            evidence="--port, --identity, --dir and --ssh-option are for boards that are named one by one",
            remedy=f"write it into {fleet.path}",
        )


def places_of(
    boards: Sequence[str], port: int | None, identity: Path | None, directory: str | None, ssh: Sequence[str]
) -> list[Place]:
    """Boards that were named one by one."""
    from edgec.boards.address import parse_all
    from edgec.boards.ssh import SshOptions
    from edgec.fleet.file import Place

    return [Place(each.text, each, SshOptions(identity, tuple(ssh)), directory) for each in parse_all(boards, port)]


def run_rollout(
    asked: Asked,
    path: Path,
    artefact: BoardArtefact,
    places: Sequence[Place],
    fleet: OpenFleet | None,
    device_options: Sequence[str],
    wheels: Path | None,
    *,
    as_json: bool,
) -> None:
    """Roll the artefact out, and print what became of it. Raises the error that the rollout ends with."""
    from edgec.fleet.file import AT_ONCE
    from edgec.fleet.judging import SLOWER_THAN
    from edgec.fleet.rollout import Plan, roll_out
    from edgec.fleet.waves import ALL, Waves

    settings = None if fleet is None else fleet.fleet
    plan = Plan(
        path=path,
        artefact=artefact,
        places=tuple(places),
        waves=Waves.parse(asked.wave or (settings.wave if settings else ALL)),
        halt_at=asked.halt_at or (settings.halt_at if settings else 1),
        at_once=asked.at_once or (settings.at_once if settings else AT_ONCE),
        options=tuple(device_options),
        wheels=wheels,
        slower_than=SLOWER_THAN if asked.slower_than is None else asked.slower_than,
        take_back=asked.take_back,
        fleet="" if fleet is None else str(fleet.path),
    )
    finish(roll_out(plan, teller(as_json)), as_json)


def finish(rollout: Rollout, as_json: bool) -> None:
    """The table, or the last event; raises the error that the rollout ends with."""
    from edgec.fleet.rollout import error_of

    error = error_of(rollout)
    code = 0 if error is None else error.exit_code
    if as_json:
        document(json.dumps({"event": "end", "id": rollout.id, "status": rollout.status, "exit_code": code}))
    else:
        print_rollout(rollout)
    if error is not None:
        raise error


def teller(as_json: bool) -> Callable[[dict[str, Any]], None]:
    """Prints events as they come: as JSON lines on standard output, or as lines for people on standard error."""
    few = True

    def tell(event: dict[str, Any]) -> None:
        nonlocal few
        if as_json:
            document(json.dumps({name: value for name, value in event.items() if name != "text"}))
            return
        if event["event"] in ("wave", "taking back"):
            few = len(event["boards"]) <= _FEW
        if event.get("text") and (few or event["event"] != "step"):
            err.print(Text(plain(str(event["text"])[:_WIDEST])), soft_wrap=True)

    return tell


def print_rollout(rollout: Rollout) -> None:
    """A row a board, and what the whole came to."""
    from edgec.cli.tables import print_rows
    from edgec.report.cells import ABSENT, megabytes, ms_cell
    from edgec.report.sheets import numbers, sheet, texts

    headings = texts("board", "state", "variant") + numbers("p50 ms", "copied MB", "removed MB") + texts("remark")
    rows = []
    for board in rollout.boards.values():
        remark = board.what or "; ".join((*board.left_out, *board.compared)) or ABSENT
        sizes = [megabytes(size) if board.chosen else ABSENT for size in (board.copied_bytes, board.removed_bytes)]
        rows.append((board.name, board.state, board.chosen or ABSENT, ms_cell(board.p50_ms), *sizes, remark))
    print_rows(sheet(headings, rows))
    have = rollout.count("done", "regressed")
    wide(_WIDEST).print(
        f"rollout {rollout.id}: {rollout.status}, {have} of {len(rollout.boards)} boards have {plain(rollout.bundle.says)}"
    )
