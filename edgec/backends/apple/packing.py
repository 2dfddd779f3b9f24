"""device/mac.json: what the program on a Mac needs to know of the artefact beside its manifest.

`targets/apple/device/edgec_mac/artefact.py` reads it. The manifest holds its hash.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import edgec
from edgec.backends.profiles import FIRST_OS, Profile
from edgec.backends.program import write_device_program
from edgec.records.report import ModelFacts

FACTS = "device/mac.json"
SCHEMA_VERSION = 1
GATED = ("cls_cosine_mean", "patch_cosine_mean", "patch_cosine_p01")


def write_mac(
    directory: Path,
    devices: Sequence[Profile],
    *,
    min_fidelity: float,
    model: ModelFacts,
    precision_asked: str,
    calibration: str,
) -> None:
    """Write the program and its facts into `device/` of an artefact for Apple's chips that is in the making."""
    write_device_program(directory, devices[0].family)
    said = {
        "schema_version": SCHEMA_VERSION,
        "edgec_version": edgec.__version__,
        "profiles": [_profile(device) for device in devices],
        "minimum_macos": FIRST_OS["macos"],
        "gate": dict.fromkeys(GATED, min_fidelity),
        "model": model.model_dump(mode="json"),
        "precision_asked": precision_asked,
        "calibration": calibration,
    }
    (directory / FACTS).write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


def _profile(profile: Profile) -> Mapping[str, Any]:
    chip = profile.apple
    assert chip is not None
    return {
        "name": profile.name,
        "title": profile.title,
        "examples": profile.examples,
        "macos": chip.minimum_os.get("macos"),
        "compute_units": list(chip.compute_units),
    }
