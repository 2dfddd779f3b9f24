"""`edgec bundle`: one signed file of an artefact; and what differs between two, a newer measurement, and the way back."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgec.bundle.ota.registry import PACKERS
from edgec.cli import options

if TYPE_CHECKING:
    from edgec.bundle.ota.packer import Setting, Wish
    from edgec.bundle.packing import Made

_DIFFERENT = 1

_file = options.PathType(exists=True, dir_okay=False)


def _key_or_the_recipes(context: click.Context, parameter: click.Parameter, given: str | None) -> str | None:
    if given is not None or context.resilient_parsing:
        return given
    from edgec.recipes.file import here

    recipe = here()
    if recipe is None or recipe.key is None:
        raise click.MissingParameter(ctx=context, param=parameter)
    return recipe.key


_key = click.option(
    "--sign", "key", type=options.KeyType(), callback=_key_or_the_recipes, metavar="KEY",
    help="The private key, in PEM, or a PKCS#11 URI of one (pkcs11:token=…;object=…?module-path=…). A passphrase is asked for, "
    "or taken from EDGEC_PASSPHRASE.  [default: the key that edgec.toml in this folder names]",
)  # fmt: skip
_certificate = click.option("--certificate", type=_file, metavar="FILE", help="Sign with the certificate of this key, in PEM.")
_chain = click.option(
    "--chain", type=_file, multiple=True, metavar="FILE",
    help="A certificate that vouches for the one before; the root comes last. May be given more than once.",
)  # fmt: skip
_by = click.option("--by", default="", metavar="TEXT", help="Who measured the report.  [default: edgec, and the report's CPU]")
_place = click.option(
    "-o", "--output", type=options.PathType(written=True), required=True, metavar="FILE",
    help="Where the bundle goes: NAME-VERSION.edgec-bundle.",
)  # fmt: skip
_force = click.option("--force", is_flag=True, help="Replace a bundle that is there.")


def _signing(command: Callable[..., Any]) -> Callable[..., Any]:
    """Who signs, and where the bundle goes."""
    return _key(_certificate(_chain(_place(_by(_force(command))))))


def _ask_passphrase() -> str:
    from edgec.errors import RequestError

    given = os.environ.get("EDGEC_PASSPHRASE")
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise RequestError("The key has a passphrase, and nobody can be asked for it.", remedy="set EDGEC_PASSPHRASE")
    passphrase: str = click.prompt("Passphrase of the key", hide_input=True, err=True)
    return passphrase


def _for_tools(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--for TOOL`, and the options that each tool has of its own."""
    for packer in reversed(PACKERS.values()):
        for setting in reversed(packer.settings):
            command = _tool_option(packer.name, packer.title, setting)(command)
    return click.option(
        "--for", "tools", type=click.Choice(list(PACKERS)), multiple=True,
        help="Also write what this OTA tool takes, beside FILE. May be given more than once.",
    )(command)  # fmt: skip


def _tool_option(name: str, title: str, setting: Setting) -> Callable[..., Any]:
    return click.option(
        f"--{name}-{setting.name}", _parameter(name, setting), type=_file if setting.kind == "file" else str,
        metavar=setting.metavar, multiple=setting.many, help=f"For {title}: {setting.help[0].lower()}{setting.help[1:]}",
    )  # fmt: skip


def _parameter(name: str, setting: Setting) -> str:
    return f"{name}_{setting.name}".replace("-", "_")


def _wishes(tools: tuple[str, ...], given: dict[str, Any]) -> tuple[Wish, ...]:
    """Raises `UsageError` for an option of a tool that `--for` does not name."""
    from edgec.bundle.ota.packer import Wish

    for name, value in given.items():
        tool, _, setting = name.partition("_")
        if value and tool not in tools:
            raise click.UsageError(f"--{tool}-{setting.replace('_', '-')} is for `--for {tool}`, which was not given.")
    chosen = [PACKERS[tool] for tool in dict.fromkeys(tools)]
    return tuple(
        Wish(each, {setting.name: given[_parameter(each.name, setting)] for setting in each.settings}) for each in chosen
    )


