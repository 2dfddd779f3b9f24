"""`edgec completion`: what a shell needs to complete edgec's commands, options and targets."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that completes edgec's commands, options, targets and files in SHELL.

    \b
    bash: add to ~/.bashrc   eval "$(edgec completion bash)"
    zsh:  add to ~/.zshrc    eval "$(edgec completion zsh)"
    fish: write it once      edgec completion fish > ~/.config/fish/completions/edgec.fish

    bash must be 4.4 or newer.
    """
    from click.shell_completion import get_completion_class

    from edgec.cli import COMPLETE, edgec_cli
    from edgec.cli.console import document

    kind = get_completion_class(shell)
    assert kind is not None
    # Not `source` of the object: for bash that starts a shell only to look at its version.
    maker = kind(edgec_cli, {}, "edgec", COMPLETE)
    document(maker.source_template % maker.source_vars(), end="")
