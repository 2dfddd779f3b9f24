"""What an artefact is, apart from the program that came with it."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Mapping

_PROGRAMS = "device/"


def content_of_document(document: Mapping[str, Any]) -> str:
    """A hash of everything that bundle.json says, and with that of the artefact, but not of the program, because a newer one
    judges in the same way, nor of packages that came along."""
    files = [file for file in document["files"] if not str(isinstance(file, dict) and file.get("path")).startswith(_PROGRAMS)]
    text = json.dumps({**document, "files": files, "wheels": None}, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
