"""Whether a signed artefact, in a folder or a bundle, is what somebody trusted released, whole and not too old.

Python's standard library and the system's `openssl`: boards and the workstation check alike. The signature comes first; nothing
of the content is believed before it.
"""

from __future__ import annotations

import calendar
import hashlib
import os
import re
import time
from pathlib import Path
from typing import NamedTuple

from .container import (
    MEASURED,
    NOT_IN_RELEASE,
    RELEASE,
    REPORT_SIGNATURE,
    SIGNATURE,
    Bundle,
    Folder,
    Source,
    is_measurement,
    mode_of,
    read_in,
    sha256_in,
)
from .documents import SHA256, integer, matching, text
from .errors import Outdated, Untrusted
from .oms import MOST_BYTES, Statement, parse, statement_of
from .openssl import Trust, signer_of
from .untrusted import Refused, parse_json_object, printable

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)Z")
_MOST_BYTES = 1 << 20
_SHOWN = 20
_REMEDY = "do not use it: copy it again from where it is whole, or ask who released it"


class Release(NamedTuple):
    """What a release says about itself, in its signed part. Later releases have larger serials. `expires` is in UTC, as
    `2027-01-31T23:59:59Z`, or empty."""

    name: str
    version: str
    serial: int
    expires: str = ""


class Measurement(NamedTuple):
    """Whose measurement a report is: in words of whoever signed it."""

    by: str
    created: str
    artefact_sha256: str


class Policy(NamedTuple):
    """What is accepted. Measurements may be signed by `measurers`, too. A release must have this `name`, unless that is empty,
    and at least this serial. `now` is in seconds since 1970, by default this machine's clock."""

    trust: Trust
    measurers: Trust = Trust()
    name: str = ""
    least_serial: int = 0
    now: float | None = None


class Verified(NamedTuple):
    """What was checked: `files` is the SHA-256 of every file, the signatures' included."""

    release: Release
    signer: str
    measurement: Measurement
    measurer: str
    files: dict[str, str]


class Released(NamedTuple):
    """A release that was checked, without its measurement. `files` as in `Verified`, without the measurement's."""

    release: Release
    signer: str
    files: dict[str, str]


def open_source(path: Path) -> Source:
    """A folder, or a bundle. Raises `Untrusted` for neither, and `OSError`."""
    try:
        return Folder(path) if path.is_dir() else Bundle(path)
    except Refused as error:
        raise _untrusted(path, str(error)) from None


def check(source: Source, path: Path, policy: Policy) -> Verified:
    """Check everything: signatures, every file, then name, serial and date. `path` is what messages call it.

    Raises `Untrusted` for what is not signed by a trusted key, or not as it was signed (a file changed, added, missing or
    renamed); `Outdated` for what is signed and refused all the same; `WrongBoard` without `openssl`; and
    `OSError`.
    """
    released = read_signed(source, path, policy.trust)
    try:
        both = Trust(policy.trust.keys + policy.measurers.keys, policy.trust.certificates + policy.measurers.certificates)
        measurer, measurement, measured = check_measurement(source, released.files.get(MANIFEST, ""), both)
        files = {**released.files, **measured, REPORT_SIGNATURE: sha256_in(source, REPORT_SIGNATURE)}
    except Refused as error:
        raise _untrusted(path, str(error)) from None
    check_policy(released.release, path, policy)
    return Verified(released.release, released.signer, measurement, measurer, files)


def read_signed(source: Source, path: Path, trust: Trust) -> Released:
    """Check the release's signature and files, and leave the measurement, name, serial and date to others. Raises as `check`, but
    never `Outdated`."""
    try:
        signer, statement = check_signature(source, SIGNATURE, trust)
        files = check_files(source, statement)
        release = read_release(_signed_document(source, RELEASE, statement))
        return Released(release, signer, {**files, SIGNATURE: sha256_in(source, SIGNATURE)})
    except Refused as error:
        raise _untrusted(path, str(error)) from None


def read_verified(source: Source, path: Path, files: dict[str, str], name: str, limit: int) -> bytes:
    """The content of one of the `files` that were verified, hashed again. Raises `Untrusted` if it is not among them, has changed
    meanwhile or has more than `limit` bytes; and `OSError`."""
    try:
        if name not in files:
            raise Refused(f"lacks {name}")
        content = read_in(source, name, limit)
    except Refused as error:
        raise _untrusted(path, str(error)) from None
    if hashlib.sha256(content).hexdigest() != files[name]:
        raise _untrusted(path, f"was changed while it was read: {name}")
    return content


def check_signature(source: Source, name: str, trust: Trust) -> tuple[str, Statement]:
    """Who signed, and what it says. Raises `Refused`, `WrongBoard` and `OSError`."""
    if name not in source.sizes:
        raise Refused(f"is not signed: it has no {name}")
    try:
        envelope = parse(read_in(source, name, MOST_BYTES))
        return signer_of(envelope, trust), statement_of(envelope.payload)
    except Refused as error:
        raise Refused(f"has a signature that is not accepted: {name} {error}") from None


def check_files(source: Source, statement: Statement) -> dict[str, str]:
    """The SHA-256 of every file but the measurement and the signatures. Raises `Refused` unless they are those that were signed,
    and `OSError`."""
    if statement.ignored != NOT_IN_RELEASE:
        raise Refused(
            "has a signature that leaves out other files than a measurement: {}".format(", ".join(sorted(statement.ignored)))
        )
    names = {name for name in source.sizes if not is_measurement(name) and name not in (SIGNATURE, REPORT_SIGNATURE)}
    return _compare(source, names, statement)


