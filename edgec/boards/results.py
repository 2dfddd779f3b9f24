"""What comes back from a board: nothing of it is kept before it was read as what it should be."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from edgec.boards.artefact import BoardArtefact
from edgec.boards.running import fetch
from edgec.boards.ssh import Connection
from edgec.errors import ArtefactError, BoardError, EdgecError
from edgec.report.reading import read_report
from edgec.report.records import LIMIT_BYTES
from edgec.report.schema import Report


def bring_report(connection: Connection, path: str, artefact: BoardArtefact, destination: Path | None) -> Report:
    """The board's report.json, kept at `destination` if there is one.

    Raises `BoardError` if it cannot be had, `ArtefactError` if it is damaged or about something else than the artefact.
    """
    content = fetch(connection, path, LIMIT_BYTES)
    with tempfile.TemporaryDirectory(prefix="edgec-") as folder:
        received = Path(folder, "report.json")
        received.write_bytes(content)
        report = read_report(received)
    manifest = artefact.opened.manifest
    found = (report.target, report.model.checkpoint_sha256, report.input_shape)
    expected = (manifest.target, manifest.checkpoint.sha256, manifest.input.shape)
    if found != expected:
        raise ArtefactError(
            f"The report from {connection.address.given} is not about this artefact.",
            evidence=[f"target, checkpoint and input: {found}", f"the artefact's: {expected}"],
            remedy="run `edgec deploy` again",
        )
    if destination is not None:
        write_whole(destination, content)
    return report


def bring_details(connection: Connection, path: str, destination: Path) -> None:
    """details.json: everything that the report has no place for. It is for people, and need only be JSON."""
    content = fetch(connection, path, LIMIT_BYTES)
    try:
        json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BoardError(
            f"The details from {connection.address.given} are no JSON.", evidence=str(error), remedy="run `edgec deploy` again"
        ) from error
    write_whole(destination, content)


def write_whole(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        beside = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.chmod(0o644)
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise EdgecError(
            f"What the board sent could not be written to {path}.", evidence=str(error), remedy="make the folder writable"
        ) from error
