"""`edgec deploy`: an artefact to boards, and their reports back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgec.cli import options
from edgec.cli.rollout import rollout_options

if TYPE_CHECKING:
    from edgec.boards.address import Address
    from edgec.boards.commands import Deployed


_MOST_PATIENCE_S = 24 * 3600
"""The device program's own limit."""


@click.command(short_help="Bring an artefact to boards, and have them finish it.")
@options.artefact
@options.boards
@options.connection
@click.option("--again", is_flag=True, help="Verify and measure again, and build again what failed verification.")
@click.option(
    "--patience", type=options.RealRange(0, 7 * 24 * 3600, min_open=True), metavar="SECONDS",
    help="End the runtime after so long a silence.  [default: 900]",
)  # fmt: skip
@click.option(
    "--wheels",
    type=options.PathType(exists=True, file_okay=False),
    metavar="DIR",
    help="Take runtimes that a board lacks from this folder of wheels, and from nowhere else.",
)
@click.option(
    "--keep", type=click.IntRange(0, 1000), metavar="N",
    help="Older releases that stay on a board besides the active one and the one before.  [default: 1]",
)  # fmt: skip
@options.trust_if_given
@options.measurers
@click.option("--allow-older", is_flag=True, help="Take a signed release that is older than what runs there.")
@rollout_options
@click.option("--status", "command", flag_value="status", help="Only say what is active there, and why.")
@click.option("--rollback", "command", flag_value="rollback", help="Only go back to the engine before the active one.")
@options.as_json
@click.pass_context
def deploy(
    context: click.Context,
    /,
    artefact: Path,
    boards: tuple[str, ...],
    port: int | None,
    identity: Path | None,
    directory: str | None,
    ssh_option: tuple[str, ...],
    again: bool,
    patience: float | None,
    wheels: Path | None,
    keep: int | None,
    trust: tuple[Path, ...],
    measurers: tuple[Path, ...],
    allow_older: bool,
    command: str | None,
    as_json: bool,
    **rolling: Any,
) -> None:
    """Copy ARTEFACT to each BOARD, have it verify and measure what it can run there, and activate the fastest.

    BOARD is user@host, ssh://user@host:port, or a name from ~/.ssh/config; or FLEET.toml, a list of them (`edgec fleet --help`).
    Without one, the boards are those that edgec.toml in the current folder names (`edgec init --help`).
    Only what changed is copied; interrupted, the same command goes on. The board's report comes back beside the artefact. Engines
    are built on a Jetson; a board with a CPU, and a Mac, run the models as they are, and get the runtime along if they lack it.
    What does not reproduce the golden features is never activated: what was active before stays. With FLEET.toml or --wave, the
    release goes to some boards first, and is halted when they refuse it or do worse with it.

    With --trust, ARTEFACT may be a bundle, and must be signed by a holder of the key. A board keeps the key, if it has none yet,
    and from then on takes only what its holder signed and what is not older than what runs there.
    """
    from edgec.boards import commands
    from edgec.boards.address import parse_all
    from edgec.boards.artefact import opened_for_boards
    from edgec.boards.commands import Board
    from edgec.cli.boards import on_boards, raise_or_print_failures, results_json
    from edgec.cli.rollout import Asked, fleet_in, places_of, require_reached_by_file, run_rollout
    from edgec.errors import RequestError

    if patience is not None and not patience <= _MOST_PATIENCE_S:
        raise RequestError(f"--patience is {_MOST_PATIENCE_S} s at most.", evidence=f"{patience:g} was given")
    asked, fleet = Asked(**rolling), fleet_in(boards)
    in_waves = fleet is not None or asked.wave is not None
    asked.require_sense(fleet, in_waves, command)
    if fleet is not None:
        require_reached_by_file(fleet, port, identity, directory, ssh_option)
        keep = fleet.fleet.keep if keep is None else keep
        patience = fleet.fleet.patience if patience is None else patience
        wheels, trust = wheels or fleet.wheels, trust or fleet.trust
    more = [*(["--again"] if again else []), *([] if patience is None else ["--patience", str(patience)])]
    more += [*(["--allow-older"] if allow_older else []), *([] if keep is None else ["--keep", str(keep)])]
    if in_waves:
        places = fleet.chosen((), asked.tags) if fleet else places_of(boards, port, identity, directory, ssh_option)
        with opened_for_boards(artefact, trust, measurers) as opened:
            run_rollout(asked, artefact, opened, places, fleet, more, wheels, as_json=as_json)
        return
    addresses = parse_all(boards, port)
    with opened_for_boards(artefact, trust, measurers) as opened:

        def work(board: Board) -> Any:
            return commands.deploy(board, opened, more, wheels) if command is None else commands.ask(board, opened, command)

        results = on_boards(addresses, identity, directory, ssh_option, work)
    if as_json:
        click.echo(results_json(addresses, results, _deployed_json))
    elif command is not None:
        _print_answers(addresses, results)
    else:
        _print(addresses, results)
    raise_or_print_failures(context, addresses, results)


def _deployed_json(result: Deployed | dict[str, Any]) -> dict[str, Any]:
    if isinstance(result, dict):
        return {"exit_code": 0, "answer": result}
    return {
        "exit_code": 0,
        "active": result.active,
        "report": str(result.report_path),
        "details": str(result.details_path),
        "copied": result.copied,
        "copied_bytes": result.copied_bytes,
        "chosen": result.report.chosen,
        "reason": result.report.reason,
    }


def _print_answers(addresses: list[Address], results: list[Any]) -> None:
    from rich.text import Text

    from edgec.cli.console import out, plain

    for address, result in zip(addresses, results, strict=True):
        if isinstance(result, dict):
            lines = str(result.get("text", "")).splitlines()
            for line in [f"{address.text}:"] * (len(addresses) > 1) + lines:
                out.print(Text(plain(line)), soft_wrap=True)


def _print(addresses: list[Address], results: list[Any]) -> None:
    from edgec.cli.boards import print_comparison
    from edgec.cli.console import out
    from edgec.errors import EdgecError
    from edgec.records.reading import printable
    from edgec.report.table import candidates_table, heads_table

    done = [None if isinstance(result, EdgecError) else result for result in results]
    if len(done) > 1:
        print_comparison(addresses, [None if result is None else result.report for result in done])
        out.print()
    elif done[0] is not None:
        out.print(candidates_table(done[0].report))
        out.print()
        heads = heads_table(done[0].report)
        if heads is not None:
            out.print(heads)
            out.print()
        out.print(printable(done[0].report.reason), markup=False, soft_wrap=True)
    for address, result in zip(addresses, done, strict=True):
        if result is not None:
            out.print(f"active on {address.text}: {printable(result.active)}", markup=False, soft_wrap=True)
            out.print(f"report: {result.report_path}", markup=False, soft_wrap=True)
