"""What a release says about itself: signed/release.json, and the text of the weights' licence, which travels with it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from edgec.errors import ArtefactError, RequestError
from edgec.onboard.container import LICENCE, SUFFIX
from edgec.onboard.trust import SCHEMA_VERSION, Release, Verified, read_release, seconds_of
from edgec.records.manifest import Manifest
from edgec.untrusted import TEXT_LIMIT, Refused, read_bytes

_FILE_NAME = re.compile(r"(?P<name>.+?)-(?P<version>\d[A-Za-z0-9._+]*)")
_NUMBERS = re.compile(r"(\d{1,6})(?:\.(\d{1,6}))?(?:\.(\d{1,6}))?")
_WIDTH = 10**6
_UNSTATED = ("NOASSERTION", "NONE")
_DINOV3 = "LicenseRef-DINOv3"
_OF_DINOV3 = ("DINOv3 License", "DINO Materials")
"""The agreement's name, and what it calls its subject, which edgec's own note about it does not say."""
_TEXTS = ("license", "licence")


@dataclass(frozen=True)
class Naming:
    """What the user says of a release; None or empty is derived. `expires` is a day, or a time as 2027-01-31T23:59:59Z."""

    name: str = ""
    version: str = ""
    serial: int | None = None
    expires: str = ""


def release_of(output: Path, naming: Naming) -> Release:
    """The release that a bundle's file is called after: NAME-VERSION.edgec-bundle. The serial of version A.B.C is
    A·10¹² + B·10⁶ + C unless one is given.

    Raises `RequestError` if name, version or serial are not given and cannot be derived, or are not of the expected form.
    """
    stem = output.name.removesuffix(SUFFIX)
    found = _FILE_NAME.fullmatch(stem)
    name = naming.name or (found["name"] if found else "")
    version = naming.version or (found["version"] if found else "")
    if not name or not version:
        raise RequestError(
            f"The release at {output} has no {'name' if not name else 'version'}.",
            evidence=f"{stem!r} is not NAME-VERSION, as in robot-1.4.0",
            remedy="call the file robot-1.4.0.edgec-bundle, or give --name and --release",
        )
    serial = naming.serial or serial_of(version)
    if serial is None:
        raise RequestError(
            f"The version {version!r} has no place in an order, by which older releases are refused.",
            evidence="it is not one to three numbers below a million, separated by dots",
            remedy="give --serial: a number that is larger than that of every release before",
        )
    document = {"schema_version": SCHEMA_VERSION, "name": name, "version": version, "serial": serial}
    try:
        return read_release({**document, "expires": _moment(naming.expires)})
    except (Refused, ValueError) as error:
        raise RequestError(
            "The release cannot be called so.",
            evidence=str(error),
            remedy="names and versions are of letters, digits and . _ + -; a date is 2027-01-31",
        ) from None


def serial_of(version: str) -> int | None:
    """The place of a version in the order of releases; None for one that is not of numbers."""
    found = _NUMBERS.fullmatch(version)
    if found is None:
        return None
    major, minor, patch = (int(part or 0) for part in found.groups())
    return (major * _WIDTH + minor) * _WIDTH + patch or None


def release_json(release: Release, manifest: Manifest, licences: tuple[str, ...]) -> str:
    """The content of signed/release.json. `licences` are the files with the licence's text. It holds no date but the one on which
    the release expires: the same inputs give the same bytes."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "name": release.name,
        "version": release.version,
        "serial": release.serial,
        "expires": release.expires or None,
        "edgec_version": manifest.edgec_version,
        "build_key": manifest.build_key,
        "target": manifest.target,
        "checkpoint": {"name": manifest.checkpoint.name, "sha256": manifest.checkpoint.sha256},
        "licence": {**manifest.checkpoint.licence.model_dump(mode="json"), "files": list(licences)},
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def said(verified: Verified) -> dict[str, object]:
    """What was verified, for `--json`."""
    release = verified.release
    return {
        "release": {**release._asdict(), "expires": release.expires or None, "signer": verified.signer},
        "measurement": {**verified.measurement._asdict(), "signer": verified.measurer},
    }


def licence_texts(directory: Path, manifest: Manifest, given: Path | None) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """Files to add for the licence, and the paths of all its texts in the bundle. `given` is a text that the artefact lacks.

    Raises `ArtefactError` if the licence asks for a text, and it is not there: DINOv3's for Meta's weights, or any for others
    whose licence is known. Raises `RequestError` for a `given` file that cannot be read.
    """
    paths = [file.path for file in manifest.files if "/" not in file.path and file.path.lower().startswith(_TEXTS)]
    texts = {path: _text(directory / path) for path in paths}
    added: dict[str, bytes] = {}
    if given is not None:
        texts[LICENCE] = _text(given)
        added[LICENCE] = texts[LICENCE]
    licence = manifest.checkpoint.licence
    if licence.spdx == _DINOV3:
        enough = any(all(words.encode() in text for words in _OF_DINOV3) for text in texts.values())
    else:
        enough = bool(texts) or licence.spdx in _UNSTATED
    if not enough:
        raise ArtefactError(
            f"The text of the weights' licence must go with them, and it is not in the artefact: {licence.name}.",
            evidence=(licence.reason, f"texts there: {', '.join(paths) or 'none'}"),
            remedy="give it with --licence FILE (Meta's is LICENSE.md beside the weights), or put it beside the checkpoint and "
            "build again",
        )
    return added, (*paths, *added)


def _text(path: Path) -> bytes:
    try:
        return read_bytes(path, TEXT_LIMIT)
    except FileNotFoundError:
        raise RequestError(f"There is no licence text at {path}.") from None
    except Refused as error:
        raise RequestError(f"The licence text at {path} cannot be used: it {error}.") from None


def _moment(expires: str) -> str | None:
    """A day's last second, or the time that was given. Raises `ValueError`."""
    if not expires:
        return None
    if re.fullmatch(r"\d{4}-\d\d-\d\d", expires):
        expires = f"{datetime.strptime(expires, '%Y-%m-%d'):%Y-%m-%d}T23:59:59Z"
    seconds_of(expires)
    return expires
