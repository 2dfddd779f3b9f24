"""For SWUpdate: a .swu, which is a cpio archive that begins with a signed list of its files. Neither cpio nor SWUpdate is needed.

What the robot's image must have for it is in `targets/ota/swupdate`, where the list's template and the script are, too.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from edgec.bundle.ota.packer import Given, Payload, Setting
from edgec.durable import sha256_of
from edgec.errors import RequestError
from edgec.onboard.container import SUFFIX
from edgec.resources import room
from edgec.untrusted import Refused, printable, read_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

DESCRIPTION, SIGNATURE, SCRIPT = "sw-description", "sw-description.sig", "edgec.sh"
_ANY = "#RE:^.*$"
"""How SWUpdate writes a regular expression."""
_REVISION = re.compile(r"[A-Za-z0-9._+-]{1,60}")
_MOST_BYTES = 1 << 16
_MOST_FILE = 2**32 - 1
_BLOCK, _READ = 512, 1 << 20
_LAST = "TRAILER!!!"


class SwUpdate:
    """See `edgec.bundle.ota.packer.Packer`."""

    name = "swupdate"
    title = "SWUpdate"
    suffix = ".swu"
    settings: Sequence[Setting] = (
        Setting("key", "The private key, in PEM, with which the .swu is signed.", metavar="KEY", required=True),
        Setting("certificate", "The certificate of that key, in PEM, which robots trust (`swupdate -k`).", required=True),
        Setting("chain", "A certificate between that and the one that robots trust.", many=True),
        Setting("hardware", "A revision in robots' /etc/hwrevision.  [default: any]", kind="text", metavar="REVISION", many=True),
    )

    def check(self, given: Given) -> None:
        """That the key and the certificate belong together, and that revisions can be written."""
        for revision in given.get("hardware") or ():
            if not _REVISION.fullmatch(revision):
                raise RequestError(
                    f"{revision[:80]!a} is no revision of hardware for SWUpdate.",
                    evidence="it is not of letters, digits and . _ + -",
                    remedy="give the second word of the robots' /etc/hwrevision",
                )
        _sign(b"", given)

    def pack(self, payload: Payload, given: Given, output: Path, work: Path) -> None:
        """Write the archive: the list, its signature, the script and the bundle."""
        templates = room("targets") / "ota" / "swupdate"
        image = f"{payload.release.name}{SUFFIX}"
        script = _filled((templates / SCRIPT).read_text(encoding="utf-8"), {"IMAGE": image})
        values = {
            "NAME": payload.release.name,
            "VERSION": payload.release.version,
            "HARDWARE": ", ".join(f'"{revision}"' for revision in given.get("hardware") or (_ANY,)),
            "IMAGE": image,
            "IMAGE_SHA256": sha256_of(payload.bundle),
            "SCRIPT_SHA256": hashlib.sha256(script).hexdigest(),
        }
        description = _filled((templates / DESCRIPTION).read_text(encoding="utf-8"), values)
        with output.open("wb") as file:
            small = ((DESCRIPTION, description), (SIGNATURE, _sign(description, given)), (SCRIPT, script))
            _write_archive(file, small, (image, payload.bundle))


def _filled(template: str, values: dict[str, str]) -> bytes:
    """Names and versions are of letters, digits and `. _ + -` (`edgec.onboard.trust`): nothing in them ends a string."""
    for name, value in values.items():
        template = template.replace(f"@{name}@", value)
    return template.encode()


def _sign(content: bytes, given: Given) -> bytes:
    """A detached CMS signature in DER, without the time and the other attributes that would make it another one each day. Raises
    `RequestError`."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key, pkcs7

    key_path: Path = given["key"]
    try:
        key = _read(key_path, lambda content: load_pem_private_key(content, None))
        if not isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
            raise Refused("is neither an RSA key nor one for ECDSA")
    except (Refused, UnsupportedAlgorithm, TypeError) as error:
        why = "is encrypted with a passphrase, which edgec does not ask for" if isinstance(error, TypeError) else str(error)
        raise RequestError(f"{key_path} cannot sign for SWUpdate.", evidence=f"it {why}", remedy=_REMEDY) from None
    certificates = [_certificate(path) for path in (given["certificate"], *(given.get("chain") or ()))]
    if _public(certificates[0]) != _public(key):
        raise RequestError(
            f"{given['certificate']} is not the certificate of {key_path}.",
            evidence="its public key is another one",
            remedy=_REMEDY,
        )
    builder = pkcs7.PKCS7SignatureBuilder().set_data(content).add_signer(certificates[0], key, hashes.SHA256())
    for certificate in certificates[1:]:
        builder = builder.add_certificate(certificate)
    options = [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary, pkcs7.PKCS7Options.NoAttributes]
    signature: bytes = builder.sign(Encoding.DER, options)
    return signature


_REMEDY = "give --swupdate-key and --swupdate-certificate that belong together, both in PEM, RSA or ECDSA"


def _certificate(path: Path) -> Any:
    from cryptography.x509 import load_pem_x509_certificate

    try:
        return _read(path, load_pem_x509_certificate)
    except Refused as error:
        raise RequestError(f"{path} is not a certificate that can be used.", evidence=f"it {error}", remedy=_REMEDY) from None


def _read(path: Path, load: Any) -> Any:
    """Raises `Refused`."""
    try:
        return load(read_bytes(path, _MOST_BYTES))
    except FileNotFoundError:
        raise Refused("is not there") from None
    except ValueError as error:
        first = str(error).splitlines()[0][:120] if str(error) else "unreadable"
        raise Refused(f"is not in PEM: {printable(first)}") from None


def _public(holder: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    content: bytes = holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return content


def _write_archive(file: BinaryIO, small: Iterable[tuple[str, bytes]], large: tuple[str, Path]) -> None:
    """A cpio archive in the form "newc with checksums", by hand: 110 bytes a file, always of the same user and time.

    Raises `RequestError` for a file of 4 GiB or more, which the form cannot hold.
    """
    for number, (name, content) in enumerate(small, 1):
        file.write(_entry(name, number, len(content), sum(content)))
        file.write(content + bytes(-len(content) % 4))
    name, path = large
    size, checksum = path.stat().st_size, 0
    if size > _MOST_FILE:
        raise RequestError(
            f"SWUpdate's form cannot hold {path.name}.", evidence=f"it has {size:,} bytes, and {_MOST_FILE:,} is the most"
        )
    with path.open("rb") as source:
        for block in iter(lambda: source.read(_READ), b""):
            checksum = (checksum + sum(block)) & 0xFFFFFFFF
        file.write(_entry(name, 0xED6EC, size, checksum))
        source.seek(0)
        for block in iter(lambda: source.read(_READ), b""):
            file.write(block)
    file.write(bytes(-size % 4))
    file.write(_entry(_LAST, 0, 0, 0))
    file.write(bytes(-file.tell() % _BLOCK))


def _entry(name: str, number: int, size: int, checksum: int) -> bytes:
    """A file's header. `checksum` is the sum of its bytes, in 32 bits."""
    encoded = name.encode() + b"\0"
    mode = 0 if name == _LAST else 0o100644
    fields = (number, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, len(encoded), checksum & 0xFFFFFFFF)
    header = b"070702" + b"".join(b"%08X" % field for field in fields) + encoded
    return header + bytes(-len(header) % 4)
