"""`edgec keygen`: a key to sign bundles with."""

from __future__ import annotations

from pathlib import Path

import click

from edgec.cli import options


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("key", type=options.PathType(written=True))
def keygen(key: Path) -> None:
    """Write a new private key to KEY, and its public key to KEY.pub.

    The key is for ECDSA on P-256, as OpenSSF Model Signing recommends, in PEM without a passphrase, readable by its owner
    alone. A file that is there is never overwritten.

    KEY signs: `edgec bundle --sign KEY`. KEY.pub checks: `edgec verify --trust KEY.pub`.
    """
    from edgec.bundle.keys import Signer, generate, public_of
    from edgec.extras import require

    require("bundle", "Making a key")
    public = generate(key)
    click.echo(f"private key: {key} (keep it where only releases are made)")
    click.echo(f"public key:  {public} (for boards, and everybody who checks)")
    click.echo(f"its hash:    {public_of(Signer(key)).hint}")
