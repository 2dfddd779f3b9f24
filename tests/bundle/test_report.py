"""A newer measurement in place of a bundle's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgec.bundle.packing import replace_report
from edgec.bundle.trusting import verify_signature
from edgec.cli import run
from edgec.errors import ArtefactError, Untrusted
from edgec.onboard.container import REPORT_SIGNATURE, SIGNATURE
from edgec.onboard.trust import Policy
from tests.bundle.conftest import Key, extract, model_signing_accepts
from tests.support import forging


@pytest.fixture
def newer(artefact: Path) -> Path:
    """A report that somebody else measured later of the same artefact."""
    path = artefact / "report.json"
    forging.edit(path, lambda report: report.update(created="2026-06-01T00:00:00+00:00", reason="measured again", files=[]))
    return path


def test_a_laboratory_measures_again(
    bundle: Path, newer: Path, key: Key, other_key: Key, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "measured.edgec-bundle"
    arguments = ["bundle", "report", str(bundle), str(newer), "--sign", str(other_key.private), "--trust", str(key.public)]
    assert run([*arguments, "--by", "the laboratory", "-o", str(place)]) == 0
    assert "measured: the laboratory, 2026-06-01T00:00:00+00:00" in capsys.readouterr().out
    verified = verify_signature(place, Policy(key.trust, other_key.trust))
    assert verified.measurement.by == "the laboratory"
    assert verified.signer != verified.measurer
    with pytest.raises(Untrusted, match=r"signed/report\.sig is by key"):
        verify_signature(place, Policy(key.trust))
    with pytest.raises(Untrusted, match=r"signed/model\.sig is by key"):
        verify_signature(place, Policy(other_key.trust, key.trust))
    files, before = extract(place, tmp_path / "files"), extract(bundle, tmp_path / "before")
    assert (files / SIGNATURE).read_bytes() == (before / SIGNATURE).read_bytes()
    assert model_signing_accepts(files, key.public)
    assert model_signing_accepts(files, other_key.public, REPORT_SIGNATURE)
    keys = ["--trust", str(key.public), "--trust-report", str(other_key.public)]
    assert run(["verify", str(place), *keys]) == 0
    assert run(["bundle", "diff", str(bundle), str(place)]) == 0
    assert "The same release, with another measurement." in capsys.readouterr().out


def test_an_older_measurement_does_not_replace_a_newer(bundle: Path, newer: Path, key: Key, tmp_path: Path) -> None:
    forging.edit(newer, lambda report: report.update(created="2025-01-01T00:00:00+00:00"))
    with pytest.raises(ArtefactError, match="is older than the bundle's"):
        replace_report(bundle, newer, tmp_path / "m.edgec-bundle", key.signer, key.trust)


def test_a_measurement_of_another_artefact(bundle: Path, newer: Path, key: Key, tmp_path: Path) -> None:
    forging.edit(newer, lambda report: report.update(artefact_sha256="0" * 64))
    with pytest.raises(ArtefactError, match="is not the artefact's"):
        replace_report(bundle, newer, tmp_path / "m.edgec-bundle", key.signer, key.trust)
    assert not (tmp_path / "m.edgec-bundle").exists()


def test_the_release_must_be_trusted(bundle: Path, newer: Path, key: Key, other_key: Key, tmp_path: Path) -> None:
    with pytest.raises(Untrusted):
        replace_report(bundle, newer, tmp_path / "m.edgec-bundle", other_key.signer, other_key.trust)
