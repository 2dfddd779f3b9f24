"""The two consoles: results go to standard output, progress and complaints to standard error.

Names of files, of outputs and of boards may hold anything. Characters that could steer a terminal are replaced where text leaves
the program, whatever prints it: by the consoles below, which add rich's own styles afterwards, and by `Cleaned`, through which
everything else goes that is written while a command runs. Square brackets in a name are not taken for markup.
"""

from __future__ import annotations

import contextlib
import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from typing import IO, Any, TextIO, cast

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.status import Status
from rich.text import Text


def plain(text: str) -> str:
    """The text on one line, without characters that could steer a terminal or do not show. Unlike `printable`, it keeps
    spaces."""
    return _without(text, "")


def cleaned(text: str) -> str:
    """As `plain`, but with its line breaks and tabs."""
    return _without(text, "\n\t")


def _without(text: str, allowed: str) -> str:
    """Replaces controls, marks of direction, characters without width, halves of surrogate pairs: everything that Unicode calls
    not printable. Its other spaces become plain ones."""
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable() or character in allowed
        else " "
        if unicodedata.category(character) == "Zs"
        else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )


class Cleaned:
    """A text stream that cleans what is written. rich's consoles, which clean by themselves, write to the stream below it."""

    def __init__(self, stream: TextIO) -> None:
        self.rich_proxied_file = stream

    def write(self, text: str) -> int:
        """Writes the cleaned text; returns the length of `text`."""
        if not isinstance(text, str):
            raise TypeError(f"a stream of text takes no {type(text).__name__}")
        self.rich_proxied_file.write(cleaned(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Each by `write`."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        if name in ("buffer", "detach"):
            # With these, click would write bytes to the stream below where the encoding is ASCII.
            raise AttributeError(name)
        return getattr(self.rich_proxied_file, name)


@contextlib.contextmanager
def cleaned_streams() -> Iterator[None]:
    """While entered, whatever is written to `sys.stdout` or `sys.stderr` is cleaned, and characters that the terminal's encoding
    lacks become question marks instead of errors."""
    before = sys.stdout, sys.stderr
    for stream in before:  # None where the shell closed it
        if hasattr(stream, "reconfigure"):
            # A stream that was opened on a file and is a pipe by now cannot be asked where it stands.
            with contextlib.suppress(OSError):
                stream.reconfigure(errors="replace")
    sys.stdout, sys.stderr = (cast(TextIO, Cleaned(stream)) if stream else stream for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class _CleaningConsole(Console):
    """Cleans text after rich has laid it out, so that nothing escapes it; rich marks its own control codes."""

    @property
    def file(self) -> IO[str]:
        # A live display puts a stream of its own over ours, so that there may be two.
        file = super().file
        while isinstance(file, Cleaned):
            file = file.rich_proxied_file
        return file

    @file.setter
    def file(self, new_file: IO[str]) -> None:
        self._file = new_file

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else _clean_segment(segment)

    def status(self, status: RenderableType, **settings: Any) -> Status:
        return _Status(status, self, settings)


def _clean_segment(segment: Segment) -> Segment:
    style = segment.style
    if style is not None and style.link is not None:
        style = style.update_link(None)  # an address would be text that does not show
    return Segment(cleaned(segment.text), style)


class _Status(Status):
    """rich would read a status that is a string as markup."""

    def __init__(self, status: RenderableType, console: Console, settings: dict[str, Any]) -> None:
        super().__init__(_literal(status), console=console, **settings)

    def update(self, status: RenderableType | None = None, **settings: Any) -> None:
        super().update(None if status is None else _literal(status), **settings)


def _literal(status: RenderableType) -> RenderableType:
    return Text(status) if isinstance(status, str) else status


class _ProgressConsole(_CleaningConsole):
    """Work goes on when its progress is no longer read: `edgec build … 2>&1 | head -1` still builds."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def echo(text: str, *, end: str = "\n") -> None:
    """A cleaned line on standard output, neither wrapped nor styled."""
    click.echo(cleaned(text) + end, nl=False, file=sys.stdout)


def document(text: str, *, end: str = "\n") -> None:
    """Text for a program or a browser on standard output, unchanged. JSON must have escaped whatever is not ASCII."""
    file = sys.stdout.rich_proxied_file if isinstance(sys.stdout, Cleaned) else sys.stdout
    click.echo(text + end, nl=False, file=file)


def wide(width: int) -> Console:
    """Standard output for tables with a line a row, however narrow the terminal."""
    return _CleaningConsole(file=out.file, highlight=False, markup=False, emoji=False, width=width)


out = _CleaningConsole(highlight=False, markup=False, emoji=False, soft_wrap=False)
err = _ProgressConsole(stderr=True, highlight=False, markup=False, emoji=False)
