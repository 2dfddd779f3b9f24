"""`edgec glossary`: what the words mean."""

from __future__ import annotations

import textwrap

import click

from edgec.cli.console import out


@click.command()
@click.argument("words", nargs=-1, metavar="[WORD…]")
def glossary(words: tuple[str, ...]) -> None:
    """Say what the words mean that edgec prints: all of them, or WORD, as in `edgec glossary worst 1 %`."""
    from rich.text import Text

    from edgec.errors import RequestError
    from edgec.glossary import TERMS, find

    asked = " ".join(words)
    term = find(asked) if words else None
    if words and term is None:
        raise RequestError(
            f"There is no word {asked!a} in the glossary.",
            evidence=f"it has {', '.join(term.name for term in TERMS)}",
            remedy="leave the word out to see them all",
        )
    for each in (term,) if term else TERMS:
        also = f"  also: {', '.join(each.others)}" if each.others else ""
        out.print(Text.assemble((each.name, "bold"), (also, "dim")), soft_wrap=True)
        text = textwrap.fill(each.text, out.width, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
        out.print(Text(text), soft_wrap=True)
