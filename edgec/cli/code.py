"""`edgec code`: the program for the robot that loads the artefact."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from edgec.cli import options
from edgec.code.languages import LANGUAGES


def _languages(command: Callable[..., Any]) -> Callable[..., Any]:
    """An option for each language; one of them must be given."""
    for name, text in reversed(list(LANGUAGES.items())):
        command = click.option(f"--{name}", "language", flag_value=name, default=None, help=text)(command)
    return command


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@options.artefact
@_languages
@click.option(
    "-o", "--output", type=options.PathType(written=True), metavar="DIR",
    help="Where the project goes.  [default: beside the artefact, ARTEFACT-LANGUAGE]",
)  # fmt: skip
@click.option(
    "--variant", metavar="NAME", help="Another graph of the artefact, which a board activated: its name in the board's report."
)
@click.option("--name", metavar="NAME", help="What the code calls the model: its namespace.  [default: from the artefact's name]")
@click.option("--force", is_flag=True, help="Replace a project that edgec wrote and nobody changed.")
@options.as_json
def code(
    artefact: Path, language: str | None, output: Path | None, variant: str | None, name: str | None, force: bool, as_json: bool
) -> None:
    """Write a program for the robot that loads ARTEFACT: its input and outputs as types, and a self-test that must pass on the
    robot before the program is ready.

    Every file of ARTEFACT is checked by its hash first. The project holds the model, the golden frames and the code, which is
    yours to change. Exit code 5: there is no such code for the artefact's family. 8: the artefact is damaged, or DIR is there.
    """
    from edgec.code.generating import CodeRequest, generate
    from edgec.errors import RequestError

    if language is None:
        raise RequestError("Say which code to write.", remedy=", ".join(f"--{each}" for each in LANGUAGES))
    project = generate(CodeRequest(artefact, language, output, variant, name, force))
    if as_json:
        click.echo(json.dumps({**asdict(project), "directory": str(project.directory)}, indent=2))
        return
    click.echo(f"project: {project.directory}, for {project.precision} in {project.runtime}")
    click.echo(f"how to build and run it: {project.directory / 'README.md'}")
