"""What comes back from a board. It is checked before anything is stored; the report of it is written here."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgec.boards.artefact import BoardArtefact
from edgec.boards.running import fetch
from edgec.boards.ssh import Connection
from edgec.durable import sha256_of, write_whole
from edgec.errors import ArtefactError, BoardError, EdgecError
from edgec.onboard.measurements import NAME
from edgec.records.consistency import read_report
from edgec.records.manifest import MANIFEST
from edgec.records.reading import LIMIT_BYTES, printable
from edgec.records.report import Report
from edgec.untrusted import Refused, parse_json

LONGEST_TEXT = 1 << 16
"""Characters of one text in a report. The longest texts from boards are flags, with the names of some thousand layers."""
_SHOWN = 100


def fetch_measurements(connection: Connection, path: str, artefact: BoardArtefact) -> tuple[Report, bytes]:
    """The report of what a board measured, and the measurements as they came. Boards have no manifest, so the artefact's hash is
    added to the report here.

    Raises `BoardError` if they cannot be fetched, `ArtefactError` if they are damaged or not about this artefact.
    """
    content = fetch(connection, path, LIMIT_BYTES)
    with tempfile.TemporaryDirectory(prefix="edgec-") as folder:
        received = Path(folder, NAME)
        received.write_bytes(content)
        report = read_report(received)
    manifest = artefact.opened.manifest
    sha256 = sha256_of(artefact.directory / MANIFEST)
    checked = {
        "target": (report.target, manifest.target),
        "checkpoint": (report.model.checkpoint_sha256, manifest.checkpoint.sha256),
        "input": (report.input_shape, manifest.input.shape),
        "manifest": (report.artefact_sha256 or sha256, sha256),
    }
    problems = [
        f"{name} is {_short(actual)}; the artefact's is {_short(expected)}"
        for name, (actual, expected) in checked.items()
        if actual != expected
    ]
    known = artefact.variants
    unknown = [candidate.name for candidate in report.candidates if candidate.name not in known]
    problems += [f"it measured {_short(name)}; the artefact has {', '.join(sorted(known))}" for name in unknown[:1]]
    longest = max(map(len, _texts(report.model_dump())), default=0)
    problems += [f"it holds a text of {longest:,} characters"] if longest > LONGEST_TEXT else []
    if problems:
        raise ArtefactError(
            f"The report from {connection.address.text} is not about this artefact.",
            evidence=problems,
            remedy="run `edgec deploy` again",
        )
    return report.model_copy(update={"artefact_sha256": sha256}), content


def fetch_details(connection: Connection, path: str, destination: Path) -> None:
    """Store measurements that no report can be made of, because nothing was chosen. They are for people; only that they are JSON
    is checked. Raises `BoardError`, or `EdgecError` if they cannot be written."""
    content = fetch(connection, path, LIMIT_BYTES)
    try:
        parse_json(content)
    except Refused as error:
        raise BoardError(
            f"The details from {connection.address.text} are not JSON.",
            evidence=f"the file {error}",
            remedy="run `edgec deploy` again",
        ) from error
    save(destination, content)


def _short(value: object) -> str:
    return printable(str(value)[:_SHOWN])


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield str(name)
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            if not isinstance(item, (float, int)):
                yield from _texts(item)


def require_valid_name(path: Path) -> None:
    """Raises `EdgecError` if the file's name is too long for its folder; checked before minutes of work."""
    longest = os.pathconf(path.parent, "PC_NAME_MAX") if path.parent.is_dir() else 255
    if len(os.fsencode(path.name)) > longest:
        raise EdgecError(
            f"The board's results could not be written: a file's name may have at most {longest} bytes here.",
            evidence=f"{len(os.fsencode(path.name))} bytes: {path.name}",
            remedy="give the artefact's folder a shorter name, or the board a short one in ~/.ssh/config",
        )


def save(path: Path, content: bytes) -> None:
    """Write a result from a board, whole or not at all. Raises `EdgecError` if the folder cannot be written to."""
    try:
        write_whole(path, content)
    except OSError as error:
        raise EdgecError(
            f"The board's results could not be written to {path}.", evidence=str(error), remedy="make the folder writable"
        ) from error
