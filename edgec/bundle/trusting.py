"""Checking what is signed, on the workstation: `edgec.onboard.trust`, with edgec's errors."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edgec.artefact.write import write_artefact
from edgec.errors import ArtefactError, of_exit_code
from edgec.onboard.errors import BoardError
from edgec.onboard.openssl import Trust, read_trust
from edgec.onboard.trust import Policy, Verified, check, open_source, unpack
from edgec.records.manifest import MANIFEST


def trust_in(paths: Iterable[Path]) -> Trust:
    """Public keys and certificates from PEM files. Raises `RequestError`."""
    with as_edgec_errors():
        return read_trust(paths)


@contextmanager
def trusted(path: Path, policy: Policy) -> Iterator[tuple[Path, Verified]]:
    """The folder of an artefact that was checked, and what was found. A bundle is unpacked into a folder that is removed
    afterwards; a folder is checked where it is.

    Raises `Untrusted`, `Outdated`, `TargetError` without `openssl`, and `ArtefactError` if nothing is there.
    """
    path = place_of(path)
    if path.is_dir():
        yield path, verify_signature(path, policy)
        return
    with tempfile.TemporaryDirectory(prefix="edgec-") as folder:
        place = Path(folder, "artefact")
        place.mkdir()
        with as_edgec_errors(), open_source(path) as source:
            verified = check(source, path, policy)
            unpack(source, verified.files, place)
        yield place, verified


def unpack_bundle(path: Path, directory: Path, policy: Policy, *, force: bool = False) -> Path:
    """Check a bundle, and write it as an artefact's directory, whole or not at all; returns its path. Raises as `trusted` and
    `write_artefact`."""
    path = place_of(path)
    with as_edgec_errors(), open_source(path) as source:
        verified = check(source, path, policy)
        return write_artefact(directory, lambda work: unpack(source, verified.files, work), force=force)


def verify_signature(path: Path, policy: Policy) -> Verified:
    """As `trusted`, without unpacking anything."""
    path = place_of(path)
    with as_edgec_errors(), open_source(path) as source:
        return check(source, path, policy)


def place_of(path: Path) -> Path:
    """The artefact's folder, whose manifest may be named instead; or the bundle. Raises `ArtefactError` if nothing is there."""
    if path.name == MANIFEST and path.is_file():
        return path.parent
    if not path.exists():
        raise ArtefactError(
            f"{path} is neither a bundle nor an artefact: nothing is there.",
            remedy="give a bundle, or the directory that `edgec build` wrote",
        )
    return path


@contextmanager
def as_edgec_errors() -> Iterator[None]:
    """Errors of `edgec.onboard` become those of edgec with the same exit code."""
    try:
        yield
    except BoardError as error:
        raise of_exit_code(error.exit_code)(error.what, evidence=error.evidence, remedy=error.remedy) from None
