"""Reading a JSON file that anybody may have written as one of our records, or refusing it with a reason."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from edgec import __version__
from edgec.errors import ArtefactError
from edgec.onboard import seal
from edgec.records.base import Record
from edgec.untrusted import Refused, parse_json_object, read_bytes
from edgec.untrusted import printable as printable

LIMIT_BYTES = Record.limit_bytes
_SHOWN = 8

R = TypeVar("R", bound=Record)
Upgrades = Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]


def read_record(path: Path, schema: type[R], title: str, upgrades: Upgrades | None = None) -> R:
    """The file as a `schema`; `title` is what messages call it ("manifest", "report"). `upgrades` are from older versions, each
    to the next.

    Raises `ArtefactError` if it is no regular file, above the schema's limit, not whole JSON in UTF-8, of a later schema version,
    changed since it was sealed, or has a field that is missing, unknown, of another type or out of range.
    """
    data = _read(path, title, schema.limit_bytes)
    document = _parse(data, path, title)
    version = _version(document, schema, path, title, upgrades or {})
    _check_seal(document, data, version, schema, path, title)
    document = _upgraded({name: value for name, value in document.items() if name != seal.NAME}, version, upgrades or {})
    try:
        # Strict, and from JSON: no string passes for a number, and lists are still tuples.
        return schema.model_validate_json(json.dumps(document), strict=True)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        evidence = [f"{_dotted(problem['loc'])}: {problem['msg']}" for problem in problems[:_SHOWN]]
        if len(problems) > _SHOWN:
            evidence.append(f"and {len(problems) - _SHOWN} more")
        raise ArtefactError(
            f"The {title} at {path} does not say what a {title} must: {_dotted(problems[0]['loc'])} is wrong.",
            evidence=evidence,
            remedy="it was edited or damaged: build again, or copy it again from where it is whole",
        ) from None


def _read(path: Path, title: str, limit: int) -> bytes:
    try:
        return read_bytes(path, limit)
    except FileNotFoundError:
        raise ArtefactError(f"There is no {title} at {path}.") from None
    except Refused as error:
        raise ArtefactError(f"The {title} at {path} cannot be used: it {error}.") from error


def _parse(data: bytes, path: Path, title: str) -> dict[str, Any]:
    try:
        return parse_json_object(data)
    except Refused as error:
        raise ArtefactError(
            f"The {title} at {path} is not whole JSON.",
            evidence=(f"{len(data)} bytes", f"it {error}"),
            remedy="it was truncated or edited: copy it again from where it is whole, or build again",
        ) from error


def _version(document: dict[str, Any], schema: type[Record], path: Path, title: str, upgrades: Upgrades) -> int:
    newest = schema.model_fields["schema_version"].default
    known = [*upgrades, newest]
    version = document.get("schema_version")
    if type(version) is int and version > newest:
        author = printable(str(document.get("edgec_version", "of an unknown version")))[:40]
        # Between releases, two states of edgec have one version.
        writer = f"a later state of edgec {author}" if author == __version__ else f"edgec {author}"
        raise ArtefactError(
            f"The {title} at {path} was written by {writer}; this is edgec {__version__}, which cannot read it.",
            evidence=f"schema version {version}; this edgec reads {_listed(known)}",
            remedy="update edgec",
        )
    if type(version) is not int or version not in known:
        raise ArtefactError(
            f"The {title} at {path} has no schema version that edgec knows.",
            evidence=f"schema_version: {printable(repr(version))[:40]}; this edgec reads {_listed(known)}",
        )
    return version


def _check_seal(document: dict[str, Any], data: bytes, version: int, schema: type[Record], path: Path, title: str) -> None:
    """A seal that is there must fit, whatever version the file states: the version may be what was changed."""
    since = schema.sealed_since
    if since is None or (version < since and seal.NAME not in document):
        return
    if not seal.is_whole(data):
        raise ArtefactError(
            f"The {title} at {path} is not as it was written: its seal does not fit.",
            evidence=f"{len(data)} bytes, of which at least one has changed" if seal.NAME in document else "its seal is missing",
            remedy="it was edited or damaged: copy it again from where it is whole, or have edgec write it again",
        )


def _upgraded(document: dict[str, Any], version: int, upgrades: Upgrades) -> dict[str, Any]:
    while version in upgrades:
        document = upgrades[version](document)
        version += 1
    return document


def _listed(versions: Sequence[int]) -> str:
    *others, last = map(str, versions)
    return f"{', '.join(others)} and {last}" if others else last


def _dotted(location: tuple[int | str, ...]) -> str:
    return printable(".".join(map(str, location)))[:120] or "the whole"
