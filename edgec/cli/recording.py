"""What `compare` and `verify` leave for continuous integration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click

from edgec.cli import options
from edgec.errors import EdgecError, Regression, Undecided

if TYPE_CHECKING:
    from edgec.report.checks import Check

_junit = click.option(
    "--junit", type=options.PathType(written=True, dir_okay=False), metavar="FILE",
    help="Also write what was looked at there, as JUnit's XML: a test case each.",
)  # fmt: skip
_github = click.option(
    "--github",
    is_flag=True,
    help="Also print what failed or is undecided as annotations of a GitHub workflow, on standard error.",
)
_undecided = click.option(
    "--fail-on-undecided", "undecided_fails", is_flag=True, help="End with exit code 22 if something could not be decided."
)


def checking(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options `junit`, `github` and `undecided_fails`."""
    return _junit(_github(_undecided(command)))


class Record:
    """While entered, collects checks; at its end, also that of an error, it writes them where the user asked for them."""

    def __init__(self, suite: str, junit: Path | None, github: bool) -> None:
        self._suite, self._junit, self._github = suite, junit, github
        self._checks: list[Check] = []
        self._undecided_fails = False

    def add(self, *checks: Check) -> None:
        """What has been looked at."""
        self._checks += checks

    def require_decided(self) -> None:
        """Raises `Undecided` if something is not."""
        self._undecided_fails = True
        open_questions = [check.text for check in self._checks if check.outcome == "undecided"]
        if open_questions:
            raise Undecided(
                "Not everything could be decided.",
                evidence=open_questions,
                remedy="measure again, alone and longer, or do without --fail-on-undecided",
            )

    def __enter__(self) -> Record:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        from edgec.report.checks import Check, to_annotations, to_junit

        if error is not None and not isinstance(error, EdgecError):
            return
        if error is not None and not isinstance(error, (Regression, Undecided)):
            self.add(Check(self._suite, "failed", " ".join(str(error).split())))
        if self._junit is not None:
            _write(self._junit, to_junit(self._suite, self._checks, undecided_fails=self._undecided_fails))
        for line in to_annotations(self._suite, self._checks) if self._github else ():
            click.echo(line, err=True)


def _write(path: Path, content: bytes) -> None:
    from edgec.durable import write_whole

    try:
        write_whole(path, content)
    except OSError as error:
        raise EdgecError(
            f"The checks could not be written to {path}.", evidence=str(error), remedy="choose a file that you may write"
        ) from error
