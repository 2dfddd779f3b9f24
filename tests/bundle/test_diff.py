"""Why two bundles differ."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgec.bundle.diff import compare_bundles
from edgec.bundle.packing import make_bundle
from edgec.bundle.release import Naming
from edgec.cli import run
from edgec.errors import ArtefactError, Untrusted
from edgec.onboard.container import RELEASE, REPORT_SIGNATURE, SIGNATURE
from tests.bundle.conftest import PROGRAM, Key
from tests.support import forging


def test_the_same_file(bundle: Path) -> None:
    comparison = compare_bundles(bundle, bundle)
    assert (comparison.differences, comparison.same_release) == ((), True)
    assert comparison.summary == "The same, byte for byte."


def test_signed_again(bundle: Path, whole: Path, key: Key, tmp_path: Path) -> None:
    again = make_bundle(whole, tmp_path / bundle.name, key.signer).path
    comparison = compare_bundles(bundle, again)
    assert {difference.path for difference in comparison.differences} == {SIGNATURE, REPORT_SIGNATURE}
    assert comparison.same_release
    assert "only the signatures differ" in comparison.summary


def test_other_terms(bundle: Path, whole: Path, key: Key, tmp_path: Path) -> None:
    other = make_bundle(whole, tmp_path / bundle.name, key.signer, naming=Naming(serial=7, expires="2030-01-01")).path
    comparison = compare_bundles(bundle, other)
    release = next(difference for difference in comparison.differences if difference.path == RELEASE)
    assert release.why == ("serial: 1000004000000 and 7", 'expires: null and "2030-01-01T23:59:59Z"')
    assert not comparison.same_release
    assert comparison.summary == "The same artefact, released under other terms."


def test_another_artefact(unpacked: Path, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A directory against a bundle: what is added, missing or changed, each with its reason."""
    (unpacked / PROGRAM).write_bytes(b"#!/usr/bin/env python3\nprint('another')\n")
    (unpacked / "device/\x1b[31mmore").write_bytes(b"")
    (unpacked / "LICENSE.txt").unlink()
    forging.edit(unpacked / "manifest.json", lambda manifest: manifest["tools"].update(onnxruntime="2"))
    forging.list_again(unpacked)
    assert run(["bundle", "diff", str(bundle), str(unpacked)]) in (1, 19)
    (unpacked / "device/\x1b[31mmore").unlink()
    capsys.readouterr()
    assert run(["bundle", "diff", str(bundle), str(unpacked)]) == 1
    said = capsys.readouterr().out
    assert f"artefact: {PROGRAM} differs\n  from byte 31 on; 42 and 40 bytes\n" in said
    assert "artefact: LICENSE.txt only in A\n" in said
    assert '  tools.onnxruntime: "1" and "2"\n' in said
    assert "Two artefacts.\n" in said
    assert run(["bundle", "diff", str(bundle), str(unpacked), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["same_release"] is False
    assert {"part": "artefact", "path": "LICENSE.txt", "what": "only in A", "why": []} in document["differences"]


def test_what_is_no_bundle(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("text")
    with pytest.raises(Untrusted, match="is not a bundle"):
        compare_bundles(bundle, tmp_path / "text")
    with pytest.raises(ArtefactError, match="nothing is there"):
        compare_bundles(tmp_path / "absent", bundle)
