"""device/mac.json: what the program on a Mac needs to know about the artefact besides its manifest.

`targets/apple/device/edgec_mac/artefact.py` reads it. The manifest holds its hash.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import edgec
from edgec.backends.apple.profile import FIRST_OS, AppleProfile, as_chips
from edgec.backends.apple.program import MAC_FACTS, mac_program
from edgec.backends.base import Packing
from edgec.onboard.judging import GATES

SCHEMA_VERSION = 1


def write_mac(packing: Packing) -> None:
    """Write the program and its facts into `device/` of an artefact for Apple's chips that is in the making."""
    chips = as_chips(packing.profiles)
    mac_program().write(packing.directory)
    document = {
        "schema_version": SCHEMA_VERSION,
        "edgec_version": edgec.__version__,
        "profiles": [_profile(chip) for chip in chips],
        "minimum_macos": FIRST_OS["macos"],
        "gate": dict.fromkeys(GATES, packing.budget.min_fidelity),
        "budget": packing.budget.said(),
        "model": packing.model.model_dump(mode="json"),
        "precision_asked": packing.precision_asked,
        "calibration": packing.calibration,
    }
    (packing.directory / MAC_FACTS).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _profile(profile: AppleProfile) -> Mapping[str, Any]:
    chip = profile.apple
    return {
        "name": profile.name,
        "title": profile.title,
        "examples": profile.examples,
        "macos": chip.minimum_os.get("macos"),
        "compute_units": list(chip.compute_units),
    }
