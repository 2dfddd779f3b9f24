"""What somebody does who edits an artefact and knows edgec well: every hash and every seal is made good again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgec.artefact.contents import build_manifest_files
from edgec.onboard.seal import NAME, sealed

MANIFEST, REPORT, BUNDLE = "manifest.json", "report.json", "device/bundle.json"


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON document in place; sealed again if it was."""
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(written(document), encoding="utf-8")


def written(document: dict[str, Any]) -> str:
    """As JSON; with a seal of its own if it has one."""
    text = json.dumps({name: value for name, value in document.items() if name != NAME}, indent=1)
    return sealed(text) if NAME in document else text


def repair(directory: Path) -> None:
    """Let bundle.json, the manifest and the report be of the files that are there now."""
    if (directory / BUNDLE).is_file():
        edit(directory / BUNDLE, lambda bundle: [file.update(_facts(directory, file["path"])) for file in bundle["files"]])
    list_again(directory)


def list_again(directory: Path) -> None:
    """Let the manifest and the report be of the files that are there now."""
    files = [file.model_dump() for file in build_manifest_files(directory)]
    edit(directory / MANIFEST, lambda manifest: manifest.update(files=files))
    repair_report(directory)


def repair_report(directory: Path) -> None:
    """Let the report be of the manifest that is there now, and of what lies beside it."""

    def change(report: dict[str, Any]) -> None:
        report["artefact_sha256"] = _facts(directory, MANIFEST)["sha256"]
        report["files"] = [{"path": file["path"], **_facts(directory, file["path"])} for file in report.get("files", ())]

    if (directory / REPORT).is_file():
        edit(directory / REPORT, change)


def _facts(directory: Path, path: str) -> dict[str, Any]:
    content = (directory / path).read_bytes()
    return {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
