"""For Mender: a .mender, made by `mender-artifact`, whose payload is the signed bundle and whose type is `edgec`.

The update module of that type, which the robot's image must have, is in `targets/ota/mender`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from edgec.bundle.ota.packer import Given, Payload, Setting, require_program
from edgec.errors import EdgecError, RequestError
from edgec.untrusted import Refused, printable, read_bytes

TYPE = "edgec"
"""Of the payload, and the update module's file name."""
FILESYSTEM = "data-partition"
"""What the release belongs to in Mender's terms, `data-partition.NAME.version`: an update of the root file system leaves it."""
_MOST_BYTES = 1 << 16
_SECONDS = 3600
_REMEDY = "give a key in PEM, on P-256 (`edgec keygen` makes one) or RSA, without a passphrase"


class Mender:
    """See `edgec.bundle.ota.packer.Packer`."""

    name = "mender"
    title = "Mender"
    suffix = ".mender"
    settings: Sequence[Setting] = (
        Setting(
            "device-type", "A type of device that takes it, as robots report theirs.",
            kind="text", metavar="TYPE", required=True, many=True,
        ),
        Setting("key", "The private key, in PEM, with which the .mender is signed.  [default: it is not signed]", metavar="KEY"),
    )  # fmt: skip

    def check(self, given: Given) -> None:
        """That `mender-artifact` is there, and takes the key."""
        _program()
        for device_type in given["device-type"]:
            if not device_type.strip() or not device_type.isprintable():
                raise RequestError("--mender-device-type is the name of a type.", evidence=f"{device_type!r} was given")
        if given.get("key"):
            _keys(given["key"])

    def pack(self, payload: Payload, given: Given, output: Path, work: Path) -> None:
        """Run `mender-artifact write module-image`, then have it read what it wrote."""
        release = payload.release
        options = {
            "--type": [TYPE],
            "--artifact-name": [f"{release.name}-{release.version}"],
            "--software-filesystem": [FILESYSTEM],
            "--software-name": [release.name],
            "--software-version": [release.version],
            "--device-type": given["device-type"],
            "--file": [str(payload.bundle)],
            "--output-path": [str(output)],
        }
        words = [word for option, values in options.items() for value in values for word in (option, value)]
        # Weights hardly become smaller, and a robot would unpack them for nothing.
        write = ["--compression", "none", "write", "module-image", *words]
        if not given.get("key"):
            _run(write, work)
            _run(["validate", str(output)], work)
            return
        private, public = _keys(given["key"])
        (work / "public.pem").write_bytes(public)
        _run(write, work, key=private)
        _run(["validate", "--key", str(work / "public.pem"), str(output)], work)


def _program() -> str:
    return require_program("mender-artifact", "mender-artifact", "A release for Mender")


def _keys(path: Path) -> tuple[bytes, bytes]:
    """The private key in the form that `mender-artifact` reads, which PKCS#8 is not, and the public one, both in PEM. Raises
    `RequestError`."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
        load_pem_private_key,
    )

    try:
        key = load_pem_private_key(read_bytes(path, _MOST_BYTES), None)
        if not isinstance(key, RSAPrivateKey) and not (
            isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1)
        ):
            raise Refused("is neither on P-256 nor RSA, and Mender takes no other")
    except TypeError:
        raise _refused(path, "is encrypted with a passphrase, which edgec does not ask for") from None
    except Refused as error:
        raise _refused(path, str(error)) from None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _refused(path, f"is not a private key in PEM: {error}") from None
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return private, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _refused(path: Path, problem: str) -> RequestError:
    return RequestError(f"{path} cannot sign for Mender.", evidence=f"it {printable(problem)[:200]}", remedy=_REMEDY)


def _run(words: Sequence[str], work: Path, key: bytes = b"") -> None:
    """Run `mender-artifact`. A private key reaches it through a pipe, not through a file. Raises `EdgecError`."""
    command, passed = [_program(), *words], []
    if key:
        reading, writing = os.pipe()
        with os.fdopen(writing, "wb") as file:
            file.write(key)
        command, passed = [*command, "--key", f"/dev/fd/{reading}"], [reading]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_SECONDS,
            pass_fds=passed,
            env={**os.environ, "TMPDIR": str(work)},
        )
    finally:
        for descriptor in passed:
            os.close(descriptor)
    if done.returncode:
        said = [printable(line) for line in done.stderr.splitlines() if line.strip(" .|-0123456789%")]
        raise EdgecError(
            f"mender-artifact ended with code {done.returncode}; nothing was written for Mender.",
            evidence=said[-4:],
            remedy="see what it says; a full disk is one reason",
        )
