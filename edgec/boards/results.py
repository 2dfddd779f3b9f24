"""What comes back from a board: nothing of it is kept before it was read as what it should be. Its report is written here."""

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
"""Characters of one text in a report. The longest that boards write are flags, with the names of some thousand layers."""
_SHOWN = 100


def bring_measurements(connection: Connection, path: str, artefact: BoardArtefact) -> tuple[Report, bytes]:
    """The report of what a board measured, and the measurements as they came. A board has no manifest: which artefact the report
    is of is said here.

    Raises `BoardError` if they cannot be had, `ArtefactError` if they are damaged or about something else than the artefact.
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
    wrong = [f"{name} {_short(found)}, the artefact's {_short(own)}" for name, (found, own) in checked.items() if found != own]
    own = artefact.variants
    strangers = [candidate.name for candidate in report.candidates if candidate.name not in own]
    wrong += [f"it measured {_short(name)}; the artefact has {', '.join(sorted(own))}" for name in strangers[:1]]
    longest = max(map(len, _texts(report.model_dump())), default=0)
    wrong += [f"it holds a text of {longest:,} characters"] if longest > LONGEST_TEXT else []
    if wrong:
        raise ArtefactError(
            f"The report from {connection.address.given} is not about this artefact.",
            evidence=wrong,
            remedy="run `edgec deploy` again",
        )
    return report.model_copy(update={"artefact_sha256": sha256}), content


def bring_details(connection: Connection, path: str, destination: Path) -> None:
    """Measurements of which there is no report, because nothing was chosen. They are for people, and need only be JSON."""
    content = fetch(connection, path, LIMIT_BYTES)
    try:
        parse_json(content)
    except Refused as error:
        raise BoardError(
            f"The details from {connection.address.given} are no JSON.", evidence=f"it {error}", remedy="run `edgec deploy` again"
        ) from error
    keep(destination, content)


def _short(value: object) -> str:
    return printable(str(value)[:_SHOWN])


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, each in value.items():
            yield str(name)
            yield from _texts(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            if not isinstance(each, (float, int)):
                yield from _texts(each)


def require_place(path: Path) -> None:
    """Before minutes of work: raises `EdgecError` if no file could be called that."""
    longest = os.pathconf(path.parent, "PC_NAME_MAX") if path.parent.is_dir() else 255
    if len(os.fsencode(path.name)) > longest:
        raise EdgecError(
            f"What the board sends could not be written: a file's name has {longest} bytes at most here.",
            evidence=f"{len(os.fsencode(path.name))} bytes: {path.name}",
            remedy="give the artefact's folder a shorter name, or the board one in ~/.ssh/config",
        )


def keep(path: Path, content: bytes) -> None:
    """Whole or not at all. Raises `EdgecError` if the folder cannot be written to."""
    try:
        write_whole(path, content)
    except OSError as error:
        raise EdgecError(
            f"What the board sent could not be written to {path}.", evidence=str(error), remedy="make the folder writable"
        ) from error