def check_measurement(source: Source, manifest_sha256: str, trust: Trust) -> tuple[str, Measurement, dict[str, str]]:
    """Who signed the measurement, what it says, and the SHA-256 of its files. Raises `Refused` unless it is signed, whole, and of
    the artefact whose manifest has this SHA-256; and `OSError`."""
    signer, statement = check_signature(source, REPORT_SIGNATURE, trust)
    files = _compare(source, {name for name in source.sizes if is_measurement(name)}, statement)
    document = _signed_document(source, MEASURED, statement)
    try:
        if document["schema_version"] != SCHEMA_VERSION:
            raise ValueError("it has version {!r}".format(document["schema_version"]))
        digest = matching(SHA256, document["artefact_sha256"])
        measurement = Measurement(printable(text(document["by"])), printable(text(document["created"])), digest)
    except (KeyError, ValueError) as error:
        raise Refused(f"has a {MEASURED} that cannot be used: {error}") from None
    if digest != manifest_sha256:
        raise Refused(f"has a measurement of another artefact: its manifest has SHA-256 {digest[:16]}…")
    return signer, measurement, files


def read_release(document: dict[str, object]) -> Release:
    """What signed/release.json says. Raises `Refused`."""
    try:
        if document["schema_version"] != SCHEMA_VERSION:
            raise ValueError("it has version {!r}".format(document["schema_version"]))
        release = Release(
            matching(_NAME, document["name"]),
            matching(_NAME, document["version"]),
            integer(document["serial"], 1),
            "" if document["expires"] is None else text(document["expires"]),
        )
        seconds_of(release.expires)
        return release
    except (KeyError, ValueError) as error:
        raise Refused(f"has a {RELEASE} that cannot be used: {error}") from None


def seconds_of(moment: str) -> float:
    """Seconds since 1970 of a time as `Release.expires` has it; infinity for an empty one. Raises `ValueError`."""
    if not moment:
        return float("inf")
    found = _TIME.fullmatch(moment)
    if found is None:
        raise ValueError(f"{moment!r} is not a time as in 2027-01-31T23:59:59Z")
    parts = tuple(map(int, found.groups()))
    seconds = calendar.timegm((*parts, 0, 1, 0))
    if time.gmtime(seconds)[:6] != parts:
        raise ValueError(f"there is no day {moment!r}")
    return float(seconds)


def check_policy(release: Release, path: Path, policy: Policy) -> None:
    """Raises `Outdated` for a release of another name or an older serial than the policy has, or that has expired."""
    now = time.time() if policy.now is None else policy.now
    problem = ""
    if policy.name and release.name != policy.name:
        problem = f"it is {release.name}, and {printable(policy.name)} is asked for"
    elif release.serial < policy.least_serial:
        problem = f"its serial is {release.serial}, and at least {policy.least_serial} is asked for"
    elif now > seconds_of(release.expires):
        problem = f"it expired at {release.expires}"
    if problem:
        raise Outdated(
            f"{printable(str(path))} is signed, and is not accepted: {problem}.",
            evidence=[f"{release.name} {release.version}, serial {release.serial}"],
            remedy="get a newer release",
        )


def unpack(source: Source, files: dict[str, str], folder: Path) -> None:
    """Write the `files` that were verified, with their SHA-256, into an empty folder. They are hashed again as they are copied.

    Raises `Untrusted` if one has changed meanwhile, and `OSError`.
    """
    for name, expected in files.items():
        destination = folder / name
        destination.parent.mkdir(parents=True, exist_ok=True)
        digest, opening = hashlib.sha256(), b""
        with destination.open("wb") as file:
            try:
                for block in source.blocks(name):
                    opening = opening or block[:2]
                    digest.update(block)
                    file.write(block)
            except Refused as error:
                raise _untrusted(folder, str(error)) from None
            os.fchmod(file.fileno(), mode_of(opening))
        if digest.hexdigest() != expected:
            raise _untrusted(folder, f"was changed while it was copied: {name}")


def _compare(source: Source, names: set[str], statement: Statement) -> dict[str, str]:
    digests = {name: sha256_in(source, name) for name in sorted(names & statement.files.keys())}
    problems: list[str] = [f"missing: {name}" for name in sorted(statement.files.keys() - names)]
    problems += [f"changed: {name}" for name, digest in digests.items() if digest != statement.files[name]]
    problems += [f"not signed: {name}" for name in sorted(names - statement.files.keys())]
    if problems:
        rest = [f"and {len(problems) - _SHOWN} more"] * (len(problems) > _SHOWN)
        raise Refused("is not as it was signed\n" + "\n".join([*map(printable, problems[:_SHOWN]), *rest]))
    return digests


def _signed_document(source: Source, name: str, statement: Statement) -> dict[str, object]:
    if name not in statement.files:
        raise Refused(f"has a signature that is not about a {name}")
    try:
        return parse_json_object(read_in(source, name, _MOST_BYTES))
    except Refused as error:
        raise Refused(f"has a {name} that cannot be used: it {error}") from None


def _untrusted(path: Path, problem: str) -> Untrusted:
    what, *evidence = problem.split("\n")
    return Untrusted("{} {}.".format(printable(str(path)), what.rstrip(".")), evidence=evidence, remedy=_REMEDY)
