"""The bill of materials: valid CycloneDX, and what an auditor asks for."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from edgec.artefact.reading import open_artefact
from edgec.bundle.sbom import sbom_json
from edgec.durable import sha256_of
from edgec.onboard.trust import Release
from edgec.records.evidence import Evidence
from edgec.records.fidelity import Classes, HeadFacts, StageFidelity, TaskFidelity
from edgec.records.manifest import FrameSetFacts

RELEASE = Release("robot", "1.4.0", 7)


@pytest.fixture
def text(whole: Path) -> str:
    """Of an artefact that was calibrated, with a head."""
    task = TaskFidelity(
        head="things",
        output="scores",
        classes=Classes(agreement=0.98, margin_float32=1, margin_shipped=1, smallest_margin=0.1),
    )
    stage = StageFidelity(
        stage="artefact",
        cls_cosine_mean=0.9991,
        patch_cosine_mean=0.9982,
        patch_cosine_p01=0.99,
        frames=3,
        evidence=Evidence.HOST,
        tasks=(task,),
    )
    head = HeadFacts(name="things", kind="linear", output="scores", outputs=("things",), reads=("cls",), sha256="2" * 64)
    manifest = open_artefact(whole).manifest.model_copy(
        update={
            "calibration": FrameSetFacts(name="robot_frames", sha256="1" * 64, frames=80),
            "fidelity": (stage,),
            "heads": (head,),
        }
    )
    return sbom_json(RELEASE, manifest, whole, ("LICENSE.txt",))


def components(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {component["bom-ref"]: component for component in document["components"]}


def test_it_is_valid(text: str) -> None:
    pytest.importorskip("jsonschema")
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_weights_sets_tools_and_fidelity_are_in_it(text: str, whole: Path) -> None:
    document = json.loads(text)
    held = components(document)
    assert held["weights"]["hashes"] == [{"alg": "SHA-256", "content": "0" * 64}]
    assert held["weights"]["licenses"][0]["license"]["name"] == "Apache-2.0"
    assert held["calibration"]["hashes"] == [{"alg": "SHA-256", "content": "1" * 64}]
    assert {name: held[f"tool:{name}"]["version"] for name in ("edgec", "onnxruntime")} == {"edgec": "0.1.0", "onnxruntime": "1"}
    model = document["metadata"]["component"]
    assert (model["name"], model["version"], model["type"]) == ("robot", "1.4.0", "machine-learning-model")
    assert model["hashes"] == [{"alg": "SHA-256", "content": sha256_of(whole / "manifest.json")}]
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert [(metric["type"], metric["value"]) for metric in metrics] == [
        ("cls_cosine_mean", "0.9991"),
        ("patch_cosine_mean", "0.9982"),
        ("patch_cosine_p01", "0.99"),
        ("things scores retained", "0.98"),
    ]
    assert {metric["slice"] for metric in metrics} == {"artefact, 3 frames, measured on host"}
    assert [each["ref"] for each in model["modelCard"]["modelParameters"]["datasets"]] == ["validation", "calibration"]


def test_it_holds_no_time_and_is_the_same_again(text: str, whole: Path) -> None:
    assert "timestamp" not in text
    manifest = open_artefact(whole).manifest
    first = sbom_json(RELEASE, manifest, whole, ())
    assert first == sbom_json(RELEASE, manifest, whole, ())
    assert (
        json.loads(first)["serialNumber"]
        != json.loads(sbom_json(RELEASE._replace(version="2"), manifest, whole, ()))["serialNumber"]
    )
