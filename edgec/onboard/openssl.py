"""Whether a signature is by a key, or by a certificate, that is trusted: by the system's `openssl`, 1.1.1 or newer.

A board has no package for this, and Python's standard library has no ECDSA.
"""

from __future__ import annotations

import base64
import binascii
import calendar
import hashlib
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Iterable, NamedTuple, Sequence

from .errors import UsageError, WrongBoard
from .oms import Envelope, pae
from .untrusted import Refused, printable, read_bytes

_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\s+([A-Za-z0-9+/=\s]+?)-----END \1-----")
_MOST_BYTES = 1 << 20
_MOST_CERTIFICATES = 16
_SECONDS = 60
_LINE = 64
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CURVES = (
    (bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004"), 91, "sha256"),
    (bytes.fromhex("3076301006072a8648ce3d020106052b8104002203620004"), 120, "sha384"),
    (bytes.fromhex("30819b301006072a8648ce3d020106052b810400230381860004"), 158, "sha512"),
)
"""How public keys on P-256, P-384 and P-521 begin in DER, how long they are, and the hash that OMS signs with on each."""


class PublicKey(NamedTuple):
    """A public key on a curve that OMS allows. `hint` is the SHA-256 of `pem`, by which signatures name it."""

    pem: bytes
    hint: str
    digest: str


class Trust(NamedTuple):
    """Whose signatures are believed: the holders of these keys, and of certificates (DER) that these vouch for."""

    keys: tuple[PublicKey, ...] = ()
    certificates: tuple[bytes, ...] = ()


def read_trust(paths: Iterable[Path]) -> Trust:
    """Public keys and certificates from PEM files, of which each may hold several.

    Raises `UsageError` for a file that cannot be read, holds a private key or something else, or a key that OMS does not use.
    """
    keys, certificates = [], []
    for path in paths:
        blocks = _blocks(path)
        for kind, der in blocks:
            if kind == "CERTIFICATE":
                certificates.append(der)
            else:
                keys.append(_key(der, path))
    return Trust(tuple(keys), tuple(certificates))


def public_key(pem: bytes) -> PublicKey:
    """One public key in PEM. Raises `Refused`."""
    found = _PEM.fullmatch(pem.strip())
    if found is None or found.group(1) != b"PUBLIC KEY":
        raise Refused("is not a public key in PEM")
    return _from_der(_base64(found.group(2)))


def signer_of(envelope: Envelope, trust: Trust) -> str:
    """Who signed, in words: `key` and the first digits of its hash, or `certificate` and its subject.

    Raises `Refused` if nobody who is trusted did, and `WrongBoard` if there is no `openssl`.
    """
    with tempfile.TemporaryDirectory(prefix="edgec-") as place:
        folder = Path(place)
        if envelope.certificates:
            who, key = _certified(envelope.certificates, trust.certificates, folder)
        else:
            key = _named(envelope.hint, trust.keys)
            who = f"key {key.hint[:16]}"
        (folder / "key.pem").write_bytes(key.pem)
        (folder / "signature").write_bytes(envelope.signature)
        (folder / "signed").write_bytes(pae(envelope.payload))
        verify = ["dgst", "-" + key.digest, "-verify", "key.pem", "-signature", "signature", "signed"]
        code, said = _openssl(verify, folder)
        if code != 0:
            raise Refused(f"was not made by {who} for this statement: openssl says {_last(said)}")
        return who


def _named(hint: str, keys: Sequence[PublicKey]) -> PublicKey:
    for key in keys:
        if key.hint == hint:
            return key
    trusted = ", ".join(key.hint[:16] for key in keys) or "certificates only"
    raise Refused(f"is by key {hint[:16]}, which is not trusted; trusted: {trusted}")


def _certified(chain: Sequence[bytes], anchors: Sequence[bytes], folder: Path) -> tuple[str, PublicKey]:
    """Whose the first certificate is, and its key. Every other one must be vouched for, too: none is there without need.

    As in OMS, what counts is the time from which the signer's certificate is valid: a release outlives the certificate.
    """
    if not anchors:
        raise Refused("is by a certificate, and only keys are trusted")
    if len(chain) > _MOST_CERTIFICATES:
        raise Refused(f"has {len(chain)} certificates")
    (folder / "none").mkdir()
    (folder / "anchors.pem").write_bytes(b"".join(map(_certificate_pem, anchors)))
    (folder / "chain.pem").write_bytes(b"".join(map(_certificate_pem, chain)))
    (folder / "signer.pem").write_bytes(_certificate_pem(chain[0]))
    since = _since(_ask(["x509", "-in", "signer.pem", "-noout", "-startdate"], folder))
    for certificate in chain:
        (folder / "one.pem").write_bytes(_certificate_pem(certificate))
        verify = ["verify", "-no-CApath", "-CAfile", "anchors.pem", "-untrusted", "chain.pem", "-attime", str(since), "one.pem"]
        code, said = _openssl(verify, folder)
        if code != 0:
            raise Refused(f"has a certificate that no trusted one vouches for: openssl says {_last(said)}")
    usage = _ask(["x509", "-in", "signer.pem", "-noout", "-ext", "keyUsage,extendedKeyUsage"], folder)
    if "Digital Signature" not in usage and "Code Signing" not in usage:
        raise Refused("is by a certificate that is not for signing")
    subject = _ask(["x509", "-in", "signer.pem", "-noout", "-subject"], folder)
    pem = _ask(["x509", "-in", "signer.pem", "-noout", "-pubkey"], folder).encode("ascii")
    return "certificate {}".format(printable(subject.partition("=")[2])[:200]), public_key(pem)


def _openssl(arguments: Sequence[str], folder: Path) -> tuple[int, str]:
    """Exit code and output. Certificates that the system trusts are kept out of it."""
    environment = {
        **os.environ,
        "LC_ALL": "C",
        "SSL_CERT_DIR": str(folder / "none"),
        "SSL_CERT_FILE": str(folder / "none" / "none"),
    }
    try:
        done = subprocess.run(
            ["openssl", *arguments],
            cwd=str(folder),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WrongBoard(
            "Signatures are checked by the program openssl, which is not available here.",
            evidence=[str(error)],
            remedy="install the system's package openssl",
        ) from None
    return done.returncode, done.stdout.decode("utf-8", "replace")


def _ask(arguments: Sequence[str], folder: Path) -> str:
    code, said = _openssl(arguments, folder)
    if code != 0:
        raise Refused(f"has a certificate that openssl cannot read: {_last(said)}")
    return said


def _last(said: str) -> str:
    lines = [printable(line) for line in said.splitlines() if line.strip()]
    return "{!r}".format(" / ".join(lines[:2])[:200])


def _since(said: str) -> int:
    """Seconds since 1970 of `notBefore=Nov 30 19:30:36 2026 GMT`."""
    found = re.search(r"notBefore=(\w{3}) +(\d+) (\d\d):(\d\d):(\d\d) (\d{4}) GMT", said)
    if found is None or found.group(1) not in _MONTHS:
        raise Refused(f"has a certificate without a date: {_last(said)}")
    day, hour, minute, second, year = map(int, found.group(2, 3, 4, 5, 6))
    return calendar.timegm((year, _MONTHS.index(found.group(1)) + 1, day, hour, minute, second))


def _blocks(path: Path) -> list[tuple[str, bytes]]:
    try:
        content = read_bytes(path, _MOST_BYTES)
        blocks = [(found.group(1).decode("ascii"), _base64(found.group(2))) for found in _PEM.finditer(content)]
        problem = "it holds neither a public key nor a certificate in PEM"
    except (Refused, FileNotFoundError) as error:
        blocks, problem = [], f"it {error}" if isinstance(error, Refused) else "there is no such file"
    if any("PRIVATE" in kind for kind, _ in blocks):
        problem = "it holds a private key, which nobody needs who checks signatures"
    if not blocks or any(kind not in ("PUBLIC KEY", "CERTIFICATE") for kind, _ in blocks):
        raise UsageError(
            f"{printable(str(path))} cannot be trusted.",
            evidence=[problem],
            remedy="give the public key (KEY.pub of `edgec keygen`), or the certificate that vouches for the signer's",
        )
    return blocks


def _key(der: bytes, path: Path) -> PublicKey:
    try:
        return _from_der(der)
    except Refused as error:
        raise UsageError(
            f"The key in {printable(str(path))} cannot be used.",
            evidence=[f"it {error}"],
            remedy="use a key on P-256, as `edgec keygen` makes it",
        ) from None


def _from_der(der: bytes) -> PublicKey:
    for opening, size, digest in _CURVES:
        if der.startswith(opening) and len(der) == size:
            pem = _pem("PUBLIC KEY", der)
            return PublicKey(pem, hashlib.sha256(pem).hexdigest(), digest)
    raise Refused("is not a key on P-256, P-384 or P-521")


def _certificate_pem(der: bytes) -> bytes:
    return _pem("CERTIFICATE", der)


def _pem(kind: str, der: bytes) -> bytes:
    encoded = base64.b64encode(der).decode("ascii")
    lines = [encoded[start : start + _LINE] for start in range(0, len(encoded), _LINE)]
    return "\n".join([f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----", ""]).encode("ascii")


def _base64(content: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(content.split()), validate=True)
    except binascii.Error as error:
        raise Refused(f"is not PEM: {error}") from None
