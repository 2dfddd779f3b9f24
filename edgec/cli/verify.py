"""`edgec verify`: hashes, golden frames, and the difference to what was recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgec.cli import options
from edgec.cli.console import out
from edgec.cli.recording import Record, checking

if TYPE_CHECKING:
    from edgec.onboard.trust import Verified
    from edgec.report.checks import Check
    from edgec.verifying import VerifyResult


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@options.artefact
@options.threads
@click.option(
    "--min-fidelity",
    type=click.FloatRange(0, 1, min_open=True),
    help="The least cosine to float32 that the artefact may promise, if it was built to keep less than edgec allows otherwise.",
)
@options.trust_if_given
@options.measurers
@click.option("--name", default="", metavar="NAME", help="With --trust: what the release must be called.")
@click.option(
    "--newer-than",
    type=click.IntRange(0, 2**63 - 2),
    metavar="SERIAL",
    help="With --trust: refuse this release, and older ones.",
)
@click.option("--signature-only", is_flag=True, help="With --trust: check signatures and files, and run nothing.")
@checking
@options.as_json
def verify(
    artefact: Path,
    threads: int | None,
    min_fidelity: float | None,
    trust: tuple[Path, ...],
    measurers: tuple[Path, ...],
    name: str,
    newer_than: int | None,
    signature_only: bool,
    junit: Path | None,
    github: bool,
    undecided_fails: bool,
    as_json: bool,
) -> None:
    """Run ARTEFACT's golden frames again and compare. With --trust, ARTEFACT may be a bundle, and its signature is checked first.

    Checks the hash of every file, then every output against the features recorded at the build: bit by bit on such a machine as
    built it. Needs the artefact's runtime and numpy only; for signatures, the system's openssl. Exit code 8: the artefact is
    damaged. 9: it computes something else. 19: it is not signed, not by a holder of --trust, or not as it was signed. 20: it is
    signed, but expired, too old, or called otherwise. 22, with --fail-on-undecided: something could not be checked.
    """
    from edgec.bundle.trusting import trust_in, trusted, verify_signature
    from edgec.onboard.trust import Policy
    from edgec.verifying import verify as run

    if not trust:
        _refuse_what_takes_trust(artefact, any((measurers, name, newer_than is not None, signature_only)))
    with Record("verify", junit, github) as record:
        if not trust:
            result, verified = run(artefact, threads=threads, min_fidelity=min_fidelity), None
            _say(result, None, as_json, artefact)
        else:
            policy = Policy(trust_in(trust), trust_in(measurers), name, 0 if newer_than is None else newer_than + 1)
            if signature_only:
                result, verified = None, verify_signature(artefact, policy)
                _say(None, verified, as_json, artefact)
            else:
                with trusted(artefact, policy) as (place, verified):
                    result = run(place, threads=threads, min_fidelity=min_fidelity)
                    _say(result, verified, as_json, artefact)
        record.add(*_checks(result, verified))
        if undecided_fails:
            record.require_decided()


def _checks(result: VerifyResult | None, verified: Verified | None) -> Iterator[Check]:
    from edgec.records.reading import printable
    from edgec.report.checks import Check

    if verified is not None:
        yield Check("signature", "passed", f"signed by {verified.signer}")
    if result is None:
        return
    yield Check("hashes", "passed", f"{result.files} files")
    for output in result.outputs:
        parts = (output.name, output.variant, output.size)
        text = f"difference {output.difference:.3g} of {output.tolerance:.3g} allowed, lowest cosine {output.cosine:.6f}"
        yield Check(printable(", ".join(filter(None, parts))), "passed", text)
    for note in result.notes:
        yield Check("not checked", "undecided", printable(note))


def _refuse_what_takes_trust(artefact: Path, given: bool) -> None:
    from edgec.errors import RequestError
    from edgec.onboard.container import SUFFIX

    if given or (artefact.name.endswith(SUFFIX) and artefact.is_file()):
        what = "These options check a signature" if given else f"{artefact} is a bundle"
        raise RequestError(f"{what}, and no key is trusted.", remedy="give the public key: --trust KEY.pub")


def _say(result: VerifyResult | None, verified: Verified | None, as_json: bool, artefact: Path) -> None:
    from edgec.bundle.release import said
    from edgec.cli.console import err
    from edgec.onboard.container import SIGNATURE

    if as_json:
        document = {**({} if result is None else _result_json(result)), **({} if verified is None else said(verified))}
        click.echo(json.dumps({**document, "directory": str(artefact), "verified": True}, indent=2))
        return
    if verified is not None:
        _print_release(verified)
    elif (artefact / SIGNATURE).is_file():
        err.print("Note: it is signed, and the signature was not checked: give --trust KEY.pub")
    if result is not None:
        _print(result)


def _print_release(verified: Verified) -> None:
    from rich.text import Text

    from edgec.cli.console import out

    release, measurement = verified.release, verified.measurement
    until = f", until {release.expires}" if release.expires else ""
    out.print(
        Text(f"{release.name} {release.version}, serial {release.serial}{until}, signed by {verified.signer}"), soft_wrap=True
    )
    measured = f"measured by {measurement.by}, {measurement.created}, signed by {verified.measurer}"
    out.print(Text(measured), soft_wrap=True)
    out.print(f"signatures ok, {len(verified.files)} files")


def _print(result: VerifyResult) -> None:
    from rich.table import Table
    from rich.text import Text

    from edgec.cli.console import err
    from edgec.records.reading import printable

    for note in result.notes:
        err.print(Text(f"Warning: {note}"))
    out.print(f"hashes ok, {result.files} files")
    threads = f"{result.threads} thread{'s' if result.threads > 1 else ''}"
    run = (f"{result.frames} golden frames in {printable(result.runtime)}", printable(result.execution_precision), threads)
    out.print(Text(", ".join(filter(None, run))))
    table = Table(box=None, pad_edge=False)
    several = any(output.size for output in result.outputs)
    if several:
        table.add_column("size")
    table.add_column("output")
    for title in ("difference", "tolerance", "like float32", "worst", "as"):
        table.add_column(title, justify="right")
    for output in result.outputs:
        table.add_row(
            *([output.size] if several else []),
            Text(printable(f"{output.name}, {output.variant}" if output.variant else output.name)),
            f"{output.difference:.3g}",
            f"{output.tolerance:.3g}",
            f"{output.float32_cosine_mean:.6f}",
            f"{output.float32_cosine_min:.6f}",
            "same labels" if output.role == "labels" else "cosine",
        )
    out.print(table)
    out.print("verified")


def _result_json(result: VerifyResult) -> dict[str, object]:
    from dataclasses import asdict

    return {**asdict(result), "directory": str(result.directory)}
