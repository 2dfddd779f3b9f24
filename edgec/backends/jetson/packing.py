"""device/bundle.json: what the program on the robot needs to know of the artefact that it lies in.

`targets/jetson/device/edgec_device/bundle.py` reads it. It is written last but for the manifest: it names every file that the
board needs, with its hash.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

import edgec
from edgec.artefact.bounds import head_bounds
from edgec.artefact.golden import EXPECTED_FLOAT32, EXPECTED_SHIPPED, FRAMES, VARIANTS, write_expected
from edgec.artefact.recording import run_golden
from edgec.backends.base import Packing
from edgec.backends.candidate import Candidate
from edgec.backends.jetson.profile import JetsonProfile, as_boards
from edgec.backends.program import BUNDLE, PROGRAM, write_device_program
from edgec.durable import sha256_of
from edgec.fidelity.metrics import Features
from edgec.fidelity.reference import Reference
from edgec.lowering import registry
from edgec.lowering.base import LoweredModel
from edgec.lowering.tensorrt.lowering import TENSORRT
from edgec.onboard.judging import GATES
from edgec.records.manifest import Tensor, VariantFacts

SCHEMA_VERSION = 1
RUNTIME = "tensorrt"


def write_bundle(packing: Packing) -> tuple[VariantFacts, ...]:
    """Write the program and its bundle into `device/` of an artefact whose model and golden files are there, and beside these
    what every variant makes of the golden frames.

    Raises `RuntimeFailure` if a variant cannot be run here.
    """
    directory = packing.directory
    write_device_program(directory)
    golden = Reference(_arrays(directory, FRAMES)["frames"], _arrays(directory, EXPECTED_FLOAT32))
    ran = {variant.precision: _run(directory, packing, variant, golden) for variant in packing.variants}
    paths = [*(path_of(variant) for variant in packing.variants), FRAMES, EXPECTED_FLOAT32, PROGRAM]
    said = {
        "schema_version": SCHEMA_VERSION,
        "edgec_version": edgec.__version__,
        "name": safe_name(packing.name),
        "build_key": packing.build_key,
        "family": packing.profiles[0].family,
        "boards": [_board(board) for board in as_boards(packing.profiles)],
        "input": _tensor(packing.input),
        "outputs": [_tensor(output) for output in packing.outputs],
        "variants": [
            {
                "name": variant.precision,
                "path": path_of(variant),
                "precision": variant.precision,
                "tensorrt": dict(zip(("min", "below"), TENSORRT[variant.precision], strict=True)),
                "bounds": {
                    name: bound.said()
                    for name, bound in head_bounds(
                        packing.outputs, variant.precision, golden.features, ran[variant.precision]
                    ).items()
                },
            }
            for variant in packing.variants
        ],
        "heads": [head.model_dump(mode="json") for head in packing.heads],
        "golden": {"frames": FRAMES, "expected": EXPECTED_FLOAT32, "count": packing.golden_count},
        "gate": dict.fromkeys(GATES, packing.budget.min_fidelity),
        "budget": packing.budget.said(),
        "model": packing.model.model_dump(mode="json"),
        "target": packing.target,
        "precision_asked": packing.precision_asked,
        "calibration": packing.calibration,
        "files": [_file(directory, path) for path in paths],
    }
    (directory / BUNDLE).write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    own, *others = packing.variants
    recorded = {own.precision: EXPECTED_SHIPPED} | {each.precision: f"{VARIANTS}/{each.precision}.npz" for each in others}
    for variant in others:
        write_expected(directory, recorded[variant.precision], ran[variant.precision])
    return tuple(
        VariantFacts(precision=each.precision, entry=path_of(each), expected=recorded[each.precision])
        for each in packing.variants
    )


def path_of(variant: Candidate) -> str:
    """Of its graph, in the artefact."""
    assert variant.model is not None
    return f"model/{variant.model.entry}"


def _arrays(directory: Path, path: str) -> Features:
    with np.load(directory / path, allow_pickle=False) as found:
        return dict(found)


def safe_name(text: str) -> str:
    """As the name of a folder on any file system."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", text).strip(".-+_")[:100] or "artefact"


def _file(directory: Path, path: str) -> Mapping[str, Any]:
    return {"path": path, "sha256": sha256_of(directory / path), "size_bytes": (directory / path).stat().st_size}


def _tensor(tensor: Tensor) -> Mapping[str, Any]:
    return {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape), "role": tensor.role}


def _run(directory: Path, packing: Packing, variant: Candidate, golden: Reference) -> Features:
    place = PurePosixPath(path_of(variant))
    model = LoweredModel(RUNTIME, directory / place.parent, place.name, (place.name,))
    return run_golden(registry.get(RUNTIME).load(model, threads=packing.threads), golden, packing.input.shape[0])


def _board(profile: JetsonProfile) -> Mapping[str, Any]:
    board = profile.jetson
    return {
        "profile": profile.name,
        "title": profile.title,
        "compatible": list(board.compatible),
        "compute_capability": board.compute_capability,
        "jetpack": [release.version for release in board.jetpack],
        "tensorrt": {"min": board.tensorrt.min, "below": board.tensorrt.below},
    }
