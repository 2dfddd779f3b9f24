"""The two consoles: results go to standard output, progress and complaints to standard error."""

from __future__ import annotations

import os
import sys

from rich.console import Console


class _Aside(Console):
    """Work goes on when nobody reads its progress any more: `edgec build … 2>&1 | head -1` still builds."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def plain(text: str) -> str:
    """Without what could steer a terminal: names of files come from anywhere."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


out = Console(highlight=False, soft_wrap=False)
err = _Aside(stderr=True, highlight=False)
