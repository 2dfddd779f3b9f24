"""What a release is made of, as a CycloneDX 1.6 ML-BOM: signed/sbom.cdx.json.

`cyclonedx-python-lib` writes the components; it has no model cards yet, so this module adds that part of the format. There is no
time in it: the same release gives the same bytes.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgec.durable import sha256_of
from edgec.onboard.trust import Release
from edgec.records.fidelity import StageFidelity
from edgec.records.manifest import MANIFEST, FrameSetFacts, Manifest, Tensor

_MODEL, _WEIGHTS, _CALIBRATION, _VALIDATION = "release", "weights", "calibration", "validation"
_UNSTATED = ("NOASSERTION", "NONE")


def sbom_json(release: Release, manifest: Manifest, directory: Path, licences: tuple[str, ...]) -> str:
    """The content of signed/sbom.cdx.json. `licences` are the paths of the licence's texts in the bundle."""
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.license import DisjunctiveLicense, LicenseAcknowledgement
    from cyclonedx.output.json import JsonV1Dot6

    manifest_sha256 = sha256_of(directory / MANIFEST)
    licence = manifest.checkpoint.licence

    def licensed() -> list[Any]:
        if licence.spdx in _UNSTATED:
            return []
        return [DisjunctiveLicense(name=licence.name, acknowledgement=LicenseAcknowledgement.DECLARED)]

    def frames(ref: str, facts: FrameSetFacts) -> Component:
        return Component(
            name=facts.name,
            type=ComponentType.DATA,
            bom_ref=ref,
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=facts.sha256)],
            properties=[Property(name="edgec:frames", value=str(facts.frames)), Property(name="edgec:use", value=ref)],
        )

    bom = Bom(serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"urn:edgec:{release.name}:{release.version}:{manifest_sha256}"))
    bom.metadata.component = Component(
        name=release.name,
        version=release.version,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=_MODEL,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=manifest_sha256)],
        licenses=licensed(),
        properties=[
            Property(name="edgec:build_key", value=manifest.build_key),
            Property(name="edgec:hashed", value=MANIFEST),
            Property(name="edgec:precision", value=manifest.precision),
            Property(name="edgec:serial", value=str(release.serial)),
            Property(name="edgec:target", value=manifest.target),
            *(Property(name="edgec:licence_text", value=path) for path in licences),
        ],
    )
    weights = Component(
        name=manifest.checkpoint.name,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=_WEIGHTS,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=manifest.checkpoint.sha256)],
        licenses=licensed(),
        properties=[
            Property(name="edgec:licence", value=licence.spdx),
            Property(name="edgec:licence_reason", value=licence.reason),
        ],
    )
    sets = [frames(_VALIDATION, manifest.validation)]
    sets += [frames(_CALIBRATION, manifest.calibration)] if manifest.calibration else []
    tools = [
        Component(name=name, version=version, type=ComponentType.LIBRARY, bom_ref=f"tool:{name}")
        for name, version in {**manifest.tools, "edgec": manifest.edgec_version}.items()
    ]
    bom.components.update([weights, *sets, *tools])
    bom.register_dependency(bom.metadata.component, [weights, *sets, *tools])
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    del document["metadata"]["timestamp"]
    document["metadata"]["component"]["modelCard"] = _model_card(manifest)
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _model_card(manifest: Manifest) -> dict[str, Any]:
    sets = [_VALIDATION] + [_CALIBRATION] * (manifest.calibration is not None)
    return {
        "modelParameters": {
            "task": "feature-extraction" if not manifest.heads else ", ".join(head.kind for head in manifest.heads),
            "architectureFamily": "DINOv3",
            "modelArchitecture": manifest.checkpoint.arch,
            "datasets": [{"ref": ref} for ref in sets],
            "inputs": [{"format": _format(manifest.input)}],
            "outputs": [{"format": _format(output)} for output in manifest.outputs],
        },
        "quantitativeAnalysis": {"performanceMetrics": [metric for stage in manifest.fidelity for metric in _metrics(stage)]},
    }


def _format(tensor: Tensor) -> str:
    return f"{tensor.name}: {tensor.dtype} {list(tensor.shape)}"


def _metrics(stage: StageFidelity) -> Iterator[dict[str, str]]:
    """Every figure of how much of float32 was kept, with the stage, the frames and the evidence as its slice."""
    where = f"{stage.stage}, {stage.frames} frames, {stage.evidence.value}"
    for name in ("cls_cosine_mean", "patch_cosine_mean", "patch_cosine_p01"):
        value = getattr(stage, name)
        if value is not None:
            yield {"type": name, "value": repr(value), "slice": where}
    for task in stage.tasks:
        yield {"type": f"{task.head} {task.output} retained", "value": repr(task.retained), "slice": where}
