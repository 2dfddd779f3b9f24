"""The command line: each command parses, calls one function and prints. Exit codes are in `edgec.errors`."""

from __future__ import annotations

import errno
import importlib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from edgec.errors import EdgecError
from edgec.extras import named
from edgec.quiet import keep_together

COMMANDS = {
    "init": "Write a recipe, edgec.toml, from what a folder holds.",
    "build": "Compile a checkpoint into a verified artefact for a target.",
    "inspect": "Say what a checkpoint is, and what is odd about it.",
    "verify": "Run an artefact's golden frames again, and compare.",
    "run": "Run frames, a video or a camera through an artefact.",
    "code": "Write the robot's own program around an artefact: C++.",
    "deploy": "Bring an artefact to boards, and have them finish it.",
    "fleet": "Say what runs on a fleet of boards, and go back.",
    "keygen": "Make a key to sign bundles with.",
    "bundle": "Make one signed file of an artefact, for a fleet.",
    "bench": "Measure an artefact's latency, on this machine or on boards.",
    "compare": "Compare reports: which is faster, and how sure that is.",
    "history": "Show one model's latency and fidelity over builds.",
    "explain": "Say which operations of an artefact run in which type, and why.",
    "check": "Check a graph against what TensorRT versions accept.",
    "calibration": "Look at calibration sets.",
    "targets": "List targets, and show what each promises.",
    "report": "Make one HTML page of reports: tables, charts and features.",
    "sweep": "Build a matrix of checkpoints, targets, sizes and precisions.",
    "schema": "Print the JSON Schema of reports.",
    "cache": "List what is cached of builds, and remove what was used longest ago.",
    "completion": "Print what completes commands in a shell: bash, zsh or fish.",
    "glossary": "Say what the words mean that edgec prints.",
    "doctor": "Say what this machine is ready for.",
}
WORDS = "What the words mean (fidelity, p99, worst 1 %, …): `edgec glossary`."
_WORDY = {"build", "verify", "run", "deploy", "bench", "compare", "history", "explain", "targets", "report", "sweep"}
"""Commands whose output has words that the glossary explains."""
INTERRUPTED = 130
COMPLETE = "_EDGEC_COMPLETE"
"""A variable of the environment: a shell's script sets it to ask what may follow on a line."""
_MACHINE = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.ESTALE, errno.ENOTCONN, errno.ENXIO, errno.ENODEV, errno.EFBIG),
}


class Commands(click.Group):
    """Imports a command's module only when that command runs: `--help` and `verify` must not wait for torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which `COMMANDS` explains them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports the command's module."""
        if cmd_name not in COMMANDS:
            return None
        # A module `edgec.cli.run` would replace the function `run` below when it is imported.
        module = "running" if cmd_name == "run" else cmd_name
        command = getattr(importlib.import_module(f"edgec.cli.{module}"), cmd_name)
        assert isinstance(command, click.Command)
        if command.epilog is None and cmd_name in _WORDY:
            command.epilog = WORDS
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From `COMMANDS`, without an import."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _print_version(context: click.Context, _: click.Parameter, asked: bool) -> None:
    if not asked or context.resilient_parsing:
        return
    import platform

    from edgec.host.facts import versions

    installed = {"Python": platform.python_version(), **versions()}
    click.echo(f"edgec, version {installed.pop('edgec')}")
    for name, version in installed.items():
        click.echo(f"{name} {version}")
    context.exit()


@click.group(
    cls=Commands, context_settings={"help_option_names": ["-h", "--help"]},
    epilog=WORDS,
)  # fmt: skip
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version,
    help="Print the versions of edgec and of the runtimes that it has here.",
)  # fmt: skip
def edgec_cli() -> None:
    """Compile distilled DINOv3 checkpoints for robots, and prove that their dense features survived."""
    try:
        Path.cwd()
    except OSError as error:
        raise EdgecError(
            "The current folder is gone, or may not be read.", evidence=str(error), remedy="change to another folder"
        ) from error


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit. Deliberate errors are printed without a traceback; a bug shows one, with exit code 70."""
    keep_together()
    for name in ("COLUMNS", "LINES"):
        # With a width of 0, which some containers and editors set, nothing of a result would be shown.
        if not re.fullmatch(r"0*[1-9][0-9]{0,4}", os.environ.get(name, ""), re.ASCII):
            os.environ.pop(name, None)
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """The exit code of one command."""
    from edgec.cli.console import cleaned_streams

    if COMPLETE in os.environ:
        return _complete(os.environ[COMPLETE])
    with cleaned_streams():
        return _run(arguments)


def _complete(instruction: str) -> int:
    """Answers a shell's script (`edgec completion`) with what may follow, as click writes it: bytes, on the stream itself."""
    from click.shell_completion import shell_complete

    try:
        return shell_complete(edgec_cli, {}, "edgec", COMPLETE, instruction)
    except (EdgecError, OSError):
        return 1  # in the middle of a line that somebody types there is no place for an error


def _run(arguments: list[str] | None) -> int:
    try:
        with named():
            result: Any = edgec_cli.main(arguments, prog_name="edgec", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except EdgecError as error:
        _print_error(error.what, error.evidence, error.remedy)
        return error.exit_code
    except click.ClickException as error:
        error.show(file=sys.stderr)  # click would choose a stream itself, which may be the one below ours
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        resumes = (arguments or sys.argv[1:])[:1] in (["build"], ["sweep"])
        _print_error("Interrupted." + " Stages that are finished are cached: the same command goes on from there." * resumes)
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):
        # The reader is gone, as in `edgec … | head`, and click or rich exits with a code of its own: there is nobody to tell.
        _drop_output()
        return 0
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            _drop_output()
            _print_error("The disk is full.", [str(error)], "free some space, or choose another folder")
            return 1
        if isinstance(error, OSError) and _is_the_machines_fault(error):
            _print_error("The system refused an operation.", [str(error)], "see to that, or choose other files and folders")
            return 1
        import traceback

        traceback.print_exc()
        _print_error("This is a bug in edgec. Please report it with the lines above and what `edgec doctor` prints.")
        return 70


def _is_the_machines_fault(error: OSError) -> bool:
    """Whether the cause is outside of edgec: a file that may not be used, a disk that fails, a limit that is reached. ENOENT
    without a file's name says that there is no folder for temporary files, or that the current folder has gone meanwhile."""
    return error.errno in _MACHINE or (error.errno == errno.ENOENT and error.filename is None)


def _drop_output() -> None:
    """Discards what Python would still write when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_error(what: str, evidence: Sequence[str] = (), remedy: str = "") -> None:
    from rich.text import Text

    from edgec.cli.console import err

    # Lines within a fact, as of a file's name, are indented: they must not look like lines of ours.
    first, *rest = what.splitlines() or [""]
    facts = [*evidence, *([f"To do: {remedy}"] if remedy else [])]
    lines = [*(f"    {line}" for line in rest), *("  " + "\n      ".join(fact.splitlines()) for fact in facts)]
    err.print(Text.assemble(("edgec: ", "bold red"), first), soft_wrap=True)
    for line in lines:
        err.print(Text(line), soft_wrap=True)