class _Group(click.Group):
    """`edgec bundle ARTEFACT` is short for `edgec bundle make ARTEFACT`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """A first word that is no command is an artefact or an option of `make`."""
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["make", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
def bundle() -> None:
    """Make one signed file of an artefact, for a fleet: `edgec bundle ARTEFACT --sign KEY -o robot-1.4.0.edgec-bundle`.

    That is short for `edgec bundle make`. An artefact that is called like one of the commands below is written ./diff.
    """


@bundle.command(short_help="Sign an artefact, and write it as one file.")
@options.artefact
@_signing
@click.option("--name", default="", metavar="NAME", help="What is released.  [default: from the file's name]")
@click.option("--release", "version", default="", metavar="VERSION", help="Its version.  [default: from the file's name]")
@click.option(
    "--serial", type=click.IntRange(1, 2**63 - 1),
    help="Its place among the releases; older ones are refused by it.  [default: from a version of numbers]",
)  # fmt: skip
@click.option("--expires", default="", metavar="DATE", help="The last day on which it is accepted, in UTC, as 2027-01-31.")
@click.option("--licence", type=_file, metavar="FILE", help="The text of the weights' licence, if the artefact lacks it.")
@_for_tools
@options.as_json
def make(
    artefact: Path,
    key: str,
    certificate: Path | None,
    chain: tuple[Path, ...],
    output: Path,
    by: str,
    force: bool,
    name: str,
    version: str,
    serial: int | None,
    expires: str,
    licence: Path | None,
    tools: tuple[str, ...],
    as_json: bool,
    **given: Any,
) -> None:
    """Write ARTEFACT as one signed file: the artefact, a CycloneDX ML-BOM, the licence's text, and a signature of OpenSSF Model
    Signing over every file. Its report has a signature of its own.

    The same artefact and options give the same bytes, but for the two signatures: ECDSA has another one each time. Exit code 2:
    the key or a name cannot be used. 8: the artefact is damaged, lacks a licence's text, or FILE is there.
    """
    from edgec.bundle.keys import signer_from
    from edgec.bundle.packing import make_bundle
    from edgec.bundle.release import Naming
    from edgec.extras import require

    require("bundle", "Signing a bundle")
    naming = Naming(name, version, serial, expires)
    signer, wishes = signer_from(key, certificate, chain, ask=_ask_passphrase), _wishes(tools, given)
    made = make_bundle(artefact, output, signer, naming=naming, licence=licence, by=by, wishes=wishes, force=force)
    _print_made(made, as_json)


@bundle.command(short_help="Replace a bundle's report by a newer measurement.")
@click.argument("file", metavar="BUNDLE", type=options.PathType())
@click.argument("measured", metavar="REPORT", type=options.PathType())
@_signing
@options.trust
@options.as_json
def report(
    file: Path,
    measured: Path,
    key: str,
    certificate: Path | None,
    chain: tuple[Path, ...],
    output: Path,
    by: str,
    force: bool,
    trust: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Write BUNDLE again with REPORT, a newer measurement of the same artefact, in place of its own. The release and its
    signature stay; KEY, which need not be the release's, signs the measurement.

    Exit code 8: REPORT is of another artefact, or older. 19: BUNDLE is not as a holder of --trust signed it.
    """
    from edgec.bundle.keys import signer_from
    from edgec.bundle.packing import replace_report
    from edgec.bundle.trusting import trust_in
    from edgec.extras import require

    require("bundle", "Signing a measurement")
    signer = signer_from(key, certificate, chain, ask=_ask_passphrase)
    _print_made(replace_report(file, measured, output, signer, trust_in(trust), by=by, force=force), as_json)


@bundle.command(short_help="Check a bundle, and write it as an artefact's directory.")
@click.argument("file", metavar="BUNDLE", type=options.PathType())
@options.trust
@options.measurers
@click.option(
    "-o", "--output", type=options.PathType(written=True), required=True, metavar="DIR", help="Where the artefact goes."
)
@options.force
def unpack(file: Path, trust: tuple[Path, ...], measurers: tuple[Path, ...], output: Path, force: bool) -> None:
    """Check BUNDLE, and write what is in it as an artefact's directory, which every command takes; `verify --trust` checks its
    signature again.

    Exit code 19: it is not as a holder of --trust signed it. 20: it expired.
    """
    from edgec.bundle.trusting import trust_in, unpack_bundle
    from edgec.onboard.trust import Policy

    written = unpack_bundle(file, output, Policy(trust_in(trust), trust_in(measurers)), force=force)
    click.echo(f"artefact: {written}")


@bundle.command(short_help="Say why two bundles differ.")
@click.argument("a", metavar="A", type=options.PathType())
@click.argument("b", metavar="B", type=options.PathType())
@options.as_json
@click.pass_context
def diff(context: click.Context, a: Path, b: Path, as_json: bool) -> None:
    """Say in which files the bundles (or artefacts) A and B differ, and in which values. No signature is checked.

    Exit code 0: the same release, though perhaps signed or measured again. 1: another one.
    """
    from rich.text import Text

    from edgec.bundle.diff import compare_bundles
    from edgec.cli.console import out
    from edgec.records.reading import printable

    comparison = compare_bundles(a, b)
    if as_json:
        document = {
            "same_release": comparison.same_release,
            "summary": comparison.summary,
            "differences": [asdict(difference) for difference in comparison.differences],
        }
        click.echo(json.dumps(document, indent=2))
    else:
        for difference in comparison.differences:
            out.print(Text(f"{difference.part}: {printable(difference.path)} {difference.what}"), soft_wrap=True)
            for why in difference.why:
                out.print(Text(f"  {why}"), soft_wrap=True)
        out.print(comparison.summary, soft_wrap=True)
    context.exit(0 if comparison.same_release else _DIFFERENT)


def _print_made(made: Made, as_json: bool) -> None:
    from edgec.bundle.release import said

    if as_json:
        document = {"bundle": str(made.path), "size_bytes": made.size_bytes, "beside": list(map(str, made.beside))}
        click.echo(json.dumps({**document, **said(made.verified)}, indent=2))
        return
    release, measurement = made.verified.release, made.verified.measurement
    click.echo(f"bundle: {made.path}, {made.size_bytes:,} bytes, {len(made.verified.files)} files")
    click.echo(f"release: {release.name} {release.version}, serial {release.serial}, signed by {made.verified.signer}")
    click.echo(f"measured: {measurement.by}, {measurement.created}, signed by {made.verified.measurer}")
    for path in made.beside:
        click.echo(f"beside: {path}, {path.stat().st_size:,} bytes")
