"""What goes over the wire when a little has changed: bytes are counted, between ssh and the server."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.boards.conftest import Said
from tests.boards.loopback import Board, write_manifest

WEIGHTS, SIZE = 6, 4 << 20
COUNT = """
import os, select, socket, sys
sent, wire = 0, socket.create_connection(("127.0.0.1", int(sys.argv[2])))
count = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
while True:
    for ready in select.select([0, wire], [], [])[0]:
        block = os.read(0, 65536) if ready == 0 else wire.recv(65536)
        if not block:
            raise SystemExit
        if ready == 0:
            sent += len(block)
            os.pwrite(count, b"%20d" % sent, 0)  # before it goes there: ssh kills this when it ends
            wire.sendall(block)
        else:
            os.write(1, block)
"""
"""A way to the board that counts what goes there: the one connection that all commands share."""


def with_weights(artefact: Path, changed: int | None = None) -> Path:
    """Six files of weights among the artefact's; a new build if one of them is changed."""
    said = artefact / "device" / "bundle.json"
    document = json.loads(said.read_text())
    for number in range(WEIGHTS) if changed is None else [changed]:
        (artefact / "golden" / f"weights-{number}.bin").write_bytes(os.urandom(SIZE))
    write_manifest(artefact)
    files = {each["path"]: each for each in json.loads((artefact / "manifest.json").read_text())["files"]}
    names = [f"golden/weights-{number}.bin" for number in range(WEIGHTS)]
    document["files"] = [*(each for each in document["files"] if each["path"] not in names), *(files[name] for name in names)]
    document["build_key"] = ("cd" if changed is not None else "ab") * 32
    said.write_text(json.dumps(document))
    return write_manifest(artefact)


@pytest.mark.parametrize("renamed", [False, True], ids=["same name", "another name"])
def test_of_six_weight_files_the_new_one_is_sent_alone(
    board: Board, artefact: Path, say: Said, tmp_path: Path, renamed: bool
) -> None:
    """Also where the release before has another name: content counts, wherever it lies on the board."""
    code, _, err = say(board.deploy(with_weights(artefact)))
    assert code == 0, err
    if renamed:
        said = artefact / "device" / "bundle.json"
        said.write_text(json.dumps({**json.loads(said.read_text()), "name": "small-jetson-96x64"}))
    count = tmp_path / "count"
    (tmp_path / "count.py").write_text(COUNT)
    proxy = f"ProxyCommand={sys.executable} {tmp_path / 'count.py'} {count} {board.port}"
    code, out, err = say([*board.deploy(with_weights(artefact, changed=2), "--ssh-option", proxy), "--json"])
    assert code == 0, err
    (answer,) = json.loads(out)
    assert answer["copied"] == ["golden/weights-2.bin"]
    assert answer["copied_bytes"] == SIZE
    program = (artefact / "device" / "edgec-device.pyz").stat().st_size
    sent = int(count.read_text())
    assert SIZE + program < sent < 1.02 * SIZE + 1.1 * program
