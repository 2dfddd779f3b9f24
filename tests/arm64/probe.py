"""What the emulated Python does: `probe.py REQUEST ANSWER`, both JSON.

REQUEST: {"artefacts": [PATH], "models": {NAME: LoweredModel}, "frames": PATH of uint8 [N, H, W, 3], "features": PATH}. The
features of every model go into an .npz file at `features`, as `NAME/OUTPUT`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from edgec.backends.profiles import lacks
from edgec.errors import EdgecError
from edgec.host.facts import caveats, evidence_here, facts
from edgec.lowering import registry
from edgec.lowering.base import LoweredModel
from edgec.verifying import verify


def main(request: dict[str, Any]) -> dict[str, Any]:
    here = facts()
    lacked = lacks("cpu-raspberry-pi-5", here)
    child = [sys.executable, "-c", "import platform; print(platform.machine())"]
    frames, features = np.load(request["frames"]), {}
    for name, facts_of in request["models"].items():
        model = LoweredModel.from_json(facts_of)
        for output, value in registry.get(model.runtime).load(model, threads=1)(frames).items():
            features[f"{name}/{output}"] = value
    np.savez(request["features"], **features)
    return {
        "host": here.model_dump(mode="json"),
        "evidence": evidence_here(here, lacked).value,
        "lacks": lacked,
        "caveats": caveats(here, 0.0),
        "child": subprocess.run(child, capture_output=True, text=True, check=False).stdout.strip(),
        "verified": {path: verified(Path(path)) for path in request["artefacts"]},
    }


def verified(path: Path) -> dict[str, Any]:
    try:
        result = verify(path, threads=1)
    except EdgecError as error:
        return {"passed": False, "problem": f"{error}: {error.evidence}"}
    return {"passed": True, "same_machine": result.same_machine, "cosine": min(each.cosine for each in result.outputs)}


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
