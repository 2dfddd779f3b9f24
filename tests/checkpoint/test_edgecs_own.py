"""What edgec itself writes, given where a checkpoint is asked for: it is named, and so is what takes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgec.checkpoint import identify
from edgec.errors import UnreadableCheckpoint

IR = '<?xml version="1.0"?>\n<net name="dinov3" version="11">\n'


def document(**keys: object) -> str:
    return json.dumps({"schema_version": 1, "edgec_version": "0.1.0", **keys}, indent=1)


@pytest.mark.parametrize(
    ("name", "text", "what", "takes"),
    [
        ("report.json", document(created="now", artefact_sha256=None), "a report of edgec", "edgec compare"),
        ("manifest.json", document(build_key="ab"), "the manifest of an artefact", "edgec verify"),
        ("sweep.json", document(created="now", fps=30.0), "the report of a sweep", "edgec report"),
        ("model.xml", IR, "an OpenVINO model", "edgec verify"),
        ("model.onnx", "\x08\x08\x12\x07pytorch", "an ONNX model", "edgec check"),
        ("graph", "\x08\x08\x12\x07pytorch", "an ONNX model", "--head NAME=PATH"),
        ("robot-1.0.0.edgec-bundle", "\0" * 257 + "ustar" + "\0" * 250, "a signed bundle", "edgec deploy"),
    ],
)
def test_files(tmp_path: Path, name: str, text: str, what: str, takes: str) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode().ljust(600, b" " if text[0] in "{<" else b"\0"))
    with pytest.raises(UnreadableCheckpoint, match=f"{name} is {what}") as caught:
        identify(str(path))
    assert takes in caught.value.remedy


@pytest.mark.parametrize(
    ("names", "what", "takes"),
    [
        (("manifest.json", "golden", "model"), "an artefact of edgec", "edgec verify"),
        (("sweep.json", "a.edgec", "logs"), "the folder of a sweep", "edgec report"),
    ],
)
def test_folders(tmp_path: Path, names: tuple[str, ...], what: str, takes: str) -> None:
    for name in names:
        (tmp_path / name).mkdir()
    with pytest.raises(UnreadableCheckpoint, match=f"is {what}") as caught:
        identify(str(tmp_path))
    assert takes in caught.value.remedy
