"""`edgec fleet`: what runs on many boards, and back again."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from edgec.cli import options
from edgec.cli.console import document, err, out, plain

if TYPE_CHECKING:
    from edgec.fleet.fetching import Fetched
    from edgec.fleet.file import OpenFleet, Place


@click.group(short_help="Say what runs on a fleet of boards, and go back.")
def fleet() -> None:
    """Many boards, which FLEET.toml lists. `edgec deploy BUNDLE FLEET.toml` brings a release to them, in waves.

    \b
    name = "warehouse"
    boards = ["robot@r1", { address = "robot@r2", name = "spare", tags = ["north"] }]
    # also, for all boards or in one: port, dir, identity, ssh_options
    # and as deploy's options: trust, wheels, patience, keep, wave, halt_at, at_once
    """


def _chosen(command: Callable[..., Any]) -> Callable[..., Any]:
    """`boards`, `tags` and `at_once`."""
    for option in (
        click.option("--board", "boards", multiple=True, metavar="NAME", help="Only this board, by name or address."),
        click.option("--tag", "tags", multiple=True, metavar="TAG", help="Only boards with this tag."),
        click.option(
            "--at-once", type=click.IntRange(1, 256), metavar="N", help="Boards at the same time.  [default: the file's]"
        ),
    ):
        command = option(command)
    return command


@fleet.command()
@click.argument("file", type=options.PathType(), metavar="FLEET.toml")
@_chosen
@options.as_json
def status(file: Path, boards: tuple[str, ...], tags: tuple[str, ...], at_once: int | None, as_json: bool) -> None:
    """A table: what runs on each board, since when, how it was verified, its latency, and the room on its disk.

    Each board reads its engine to say whether it is still what was verified; nothing is changed. A board that does not answer is
    a row with the reason, and no failure of the command.
    """
    from edgec.cli.tables import print_rows
    from edgec.fleet.status import look_at, status_json, status_sheet

    opened, places = _open(file, boards, tags)
    seen = look_at(places, at_once=at_once or opened.fleet.at_once)
    if as_json:
        document(json.dumps(status_json(seen), indent=2))
    else:
        print_rows(status_sheet(seen))


@fleet.command()
@click.argument("file", type=options.PathType(), metavar="[FLEET.toml]", required=False)
@_chosen
@click.option("--name", metavar="NAME", help="The artefact, where boards have several.")
@click.option(
    "--rollout", "identity", metavar="ID", help="Instead of FLEET.toml: take back what this rollout did, and only that."
)
@options.as_json
@click.pass_context
def rollback(
    context: click.Context,
    file: Path | None,
    boards: tuple[str, ...],
    tags: tuple[str, ...],
    at_once: int | None,
    name: str | None,
    identity: str | None,
    as_json: bool,
) -> None:
    """Go back to what was active before: on boards of FLEET.toml, or on those that a rollout changed.

    With --rollout, boards that something else was deployed to since are left alone, and those that cannot be reached are taken
    back by the same command later.
    """
    from edgec.cli.boards import raise_or_print_failures, results_json
    from edgec.errors import RequestError
    from edgec.fleet.status import roll_back_all

    if (file is None) is (identity is None) or (identity is not None and (boards or tags or name)):
        raise RequestError(
            "Either boards of a FLEET.toml go back, or a rollout is taken back.",
            remedy="give FLEET.toml, with --board or --tag if not all; or --rollout ID alone",
        )
    if file is None:
        assert identity is not None
        _take_back(identity, at_once, as_json)
        return
    opened, places = _open(file, boards, tags)
    results = roll_back_all(places, name, at_once=at_once or opened.fleet.at_once)
    addresses, answers = [place.address for place, _ in results], [answer for _, answer in results]
    if as_json:
        document(results_json(addresses, answers, lambda said: {"exit_code": 0, "answer": said}))
    else:
        for place, answer in results:
            if isinstance(answer, str):
                out.print(Text(plain(f"{place.name}: {answer}")), soft_wrap=True)
    raise_or_print_failures(context, addresses, answers)


@fleet.command("fetch-frames")
@click.argument("file", type=options.PathType(), metavar="FLEET.toml")
@click.option(
    "-o", "--output", type=options.PathType(written=True), required=True, metavar="DIR", help="Where to: a folder a board."
)
@click.option(
    "--from", "folder", default="", metavar="FOLDER", help="On the boards.  [default: drift-frames in edgec's own folder there]"
)
@click.option("--remove", is_flag=True, help="Remove on the boards what is here then.")
@_chosen
@options.as_json
@click.pass_context
def fetch_frames(
    context: click.Context,
    file: Path,
    output: Path,
    folder: str,
    remove: bool,
    boards: tuple[str, ...],
    tags: tuple[str, ...],
    at_once: int | None,
    as_json: bool,
) -> None:
    """Bring home the frames that boards kept because they are unlike the calibration frames.

    Each is checked by its hash; what is here already is not fetched again. On boards nothing is removed without --remove.
    `edgec calibration extend` adds them to a calibration set.
    """
    from edgec.cli.boards import raise_or_print_failures, results_json
    from edgec.cli.tables import print_rows
    from edgec.errors import EdgecError
    from edgec.fleet.fetching import fetch_frames as fetch
    from edgec.report.sheets import numbers, sheet, texts

    opened, places = _open(file, boards, tags)
    answers = fetch(places, output, folder, remove=remove, at_once=at_once or opened.fleet.at_once)
    addresses, results = [answer.place.address for answer in answers], [answer.result for answer in answers]
    if as_json:
        document(results_json(addresses, results, lambda fetched: {"exit_code": 0, **vars(fetched)}))
    else:
        headings = texts("board") + numbers("frames there", "new here", "MB", "removed there") + texts("remark")
        rows = [
            (answer.place.name, *_frames_row(answer.result)) for answer in answers if not isinstance(answer.result, EdgecError)
        ]
        print_rows(sheet(headings, rows))
    raise_or_print_failures(context, addresses, results)


def _frames_row(fetched: Fetched) -> tuple[str, ...]:
    remarks = [] if fetched.there else ["no frames are kept there"]
    if fetched.differing:
        named = ", ".join(fetched.differing[:3])
        remarks.append(f"{len(fetched.differing)} are not what their lines say, and stay there: {named}")
    if fetched.unusable:
        remarks.append(f"{fetched.unusable} have no line that can be read, and stay there")
    if fetched.gone:
        remarks.append(f"{fetched.gone} made room for newer ones meanwhile")
    counts = (fetched.there, fetched.new)
    return (*map(str, counts), f"{fetched.size_bytes / 1e6:.1f}", str(fetched.removed), "; ".join(remarks))


@fleet.command()
@options.as_json
def rollouts(as_json: bool) -> None:
    """List the rollouts that this workstation knows of, the newest last."""
    from edgec.cli.tables import print_rows
    from edgec.fleet.state import all_rollouts, folder
    from edgec.report.sheets import numbers, sheet, texts

    known = all_rollouts()
    if as_json:
        document(json.dumps([each.model_dump(mode="json") for each in known], indent=2))
        return
    headings = texts("rollout", "status", "release", "changed") + numbers("have it", "boards") + texts("fleet")
    rows = [
        (
            each.id,
            each.status,
            each.bundle.says,
            each.changed,
            str(each.count("done", "regressed")),
            str(len(each.boards)),
            each.fleet,
        )
        for each in known
    ]
    print_rows(sheet(headings, rows))
    err.print(Text(plain(f"in {folder()}")), soft_wrap=True)


@fleet.command()
@click.argument("identity", metavar="ID")
def close(identity: str) -> None:
    """End the rollout ID where it is: no board is changed, and another release may go to them."""
    from edgec.errors import RequestError
    from edgec.fleet.state import UNFINISHED, held, named

    with held(named(identity)) as ledger:
        if ledger.rollout.status not in UNFINISHED:
            raise RequestError(f"The rollout {identity} is {ledger.rollout.status} already.")
        ledger.set(status="closed")


def _open(file: Path, boards: Sequence[str], tags: Sequence[str]) -> tuple[OpenFleet, list[Place]]:
    """The fleet, and those of its boards that are meant. Raises `RequestError` if none is."""
    from edgec.errors import RequestError
    from edgec.fleet.file import read_fleet

    opened = read_fleet(file)
    places = opened.chosen(boards, tags)
    if not places:
        raise RequestError(f"No board of {file} has both.", evidence=f"--board {', '.join(boards)}; --tag {', '.join(tags)}")
    return opened, places


def _take_back(identity: str, at_once: int | None, as_json: bool) -> None:
    from edgec.cli.rollout import print_rollout, teller
    from edgec.errors import BoardError
    from edgec.fleet.file import AT_ONCE
    from edgec.fleet.state import held, named
    from edgec.fleet.taking_back import take_back

    with held(named(identity)) as ledger:
        take_back(ledger, teller(as_json), at_once=at_once or AT_ONCE)
        rollout = ledger.rollout
    if as_json:
        document(json.dumps({"event": "end", "id": rollout.id, "status": rollout.status}))
    else:
        print_rollout(rollout)
    left = [board for board in rollout.boards.values() if board.asked and not board.handled]
    if left:
        raise BoardError(
            f"{len(left)} boards could not be taken back yet.",
            evidence=[f"{board.name}: {board.what}" for board in left[:8]],
            remedy="run the same command again when they can be reached",
        )
