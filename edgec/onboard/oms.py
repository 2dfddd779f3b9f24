"""Signatures in the form of OpenSSF Model Signing (OMS): what is signed, and what a signature's file holds.

A signature is a Sigstore bundle (JSON), which holds a DSSE envelope, which holds an in-toto statement: the name of a folder, and
the SHA-256 of every file in it. The PyPI package `model-signing` makes and checks them; this is what a board needs to check one.
What is signed are the bytes that `pae` returns, by ECDSA.

A signature's file is not signed itself. So that no bit of it can change unnoticed either, `render` writes one form of it, and
`parse` takes no other. `model-signing` reads that form as it reads its own.

Sources: the DSSE protocol 1.0.2, in-toto Statement v1, and `model-signing` 1.1 for the predicate.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from typing import Any, NamedTuple

from .documents import SHA256, matching, text
from .untrusted import Refused, parse_json_object

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
MOST_BYTES = 8 << 20
"""Of a signature's file. A statement about 10,000 files has some 2 MB."""


class Envelope(NamedTuple):
    """What a signature's file holds. `payload` is the statement's JSON, `signature` is DER. Either `hint` is the SHA-256 of the
    public key's PEM, or `certificates` are DER, the signer's first and those that vouch for it after."""

    payload: bytes
    signature: bytes
    hint: str = ""
    certificates: tuple[bytes, ...] = ()


class Statement(NamedTuple):
    """What was signed: the folder's name, the SHA-256 of every file by its path, and paths that the signer left out."""

    name: str
    files: dict[str, str]
    ignored: frozenset[str]


def pae(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding of a statement: the bytes that are signed."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode("ascii"), len(payload), payload)


def render(envelope: Envelope) -> bytes:
    """The one form of a signature's file: sorted names, no white space, a line feed at the end."""
    if envelope.certificates:
        chain = [{"rawBytes": _encoded(certificate)} for certificate in envelope.certificates]
        material: dict[str, Any] = {"tlogEntries": [], "x509CertificateChain": {"certificates": chain}}
    else:
        material = {"publicKey": {"hint": envelope.hint}, "tlogEntries": []}
    document = {
        "dsseEnvelope": {
            "payload": _encoded(envelope.payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"keyid": "", "sig": _encoded(envelope.signature)}],
        },
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": material,
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"


def read_any_form(data: bytes) -> Envelope:
    """A signature's file as `model-signing` writes it, or as `render` does. Raises `Refused`."""
    document = parse_json_object(data)
    try:
        dsse, material = document["dsseEnvelope"], document["verificationMaterial"]
        [signed] = dsse["signatures"]
        chain = material.get("x509CertificateChain", {}).get("certificates", [])
        return Envelope(
            payload=_decoded(dsse["payload"]),
            signature=_decoded(signed["sig"]),
            hint="" if chain else matching(SHA256, material["publicKey"]["hint"]),
            certificates=tuple(_decoded(certificate["rawBytes"]) for certificate in chain),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Refused(f"is not a signature of OpenSSF Model Signing by a key or a certificate: {error}") from None


def parse(data: bytes) -> Envelope:
    """A signature's file in the one form that `render` writes. Raises `Refused` for any other."""
    envelope = read_any_form(data)
    if render(envelope) != data:
        raise Refused("is not in the form in which edgec writes signatures: at least one byte has changed")
    return envelope


def statement_of(payload: bytes) -> Statement:
    """The statement that a signature is about. Check the signature first. Raises `Refused` for one that does not list files by
    their SHA-256, or contradicts itself."""
    document = parse_json_object(payload)
    try:
        if (document["_type"], document["predicateType"]) != (STATEMENT_TYPE, PREDICATE_TYPE):
            raise ValueError("it is of another type")
        [subject] = document["subject"]
        serialization = document["predicate"]["serialization"]
        how = (serialization["method"], serialization["hash_type"], serialization["allow_symlinks"])
        if how != ("files", "sha256", False):
            raise ValueError(f"files are listed by {how!r}")
        resources = [(text(each["name"]), _digest(each)) for each in document["predicate"]["resources"]]
        ignored = frozenset(text(path) for path in serialization.get("ignore_paths", []))
        whole = hashlib.sha256(b"".join(bytes.fromhex(digest) for _, digest in resources)).hexdigest()
        if whole != subject["digest"]["sha256"]:
            raise ValueError("its files are not those that its subject is about")
        if len(dict(resources)) != len(resources):
            raise ValueError("it lists a file twice")
        return Statement(text(subject["name"]), dict(resources), ignored)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Refused(f"does not hold a statement that edgec can check: {error}") from None


def _digest(resource: dict[str, Any]) -> str:
    if resource["algorithm"] != "sha256":
        raise ValueError("a file has a hash of the kind {!r}".format(resource["algorithm"]))
    return matching(SHA256, resource["digest"])


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decoded(value: Any) -> bytes:
    try:
        return base64.b64decode(text(value).encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise ValueError(f"a value is not Base64: {error}") from None
