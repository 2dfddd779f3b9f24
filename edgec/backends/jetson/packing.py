"""device/bundle.json: what the program on the robot needs to know about the artefact that it lies in.

`targets/jetson/device/edgec_device/bundle.py` reads it. Only the manifest is written later: bundle.json names every file that the
board needs, with its hash.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

import edgec
from edgec.artefact.bounds import head_bounds
from edgec.artefact.golden import EXPECTED_FLOAT32, EXPECTED_SHIPPED, FRAMES, VARIANTS, write_expected
from edgec.artefact.recording import run_golden
from edgec.backends.base import Packing
from edgec.backends.candidate import Candidate
from edgec.backends.jetson.checking import tensor_fields
from edgec.backends.jetson.profile import JetsonProfile
from edgec.backends.jetson.program import BUNDLE
from edgec.backends.program import BoardProgram
from edgec.durable import sha256_of
from edgec.fidelity.metrics import Features
from edgec.fidelity.reference import Reference
from edgec.lowering import registry
from edgec.lowering.base import LoweredModel
from edgec.lowering.tensorrt.lowering import CAPABILITY, TENSORRT
from edgec.onboard.judging import GATES
from edgec.records.manifest import VariantFacts

SCHEMA_VERSION = 1
RUNTIME = "tensorrt"


def write_bundle(
    packing: Packing,
    program: BoardProgram,
    boards: Sequence[Mapping[str, Any]],
    engines: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[VariantFacts, ...]:
    """Write the program and its bundle into `device/` of an artefact whose model and golden files are there, and what every
    variant computes of the golden frames next to those. `boards` are those that the artefact is for, `engines` what is known of
    engines beside the graphs, by variant.

    Raises `RuntimeFailure` if a variant cannot be run here.
    """
    directory = packing.directory
    program.write(directory)
    engines = engines or {}
    golden = Reference(_arrays(directory, FRAMES)["frames"], _arrays(directory, EXPECTED_FLOAT32))
    features = {variant.variant: _run(directory, packing, variant, golden) for variant in packing.variants}
    paths = [*(path_of(variant) for variant in packing.variants), FRAMES, EXPECTED_FLOAT32, program.path]
    paths += [engine["path"] for engine in engines.values()]
    document = {
        "schema_version": SCHEMA_VERSION,
        "edgec_version": edgec.__version__,
        "name": safe_name(packing.name),
        "build_key": packing.build_key,
        "family": packing.profiles[0].family,
        "boards": list(boards),
        "input": tensor_fields(packing.input),
        "outputs": [tensor_fields(output) for output in packing.outputs],
        "variants": [
            {
                "name": variant.variant,
                "path": path_of(variant),
                "precision": variant.precision,
                "tensorrt": dict(zip(("min", "below"), TENSORRT[variant.variant], strict=True)),
                "compute_capability": CAPABILITY.get(variant.variant, ""),
                "bounds": {
                    name: bound.as_document()
                    for name, bound in head_bounds(
                        packing.outputs, variant.precision, golden.features, features[variant.variant]
                    ).items()
                },
                **({"engine": engines[variant.variant]} if variant.variant in engines else {}),
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
    (directory / BUNDLE).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    entry, *others = packing.variants
    paths_of_expected = {entry.variant: EXPECTED_SHIPPED}
    for variant in others:
        paths_of_expected[variant.variant] = f"{VARIANTS}/{variant.variant}.npz"
        write_expected(directory, paths_of_expected[variant.variant], features[variant.variant])
    return tuple(
        VariantFacts(precision=variant.precision, entry=path_of(variant), expected=paths_of_expected[variant.variant])
        for variant in packing.variants
    )


def path_of(variant: Candidate) -> str:
    """Where the variant's graph lies in the artefact."""
    assert variant.model is not None
    return f"model/{variant.model.entry}"


def _arrays(directory: Path, path: str) -> Features:
    with np.load(directory / path, allow_pickle=False) as archive:
        return dict(archive)


def safe_name(text: str) -> str:
    """The text as a name that a folder can have on any file system."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", text).strip(".-+_")[:100] or "artefact"


def _file(directory: Path, path: str) -> Mapping[str, Any]:
    return {"path": path, "sha256": sha256_of(directory / path), "size_bytes": (directory / path).stat().st_size}


def _run(directory: Path, packing: Packing, variant: Candidate, golden: Reference) -> Features:
    path = PurePosixPath(path_of(variant))
    model = LoweredModel(RUNTIME, directory / path.parent, path.name, (path.name,))
    return run_golden(registry.get(RUNTIME).load(model, threads=packing.threads), golden, packing.input.shape[0])


def board_of(profile: JetsonProfile) -> Mapping[str, Any]:
    """A board as bundle.json describes it."""
    board = profile.jetson
    return {
        "profile": profile.name,
        "title": profile.title,
        "compatible": list(board.compatible),
        "compute_capability": board.compute_capability,
        "jetpack": [release.version for release in board.jetpack],
        "tensorrt": {"min": board.tensorrt.min, "below": board.tensorrt.below},
    }
