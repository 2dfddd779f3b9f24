"""What goes to a device with an artefact, `device/`, compared with the artefact and with this edgec: the program, and the
document that tells it about the artefact.

Boards believe their bundle.json. It repeats what the manifest says, so that the two can be compared; edgec itself limits what
only bundle.json says: gates and bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import edgec
from edgec.artefact.reading import OpenArtefact
from edgec.artefact.tolerances import LEAST_GATE
from edgec.backends.registry import all_backends
from edgec.errors import ArtefactError
from edgec.onboard.judging import BUDGET, GATES
from edgec.records.manifest import Manifest
from edgec.records.reading import printable
from edgec.records.report import Report
from edgec.untrusted import Refused, parse_json_object, read_bytes

_LIMIT_BYTES = 16 << 20
_SHOWN = 20
_REMEDY = "it was edited or damaged: build it again, or copy it again from where it is whole"

Compare = Callable[[Mapping[str, Any], Manifest, Path], Iterable[str]]
"""Given a document, the manifest and the artefact's directory: what the document says differently, a sentence each."""


def check_program(artefact: OpenArtefact, path: str, expected: bytes, *, sent: bool = False) -> tuple[str, ...]:
    """If the artefact has a program at `path` and this version of edgec wrote it, its content must be `expected`. Returns a note
    where another version wrote it, or the artefact is too old to tell. `sent`: `edgec deploy` sends the expected one instead.

    Raises `ArtefactError`.
    """
    version = artefact.manifest.edgec_version
    if path not in {file.path for file in artefact.manifest.files}:
        return ()
    if version != edgec.__version__ or artefact.manifest.execution is None:
        instead = f"; edgec deploy sends the one of this edgec, {edgec.__version__}" if sent else ""
        return (f"{path} is from edgec {printable(version)[:40]}: it cannot be compared with what that version wrote{instead}.",)
    if (artefact.directory / path).read_bytes() != expected:
        raise ArtefactError(
            f"The program for the device in {artefact.directory} is not the one of edgec {version}.",
            evidence=f"{path} has other content, though the manifest lists its hash",
            remedy="do not run it: build the artefact again",
        )
    return ()


def speaks_to(artefact: OpenArtefact, program: str, document: str) -> bool:
    """Whether what goes to a device is for the family with this program: it has the program, or the document and no family's
    program."""
    files = {file.path for file in artefact.manifest.files}
    programs = {backend.program.path for backend in all_backends().values() if backend.program is not None}
    return program in files or (document in files and not programs & files)


def check_document(
    artefact: OpenArtefact,
    program: str,
    path: str,
    report: Report | None,
    least: float | None = None,
    *,
    compare: Compare = lambda document, manifest, directory: (),
) -> None:
    """Check the document at `path`, which tells the program at `program` about the artefact: its `gate` and `budget`, and what
    `compare` finds. Does nothing if the artefact has neither. `report` is the artefact's, whose budget a device must get; `least`
    is the lowest gate that is allowed, by default edgec's own.

    Raises `ArtefactError`.
    """
    listed = {file.path for file in artefact.manifest.files}
    if path not in listed:
        if program in listed:
            raise ArtefactError(f"{artefact.directory} has {program}, but no {path}.", remedy=_REMEDY)
        return
    document, manifest = read_document(artefact, path), artefact.manifest
    try:
        problems = [
            *_gate(document, report, LEAST_GATE if least is None else least),
            *_budget(document, report, manifest),
            *compare(document, manifest, artefact.directory),
        ]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        problems = [f"it does not say what it must: {type(error).__name__}, {printable(str(error))[:100]}"]
    if problems:
        raise ArtefactError(
            f"{path} in {artefact.directory} contradicts the artefact.", evidence=problems[:_SHOWN], remedy=_REMEDY
        )


def read_document(artefact: OpenArtefact, path: str) -> dict[str, Any]:
    """Raises `ArtefactError`."""
    try:
        return parse_json_object(read_bytes(artefact.directory / path, _LIMIT_BYTES))
    except (Refused, FileNotFoundError) as error:
        raise ArtefactError(f"{path} in {artefact.directory} cannot be used.", evidence=f"it {error}", remedy=_REMEDY) from error


def budget_of(report: Report) -> dict[str, float | None]:
    """Every bound that the user gave, as a document for a device says them."""
    return {name: getattr(report, name) for name in BUDGET}


def _budget(document: Mapping[str, Any], report: Report | None, manifest: Manifest) -> Iterator[str]:
    """An older edgec did not tell boards what heads must keep."""
    if report is None or ("budget" not in document and manifest.edgec_version != edgec.__version__):
        return
    if document.get("budget") != budget_of(report):
        yield "its budget is not the one that the artefact was built to keep"


def _gate(document: Mapping[str, Any], report: Report | None, least: float) -> Iterator[str]:
    gate = {name: float(value) for name, value in document["gate"].items()}
    if set(gate) != set(GATES):
        yield f"its gate bounds {printable(', '.join(gate))[:100]}"
    for name, value in gate.items():
        if report is not None and value != report.min_fidelity:
            yield f"its gate for {printable(name)} is {value:g}; the artefact was built to keep {report.min_fidelity:g}"
        if not least <= value <= 1:
            yield f"its gate for {printable(name)} is {value:g} (at least {least:g})"
