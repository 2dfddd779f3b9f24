"""The schema is a promise to programs that are not edgec: it changes only on purpose, and what older versions wrote is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgec.errors import ArtefactError
from edgec.records.consistency import read_report
from edgec.records.report import SCHEMA_VERSION, UPGRADES, Report, json_schema
from tests.support.forging import written as as_written

KEPT = Path(__file__).parent / "kept"


def test_the_published_schema_is_pinned() -> None:
    """To change it, raise `SCHEMA_VERSION`, add to `UPGRADES`, and keep what `edgec schema` then prints, and a real report of the
    version before, in `kept/`."""
    assert json_schema() == json.loads((KEPT / f"schema-{SCHEMA_VERSION}.json").read_text())


def test_it_is_closed_and_says_its_version() -> None:
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:edgec:report:{SCHEMA_VERSION}"
    assert schema["properties"]["schema_version"]["const"] == SCHEMA_VERSION
    objects = [schema, *(part for part in schema["$defs"].values() if part["type"] == "object")]
    assert len(objects) >= 9
    assert all(part["additionalProperties"] is False for part in objects)


@pytest.mark.parametrize("version", sorted(UPGRADES))
def test_a_real_report_of_each_older_version_is_read(version: int) -> None:
    path = KEPT / f"version-{version}.json"
    written = json.loads(path.read_text())
    assert written["schema_version"] == version
    report = read_report(path)
    assert report.schema_version == SCHEMA_VERSION
    first, latency = report.candidates[0], written["candidates"][0]["latency"]
    assert (first.latency and list(first.latency.samples_ms)) == (latency and latency["samples_ms"])
    assert first.fidelity is not None


def test_an_older_version_is_written_as_the_newest(tmp_path: Path) -> None:
    again = tmp_path / "report.json"
    old = read_report(KEPT / "version-1.json")
    again.write_text(old.to_json())
    assert read_report(again) == old


def test_unknown_versions_are_refused(tmp_path: Path, report: Report) -> None:
    written = json.loads(report.to_json())
    for version in (0, True, 1.0, "1", None):
        path = tmp_path / "report.json"
        path.write_text(as_written({**written, "schema_version": version}))
        with pytest.raises(ArtefactError, match="no schema version that edgec knows") as caught:
            read_report(path)
        assert "this edgec reads 1, 2, 3, 4, 5, 6, 7 and 8" in caught.value.evidence[0]
