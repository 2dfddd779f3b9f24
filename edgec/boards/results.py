"""What comes back from a board: nothing of it is kept before it was read as what it should be."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from edgec.artefact.manifest import MANIFEST
from edgec.boards.artefact import BoardArtefact
from edgec.boards.running import fetch
from edgec.boards.ssh import Connection
from edgec.durable import sha256_of
from edgec.errors import ArtefactError, BoardError, EdgecError
from edgec.report.reading import read_report
from edgec.report.records import LIMIT_BYTES
from edgec.report.schema import Report


def bring_report(connection: Connection, path: str, artefact: BoardArtefact, destination: Path | None) -> Report:
    """The board's report.json, kept at `destination` if there is one. A board has no manifest: which artefact the report is of is
    said here.

    Raises `BoardError` if it cannot be had, `ArtefactError` if it is damaged or about something else than the artefact.
    """
    content = fetch(connection, path, LIMIT_BYTES)
    with tempfile.TemporaryDirectory(prefix="edgec-") as folder:
        received = Path(folder, "report.json")
        received.write_bytes(content)
        report = read_report(received)
    manifest = artefact.opened.manifest
    sha256 = sha256_of(artefact.directory / MANIFEST)
    found = (report.target, report.model.checkpoint_sha256, report.input_shape, report.artefact_sha256 or sha256)
    expected = (manifest.target, manifest.checkpoint.sha256, manifest.input.shape, sha256)
    if found != expected:
        raise ArtefactError(
            f"The report from {connection.address.given} is not about this artefact.",
            evidence=[f"target, checkpoint, input and manifest: {found}", f"the artefact's: {expected}"],
            remedy="run `edgec deploy` again",
        )
    report = report.model_copy(update={"artefact_sha256": sha256})
    if destination is not None:
        write_whole(destination, (report.model_dump_json(indent=1) + "\n").encode())
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
