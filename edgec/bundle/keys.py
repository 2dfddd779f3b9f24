"""Keys to sign with: ECDSA on P-256, as OpenSSF Model Signing recommends. Others that it allows (P-384, P-521) are taken, too.

A key may be in hardware, which PKCS#11 reaches; then it never comes here.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgec.bundle.trusting import trust_in
from edgec.errors import RequestError
from edgec.extras import require
from edgec.onboard.openssl import PublicKey, Trust, public_key
from edgec.untrusted import Refused, printable, read_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MOST_BYTES = 1 << 16
_PRIVATE, _PUBLIC = 0o600, 0o644
PKCS11 = "pkcs11:"
_LOCKED = b"ENCRYPTED"
"""In the PEM of every key that has a passphrase."""


@dataclass(frozen=True)
class Signer:
    """Who signs: a private key in PEM, which a `passphrase` may open, or a PKCS#11 URI (RFC 7512) of one; with a certificate also
    those that vouch for it."""

    key: Path | str
    certificate: Path | None = None
    chain: tuple[Path, ...] = ()
    passphrase: str | None = None

    def load(self) -> Any:
        """The private key, as `cryptography` has it, of one in PEM. Raises `ValueError` or `TypeError` for another passphrase,
        or none, and what else `load_pem_private_key` raises; `Refused` and `OSError`."""
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        password = None if self.passphrase is None else self.passphrase.encode()
        return load_pem_private_key(read_bytes(Path(self.key), _MOST_BYTES), password)

    @property
    def in_hardware(self) -> bool:
        """Whether PKCS#11 reaches it."""
        return isinstance(self.key, str)


def signer_from(key: str, certificate: Path | None = None, chain: tuple[Path, ...] = (), *, ask: Callable[[], str]) -> Signer:
    """A signer from what a user types: a path, or `pkcs11:…`. `ask` is called for the passphrase of a key that has one."""
    if key.startswith(PKCS11):
        return Signer(key, certificate, chain)
    signer = Signer(Path(key), certificate, chain)
    try:
        locked = _LOCKED in read_bytes(Path(key), _MOST_BYTES)
    except (Refused, OSError):
        locked = False  # `public_of` says what is wrong with it
    return replace(signer, passphrase=ask()) if locked else signer


def generate(path: Path) -> Path:
    """Write a new private key to `path` (PKCS#8 in PEM, without a passphrase, mode 0600), and its public key to `path` + `.pub`,
    whose path is returned.

    Raises `RequestError` if either is there, for a key is never overwritten, or if the folder is not, or for a path that is a
    folder. Raises `OSError`; then neither is left.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    if not path.name or path.is_dir():
        raise RequestError(f"{str(path)!a} is a folder, and a key is a file.", remedy="give the file's name, too")
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

    Raises `RequestError` for a file that cannot be read, has another passphrase, or holds no private key on a curve that OMS
    allows; and for a PKCS#11 URI that leads to no such key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec

    if signer.in_hardware:
        return _in_hardware(str(signer.key))
    try:
        key = signer.load()
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise Refused("is not a key for ECDSA")
        return public_key(_public_pem(key))
    except FileNotFoundError:
        raise RequestError(f"There is no key at {signer.key}.", remedy="make one: edgec keygen KEY") from None
    except Refused as error:
        problem = f"it {error}"
    except TypeError:
        problem = "it has a passphrase, and none was given"
    except (ValueError, UnsupportedAlgorithm) as error:
        words = str(error).splitlines()[0][:120] if str(error) else "unreadable"
        problem = (
            f"it holds no private key in PEM: {words}" if signer.passphrase is None else f"its passphrase is another: {words}"
        )
    raise RequestError(
        f"{signer.key} cannot sign.", evidence=problem, remedy="use a key on P-256: edgec keygen KEY, or openssl genpkey"
    )


def _in_hardware(uri: str) -> PublicKey:
    require("pkcs11", "Signing with a key in hardware")
    # model-signing's public classes do not say which key they sign with.
    from model_signing._signing.sign_pkcs11 import Signer as Token

    try:
        return public_key(_public_pem(Token(uri)))
    except Exception as error:
        # PyKCS11's errors have no class of their own that model-signing lets through; some are those of a library's loader.
        raise RequestError(
            f"{_without_pin(uri)} leads to no key that can sign.",
            evidence=" ".join(f"{type(error).__name__}: {error}".split())[:300],
            remedy="name the token, the object, the module and the PIN, as in "
            "pkcs11:token=releases;object=robots?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/pin",
        ) from None


def _without_pin(uri: str) -> str:
    return re.sub(r"(pin-value=)[^&;]*", r"\1…", printable(uri)[:300])


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
