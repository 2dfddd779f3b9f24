"""device/bundle.json: what the program on the robot needs to know of the artefact that it lies in.

`targets/jetson/device/edgec_device/bundle.py` reads it. It is written last but for the manifest: it names every file that the
board needs, with its hash.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

import edgec
from edgec.artefact.bounds import head_bounds
from edgec.artefact.golden import EXPECTED_FLOAT32, EXPECTED_SHIPPED, FRAMES, VARIANTS, write_expected
from edgec.artefact.recording import run_golden
from edgec.backends.profiles import Profile
from edgec.backends.program import PROGRAM, write_device_program
from edgec.durable import sha256_of
from edgec.fidelity.metrics import Features
from edgec.fidelity.reference import Reference
from edgec.lowering import registry
from edgec.lowering.base import LoweredModel
from edgec.records.fidelity import HeadFacts
from edgec.records.manifest import Tensor, VariantFacts
from edgec.records.report import ModelFacts

BUNDLE = "device/bundle.json"
SCHEMA_VERSION = 1
RUNTIME = "tensorrt"
GATED = ("cls_cosine_mean", "patch_cosine_mean", "patch_cosine_p01")


@dataclass(frozen=True)
class Variant:
    """One graph, which a board may choose. `tensorrt` is the first version that takes it and the first that was not looked at."""

    precision: str
    path: str
    tensorrt: tuple[str, str]


@dataclass(frozen=True)
class Bundle:
    """`variants` are in the order in which they are tried when one does not reproduce the features: the artefact's own first."""

    name: str
    build_key: str
    boards: Sequence[Profile]
    target: str
    input: Tensor
    outputs: Sequence[Tensor]
    variants: Sequence[Variant]
    golden_count: int
    min_fidelity: float
    model: ModelFacts
    precision_asked: str
    calibration: str
    threads: int
    heads: tuple[HeadFacts, ...] = ()
    """Those whose outputs are among the outputs. Every variant says how near to float32 an engine of it must be in them."""


def write_bundle(directory: Path, bundle: Bundle) -> tuple[VariantFacts, ...]:
    """Write the program and its bundle into `device/` of an artefact whose model and golden files are there, and beside these
    what every variant makes of the golden frames.

    Raises `RuntimeFailure` if a variant cannot be run here.
    """
    write_device_program(directory)
    golden = Reference(_arrays(directory, FRAMES)["frames"], _arrays(directory, EXPECTED_FLOAT32))
    ran = {variant.precision: _run(directory, bundle, variant, golden) for variant in bundle.variants}
    paths = [*(variant.path for variant in bundle.variants), FRAMES, EXPECTED_FLOAT32, PROGRAM]
    said = {
        "schema_version": SCHEMA_VERSION,
        "edgec_version": edgec.__version__,
        "name": safe_name(bundle.name),
        "build_key": bundle.build_key,
        "family": bundle.boards[0].family,
        "boards": [_board(board) for board in bundle.boards],
        "input": _tensor(bundle.input),
        "outputs": [_tensor(output) for output in bundle.outputs],
        "variants": [
            {
                "name": variant.precision,
                "path": variant.path,
                "precision": variant.precision,
                "tensorrt": dict(zip(("min", "below"), variant.tensorrt, strict=True)),
                "bounds": {
                    name: bound.said()
                    for name, bound in head_bounds(
                        bundle.outputs, variant.precision, golden.features, ran[variant.precision]
                    ).items()
                },
            }
            for variant in bundle.variants
        ],
        "heads": [head.model_dump(mode="json") for head in bundle.heads],
        "golden": {"frames": FRAMES, "expected": EXPECTED_FLOAT32, "count": bundle.golden_count},
        "gate": dict.fromkeys(GATED, bundle.min_fidelity),
        "model": bundle.model.model_dump(mode="json"),
        "target": bundle.target,
        "precision_asked": bundle.precision_asked,
        "calibration": bundle.calibration,
        "files": [_file(directory, path) for path in paths],
    }
    (directory / BUNDLE).write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    own, *others = bundle.variants
    recorded = {own.precision: EXPECTED_SHIPPED} | {each.precision: f"{VARIANTS}/{each.precision}.npz" for each in others}
    for variant in others:
        write_expected(directory, recorded[variant.precision], ran[variant.precision])
    return tuple(
        VariantFacts(precision=each.precision, entry=each.path, expected=recorded[each.precision]) for each in bundle.variants
    )


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


def _run(directory: Path, bundle: Bundle, variant: Variant, golden: Reference) -> Features:
    place = PurePosixPath(variant.path)
    model = LoweredModel(RUNTIME, directory / place.parent, place.name, (place.name,))
    return run_golden(registry.get(RUNTIME).load(model, threads=bundle.threads), golden, bundle.input.shape[0])


def _board(profile: Profile) -> Mapping[str, Any]:
    board = profile.jetson
    assert board is not None
    return {
        "profile": profile.name,
        "title": profile.title,
        "compatible": list(board.compatible),
        "compute_capability": board.compute_capability,
        "jetpack": [release.version for release in board.jetpack],
        "tensorrt": {"min": board.tensorrt.min, "below": board.tensorrt.below},
    }
