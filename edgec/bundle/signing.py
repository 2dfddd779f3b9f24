"""Signing a folder with `model-signing`: the release, and apart from it the measurement."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edgec.bundle.keys import Signer, public_of
from edgec.errors import EdgecError, RequestError
from edgec.onboard.container import NOT_IN_RELEASE, REPORT_SIGNATURE, SIGNATURE, is_measurement
from edgec.onboard.oms import read_any_form, render


def sign_release(folder: Path, signer: Signer) -> None:
    """Write signed/model.sig: over every file of the folder but the measurement. Raises `RequestError` if the signer cannot."""
    _sign(folder, SIGNATURE, sorted(NOT_IN_RELEASE), signer)


def sign_measurement(folder: Path, signer: Signer) -> None:
    """Write signed/report.sig: over the report and signed/measured.json alone. Raises as `sign_release`."""
    others = [path for path in _files(folder) if not is_measurement(path)]
    _sign(folder, REPORT_SIGNATURE, [*others, REPORT_SIGNATURE], signer)


def _sign(folder: Path, name: str, ignored: Iterable[str], signer: Signer) -> None:
    public_of(signer)  # first: its errors say what is wrong with a key
    path = folder / name
    path.unlink(missing_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its libraries deprecate each other's functions
        from model_signing import hashing, signing

        # With the names of Git's files left out, which is the default, whoever checks would not see that some were added.
        files = hashing.Config().set_ignored_paths(paths=[Path(each) for each in ignored], ignore_git_paths=False)
        try:
            config = _configured(signing.Config().set_hashing_config(files), signer)
        except (ValueError, OSError) as error:
            raise RequestError(
                f"{signer.certificate} cannot sign with {signer.key}.",
                evidence=" ".join(str(error).split())[:300],
                remedy="give the certificate of this key with --certificate, those that vouch for it with --chain, all in PEM",
            ) from None
        try:
            config.sign(folder, path)
        except ValueError as error:
            raise EdgecError("model-signing refuses to sign this.", evidence=" ".join(str(error).split())[:300]) from error
    made = read_any_form(path.read_bytes())
    path.write_bytes(render(made._replace(certificates=tuple(dict.fromkeys(made.certificates)))))


def _configured(config: Any, signer: Signer) -> Any:
    """model-signing's configuration, for this signer."""
    chain = list(signer.chain or (signer.certificate,))  # it takes no empty one
    if signer.in_hardware:
        if signer.certificate is None:
            return config.use_pkcs11_signer(pkcs11_uri=signer.key)
        return config.use_pkcs11_certificate_signer(
            pkcs11_uri=signer.key, signing_certificate=signer.certificate, certificate_chain=chain
        )
    if signer.certificate is None:
        # It asks for a str, and hands it to what takes bytes (model-signing 1.1.1).
        password = None if signer.passphrase is None else signer.passphrase.encode()
        return config.use_elliptic_key_signer(private_key=signer.key, password=password)
    if signer.passphrase is not None:
        raise RequestError(
            f"{signer.key} has a passphrase, which model-signing does not take together with a certificate.",
            remedy="keep the key in hardware (--sign pkcs11:…), or in a file without a passphrase that others cannot read",
        )
    return config.use_certificate_signer(private_key=signer.key, signing_certificate=signer.certificate, certificate_chain=chain)


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
