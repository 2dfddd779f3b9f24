"""`.mlpackage`: a folder with the specification, the weights, and a manifest that names both."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from pathlib import Path
from typing import Any

SUFFIX = ".mlpackage"
DATA = "Data/com.apple.CoreML"
MODEL, WEIGHTS, MANIFEST = f"{DATA}/model.mlmodel", f"{DATA}/weights/weight.bin", "Manifest.json"
_AUTHOR = "com.apple.CoreML"


def write_package(package: Path, specification: Any, weights: Path) -> None:
    """Write a package of a specification, which is the protobuf message, and the blob file of weights that it refers to, which is
    moved."""
    (package / WEIGHTS).parent.mkdir(parents=True)
    shutil.move(weights, package / WEIGHTS)
    write_model(package, specification)


def write_model(package: Path, specification: Any) -> None:
    """Replace the specification, and the manifest with it. Identifiers are random in coremltools; here they follow from the
    content, so that the same model gives the same bytes."""
    content = specification.SerializeToString(deterministic=True)
    (package / MODEL).write_bytes(content)
    with (package / WEIGHTS).open("rb") as file:
        digest = hashlib.sha256(content)
        while part := file.read(1 << 20):
            digest.update(part)
    model, weights = (str(uuid.uuid5(uuid.NAMESPACE_OID, f"{digest.hexdigest()} {part}")).upper() for part in (MODEL, WEIGHTS))
    manifest = {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": {
            model: _item("CoreML Model Specification", "model.mlmodel"),
            weights: _item("CoreML Model Weights", "weights"),
        },
        "rootModelIdentifier": model,
    }
    (package / MANIFEST).write_text(json.dumps(manifest, indent=4, sort_keys=True) + "\n", encoding="utf-8")


def _item(description: str, name: str) -> dict[str, str]:
    return {"author": _AUTHOR, "description": description, "name": name, "path": f"{_AUTHOR}/{name}"}


def files(package: Path) -> tuple[str, ...]:
    """Paths of the package's files, relative to the folder that holds the package."""
    return tuple(sorted(path.relative_to(package.parent).as_posix() for path in package.rglob("*") if path.is_file()))
