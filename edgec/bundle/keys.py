"""Keys to sign with: ECDSA on P-256, as OpenSSF Model Signing recommends. Others that it allows (P-384, P-521) are taken, too."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgec.bundle.trusting import trust_in
from edgec.errors import RequestError
from edgec.onboard.openssl import PublicKey, Trust, public_key
from edgec.untrusted import Refused, read_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_BYTES = 1 << 16
_PRIVATE, _PUBLIC = 0o600, 0o644


@dataclass(frozen=True)
class Signer:
    """Who signs: a private key in PEM, and with a certificate also those that vouch for it."""

    key: Path
    certificate: Path | None = None
    chain: tuple[Path, ...] = ()


def generate(path: Path) -> Path:
    """Write a new private key to `path` (PKCS#8 in PEM, without a passphrase, mode 0600), and its public key to `path` + `.pub`,
    whose path is returned.

    Raises `RequestError` if either is there, for a key is never overwritten, or if the folder is not. Raises `OSError`; then
    neither is left.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    public = path.with_name(f"{path.name}.pub")
    if not path.parent.is_dir():
        raise RequestError(f"{path} cannot be written: there is no folder {path.parent}.", remedy="make it, or choose another")
    key = ec.generate_private_key(ec.SECP256R1())
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with _new_file(path, _PRIVATE, secret), _new_file(public, _PUBLIC, _public_pem(key)):
        pass
    return public


def public_of(signer: Signer) -> PublicKey:
    """The public key that belongs to the signer's private one.

    Raises `RequestError` for a file that cannot be read, is encrypted, or holds no private key on a curve that OMS allows.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(read_bytes(signer.key, _MOST_BYTES), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise Refused("is not a key for ECDSA")
        return public_key(_public_pem(key))
    except FileNotFoundError:
        raise RequestError(f"There is no key at {signer.key}.", remedy="make one: edgec keygen KEY") from None
    except Refused as error:
        problem = f"it {error}"
    except TypeError:
        problem = "it is encrypted with a passphrase, which edgec does not ask for"
    except (ValueError, UnsupportedAlgorithm) as error:
        problem = f"it holds no private key in PEM: {str(error).splitlines()[0][:120] if str(error) else 'unreadable'}"
    raise RequestError(
        f"{signer.key} cannot sign.", evidence=problem, remedy="use a key on P-256: edgec keygen KEY, or openssl genpkey"
    )


def trust_of(signer: Signer) -> Trust:
    """What must be trusted to accept what this signer signs: the key, or the last certificate of the chain."""
    if signer.certificate is None:
        return Trust(keys=(public_of(signer),))
    return trust_in((signer.chain or (signer.certificate,))[-1:])


def _public_pem(key: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization

    pem: bytes = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return pem


@contextmanager
def _new_file(path: Path, mode: int, content: bytes) -> Iterator[None]:
    """A file that was not there before. It is removed again if the block fails."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError:
        raise RequestError(
            f"{path} exists already: a key is never overwritten.",
            evidence="what was signed with a lost key can no longer be renewed",
            remedy="choose another name",
        ) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)  # whatever the umask takes away or leaves
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise
